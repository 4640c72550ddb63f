"""What the server counts, in the form that Prometheus reads."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector, generate_latest

from studylib.serving.own.batching import Ran
from studylib.serving.own.versions import Versions

_SECONDS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """``requests``: by wire and outcome (``ok``, or the HTTP status that it was refused with)."""

    def __init__(self, versions: Versions):
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        own = {"registry": self._registry, "namespace": "studylib"}
        self.requests = Counter("requests", "Requests by wire and outcome", ("wire", "outcome"), **own)
        self._queue = Histogram("queue_seconds", "How long requests waited for a session", buckets=_SECONDS, **own)
        self._compute = Histogram("compute_seconds", "How long a session computed", buckets=_SECONDS, **own)
        self._batches = Histogram("batch_samples", "Samples that ran together, by request", buckets=_SIZES, **own)
        self.in_hand = Gauge("requests_in_hand", "Requests that are not answered yet", **own)
        Gauge("requests_waiting", "Requests that wait for a session", **own).set_function(
            lambda: len(versions.current.batcher) if versions.is_ready else 0
        )
        Gauge("model_version", "The version that answers", **own).set_function(
            lambda: float(versions.current.version) if versions.is_ready else -1.0
        )
        Gauge("model_swaps", "How often a newer version took the place of another", **own).set_function(lambda: versions.swaps)

    def answered(self, wire: str, ran: Ran) -> None:
        """Count a request that was answered."""
        self.requests.labels(wire, "ok").inc()
        self._queue.observe(ran.queue_ns / 1e9)
        self._compute.observe(ran.compute_ns / 1e9)
        self._batches.observe(ran.batch)

    def refused(self, wire: str, outcome: str) -> None:
        """Count a request that was not."""
        self.requests.labels(wire, outcome).inc()

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._registry)
