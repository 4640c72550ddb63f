"""What is asked of a session, and what comes back: the same for every driver."""

from dataclasses import dataclass, field

import numpy as np

from studylib.models.zoo import Samples

# Distinct samples that are prepared before the clock starts, and the memory they may take of the process that is measured.
_RING = 16
_RING_BYTES = 8 * 2**20


@dataclass(frozen=True)
class RunLength:
    """When to stop: at least ``min_values`` and ``min_duration_s``, never longer than ``max_duration_s``."""

    min_values: int
    min_duration_s: float
    max_duration_s: float


@dataclass(frozen=True)
class Load:
    """What is asked of a session. ``batch_size``: samples in a query; for ``server``, how many waiting queries one answer takes at most.

    ``typical_ns``: the median of the warm-up, from which a driver computes how many queries to prepare. ``seed`` decides which samples
    come and when. ``target_qps`` and ``latency_bound_ns`` (at p99) are for ``server``. ``states``: outputs that are the next query's
    inputs, and ``chunk_s``: how many seconds of signal a query holds, for ``streaming``.
    """

    scenario: str
    batch_size: int
    length: RunLength
    seed: int = 0
    typical_ns: int = 1
    target_qps: float | None = None
    latency_bound_ns: int = 100_000_000
    states: dict[str, str] = field(default_factory=dict)
    chunk_s: float | None = None


@dataclass(frozen=True)
class Facts:
    """How the values came about. The same fields from every driver; what a driver does not know stays empty.

    ``driver``: ``loop``, ``loadgen`` or ``benchmark_model``; ``driver_reason``: why not the one that was asked for.
    ``completed_samples_per_s``: by the wall clock of the whole test. ``valid``, ``invalid_reason``: LoadGen's rules, None without LoadGen.
    ``early_stopping_ns``: by percentile, LoadGen's estimate that the true one is at most this with 99 % confidence.
    ``summary``: LoadGen's own numbers by LoadGen's names.
    ``crosscheck``: LoadGen's clock beside ours; ``agrees`` says whether they tell the same story. ``values_are``: what a value is where it
    is no single query, since the driver tells none: ``means of 140 queries``; the driver's other numbers are in ``summary``.
    ``served``: of a server, see `Session.served`.
    """

    driver: str
    samples_per_query: int
    driver_reason: str = ""
    failed_queries: int = 0
    first_error: str = ""
    completed_samples_per_s: float | None = None
    target_qps: float | None = None
    scheduled_qps: float | None = None
    latency_bound_ns: int | None = None
    valid: bool | None = None
    invalid_reason: str = ""
    early_stopping_ns: dict[str, int] = field(default_factory=dict)
    early_stopping_reason: str = ""
    summary: dict[str, float] = field(default_factory=dict)
    crosscheck: dict = field(default_factory=dict)
    chunk_s: float | None = None
    values_are: str = ""
    served: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Driven:
    """``values_ns``: one latency for each query that was answered, int64; for ``offline``, for each batch."""

    values_ns: np.ndarray
    facts: Facts


def ring(samples: Samples, batch_size: int) -> int:
    """How many distinct queries of ``batch_size`` are kept ready: few enough to leave the measured memory alone."""
    size = sum(values.nbytes for values in samples.batch(0, batch_size).values())
    return max(1, min(_RING, len(samples) // batch_size, _RING_BYTES // size))


def in_words(error: Exception) -> str:
    """An error on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split()) or 'no message'}"
