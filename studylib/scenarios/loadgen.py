"""MLPerf LoadGen as the driver: it says when which sample is asked for, we answer and keep our own time beside its log.

LoadGen-driven, not MLPerf results. Source: github.com/mlcommons/inference, folder loadgen; scenarios as in MLPerf's inference rules.
"""

import gc
import importlib.util
import math
import tempfile
import time
from pathlib import Path

import numpy as np

from studylib.artifacts.store import package_version
from studylib.models.zoo import Samples
from studylib.runtimes import Session
from studylib.scenarios import loadgen_log
from studylib.scenarios.answering import Answering
from studylib.scenarios.base import Driven, Facts, Load, in_words, ring

# LoadGen's names; the percentile that each scenario is judged by, and the fewest queries from which LoadGen estimates it.
_NAMES = {"single_stream": "SingleStream", "multi_stream": "MultiStream", "offline": "Offline", "server": "Server"}
_NEEDED = {"single_stream": 64, "multi_stream": 662, "server": 662}
# Batches of an offline test: enough for a median of their own.
_OFFLINE_BATCHES = 11
# A test of a rate lasts so many latency bounds at least: a queue that only grows is seen.
_BOUNDS = 10


def why_not() -> str | None:
    """Why LoadGen cannot drive on this machine, or None."""
    if importlib.util.find_spec("mlperf_loadgen"):
        return None
    return "the package mlcommons-loadgen is not installed (it has wheels for x86-64 Linux)"


def version() -> str | None:
    """LoadGen's version, or None where there is none."""
    return None if why_not() else package_version("mlcommons-loadgen")


def drive(session: Session, samples: Samples, load: Load) -> Driven:
    """One LoadGen test. Its logs go to a temporary folder; what they say is in the facts."""
    import mlperf_loadgen

    loaded = samples.taken(range(ring(samples, 1)))
    system = (_Server if load.scenario == "server" else _AtOnce)(session, loaded, load, mlperf_loadgen)
    with tempfile.TemporaryDirectory(prefix="studylib-loadgen-") as folder:
        _run(mlperf_loadgen, system, len(loaded), load, Path(folder))
        log = loadgen_log.read(Path(folder))
        values = system.values(Path(folder))
    valid, reason = loadgen_log.validity(log)
    estimates, why_none = loadgen_log.early_stopping(log)
    summary = loadgen_log.summary(log)
    facts = Facts(
        "loadgen",
        1 if load.scenario == "server" else load.batch_size,
        failed_queries=len(system.errors),
        first_error=system.errors[0] if system.errors else "",
        completed_samples_per_s=_per_second(load, summary),
        target_qps=load.target_qps,
        scheduled_qps=summary.get("scheduled_samples_per_sec"),
        latency_bound_ns=load.latency_bound_ns if load.scenario == "server" else None,
        valid=valid,
        invalid_reason=reason,
        early_stopping_ns=estimates,
        early_stopping_reason=why_none,
        summary=summary,
        crosscheck=system.crosscheck(summary),
    )
    return Driven(values, facts)


def _run(mlperf_loadgen, system, count: int, load: Load, folder: Path) -> None:
    """Start the test and wait for its end. Without a name of its own, LoadGen would read ``audit.config`` where we stand."""
    log = mlperf_loadgen.LogSettings()
    log.log_output.outdir, log.log_output.copy_summary_to_stdout = str(folder), False
    # The trace holds LoadGen's latency of every query. Elsewhere our own clock has them, and writing it would cost time.
    log.enable_trace = load.scenario == "server"
    sut = mlperf_loadgen.ConstructFastSUT(system.issue, lambda: None)
    library = mlperf_loadgen.ConstructQSL(count, count, lambda indices: None, lambda indices: None)
    collecting = gc.isenabled()
    gc.disable()
    try:
        with system:
            mlperf_loadgen.StartTestWithLogSettings(sut, library, settings(mlperf_loadgen, load), log, str(folder / "audit.config"))
    finally:
        if collecting:
            gc.enable()
        mlperf_loadgen.DestroyQSL(library)
        mlperf_loadgen.DestroyFastSUT(sut)


def settings(mlperf_loadgen, load: Load):
    """LoadGen's settings for a load: durations of the length, and as many queries as its percentile needs where they fit in.

    What LoadGen expects decides how many queries it prepares; expecting twice the speed, it does not run out of them.
    """
    found, length = mlperf_loadgen.TestSettings(), load.length
    found.scenario = getattr(mlperf_loadgen.TestScenario, _NAMES[load.scenario])
    found.mode = mlperf_loadgen.TestMode.PerformanceOnly
    found.qsl_rng_seed, found.sample_index_rng_seed, found.schedule_rng_seed = (load.seed + number for number in (1, 2, 3))
    found.single_stream_expected_latency_ns = found.multi_stream_expected_latency_ns = max(1, load.typical_ns // 2)
    found.multi_stream_samples_per_query = load.batch_size
    found.offline_expected_qps = 1.25e9 * load.batch_size / load.typical_ns
    found.server_target_qps = load.target_qps or 1.0
    found.server_target_latency_ns = load.latency_bound_ns
    found.min_duration_ms = max(1, math.ceil(1000 * duration_s(load)))
    found.max_duration_ms = max(1, math.ceil(1000 * length.max_duration_s))
    found.min_query_count = _min_queries(load)
    return found


def duration_s(load: Load) -> float:
    """The shortest duration of a test: the length's, or what the scenario needs, within the longest."""
    needed = {"offline": _OFFLINE_BATCHES * load.typical_ns / 1e9, "server": _BOUNDS * load.latency_bound_ns / 1e9}
    return min(max(load.length.min_duration_s, needed.get(load.scenario, 0.0)), load.length.max_duration_s)


def _min_queries(load: Load) -> int:
    if load.scenario == "offline":
        return 1
    per_query_s = 1 / load.target_qps if load.scenario == "server" else load.typical_ns / 1e9
    wanted = max(load.length.min_values, _NEEDED[load.scenario])
    # LoadGen stops at the longest duration; asking for more than fits would only add a second reason to its verdict.
    fitting = int(0.8 * load.length.max_duration_s / per_query_s)
    return max(1, wanted if wanted <= fitting else min(load.length.min_values, fitting))


def _per_second(load: Load, summary: dict[str, float]) -> float | None:
    """Samples a second as LoadGen counts them."""
    if load.scenario == "multi_stream":
        return 1e9 * load.batch_size / summary["mean_query_latency_ns"]
    names = ("samples_per_second", "completed_samples_per_sec", "qps_with_loadgen_overhead")
    return next((summary[name] for name in names if name in summary), None)


class _AtOnce:
    """Answers on LoadGen's own thread. Every sample is completed whatever happens, since LoadGen waits for all of them."""

    def __init__(self, session: Session, samples: Samples, load: Load, mlperf_loadgen):
        self.session, self.samples, self.size = session, samples, load.batch_size
        self.errors: list[str] = []
        self._values: list[int] = []
        self._ready = [samples.batch(index, 1) for index in range(len(samples))] if load.batch_size == 1 else []
        self._whole = load.scenario == "offline"
        self._complete, self._response = mlperf_loadgen.QuerySamplesComplete, mlperf_loadgen.QuerySampleResponse

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        """Nothing runs beside the test."""

    def issue(self, ids: list[int], indices: list[int]) -> None:
        """Answer the samples of a query, ``size`` at a time; the last batch is filled up, so that all are of one size."""
        for start in range(0, len(ids), self.size):
            batch = indices[start : start + self.size]
            missing = self.size - len(batch)
            self._answer(batch + [indices[number % len(indices)] for number in range(missing)])
            self._complete([self._response(id, 0, 0) for id in ids[start : start + self.size]])

    def _answer(self, indices: list[int]) -> None:
        clock = self.session.clock
        start = clock()
        try:
            self.session.run(self._ready[indices[0]] if self._ready else self.samples.gathered(indices))
        except Exception as error:  # whatever a runtime raises is this query's answer: LoadGen must hear of its end
            self.errors.append(in_words(error))
        else:
            self._values.append(clock() - start)

    def values(self, folder: Path) -> np.ndarray:
        """Our latencies in ns."""
        return np.array(self._values, np.int64)

    def crosscheck(self, summary: dict[str, float]) -> dict:
        """The median query (offline: the whole test) by both clocks; empty where the session's clock is not the machine's."""
        if self.session.clock is not time.perf_counter_ns or not self._values:
            return {}
        ours = sum(self._values) if self._whole else float(np.median(self._values))
        names = ("max_latency_ns",) if self._whole else ("50.00_percentile_per_query_latency_ns", "50.00_percentile_latency_ns")
        return loadgen_log.crosscheck(ours, next(summary[name] for name in names if name in summary))


class _Server:
    """Queries wait in a queue, another thread answers them: LoadGen's thread must be free to issue the next one in time."""

    def __init__(self, session: Session, samples: Samples, load: Load, mlperf_loadgen):
        self._arrived: list[int] = []
        self._ids: list[int] = []
        self._complete, self._response = mlperf_loadgen.QuerySamplesComplete, mlperf_loadgen.QuerySampleResponse
        self._answering = Answering(session, samples, load.batch_size, time.perf_counter_ns, self._done)
        self.errors = self._answering.errors

    def __enter__(self):
        self._answering.__enter__()
        return self

    def __exit__(self, *_) -> None:
        self._answering.__exit__()

    def issue(self, ids: list[int], indices: list[int]) -> None:
        """Only enqueue."""
        for id, index in zip(ids, indices, strict=True):
            self._arrived.append(time.perf_counter_ns())
            self._ids.append(id)
            self._answering.put(len(self._ids) - 1, index)

    def _done(self, tickets: list[int]) -> None:
        self._complete([self._response(self._ids[ticket], 0, 0) for ticket in tickets])

    def values(self, folder: Path) -> np.ndarray:
        """LoadGen's latencies of the queries that were answered, from the scheduled arrival on, in ns."""
        self._theirs, self._late = loadgen_log.latencies(folder)
        self._answered = sorted(self._answering.ended_ns)
        return self._theirs[self._answered]

    def crosscheck(self, summary: dict[str, float]) -> dict:
        """The median from the arrival in our queue, and how late LoadGen put queries there, beside LoadGen's own."""
        if not self._answered:
            return {}
        ended = self._answering.ended_ns
        ours = np.array([ended[ticket] - self._arrived[ticket] for ticket in self._answered])
        issued = self._theirs[self._answered] - self._late[self._answered]
        found = loadgen_log.crosscheck(float(np.median(ours)), float(np.median(issued)))
        return found | {"late_p99_ns": float(np.quantile(self._late, 0.99))}
