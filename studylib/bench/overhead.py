"""What the harness costs: the p50 that studylib measures against a bare loop on the same session."""

import gc
import subprocess
import sys
import time

import numpy as np

from studylib import stats
from studylib.bench.drivers import opened
from studylib.params.defaults import SEED
from studylib.params.paths import root
from studylib.scenarios import RunLength, issue_queries

_QUERIES = 500
_LENGTH = RunLength(_QUERIES, 0, 60)
# What the harness may cost: this share of a query, or so many ns, whichever is more.
_SHARE, _LEAST_NS = 0.02, 2000


def run(rounds: int = 30, write=print) -> stats.Comparison:
    """Interleave both loops in one process, on one session of the mnist_cnn ONNX model; print and return harness / bare."""
    session, samples = opened("mnist_cnn", write)
    batches = [samples.batch(index, 1) for index in range(16)]
    loops = {
        "bare": lambda: bare(session._session, batches),
        "harness": lambda: issue_queries(session, batches, _LENGTH),
    }
    medians = {name: [] for name in loops}
    order = np.random.default_rng(SEED)
    for name in loops:
        loops[name]()
    for _ in range(rounds):
        for name in order.permutation(list(loops)):
            medians[name].append(float(np.median(loops[name]())))
    found = stats.compare(np.array(medians["harness"]), np.array(medians["bare"]))
    import_time(write)
    for name, values in medians.items():
        write(f"{name}: p50 {np.median(values) / 1000:.2f} µs (median of {rounds} rounds of {_QUERIES} queries)")
    bare_ns = float(np.median(medians["bare"]))
    write(
        f"harness / bare = {found.ratio:.4f} [{found.low:.4f}, {found.high:.4f}], {(found.ratio - 1) * bare_ns / 1000:+.2f} µs a query, "
        f"n = {rounds} rounds; at most {allowed_ns(bare_ns) / 1000:.2f} µs more: {held(found, bare_ns)}"
    )
    return found


def allowed_ns(bare_ns: float) -> float:
    """How much longer than ``bare_ns`` a query of the harness may take."""
    return max(_SHARE * bare_ns, _LEAST_NS)


def held(found: stats.Comparison, bare_ns: float) -> str:
    """Whether harness / bare stays within what is allowed: the whole interval must lie on one side."""
    limit = 1 + allowed_ns(bare_ns) / bare_ns
    if found.high <= limit:
        return "holds"
    return "DOES NOT HOLD" if found.low > limit else "cannot tell on a machine as noisy as this"


def import_time(write=print, repetitions: int = 10) -> float:
    """Median seconds of ``import studylib`` in fresh interpreters, the interpreter's own start apart; printed and returned."""
    code = "import time; start = time.perf_counter(); import studylib; print(time.perf_counter() - start)"
    command = [sys.executable, "-c", code]
    seconds = [float(subprocess.check_output(command, cwd=root())) for _ in range(repetitions)]
    write(f"import studylib: {np.median(seconds) * 1000:.1f} ms (median of {repetitions} fresh interpreters); at most 300 ms")
    return float(np.median(seconds))


def bare(session, batches: list) -> np.ndarray:
    """The shortest honest loop on ONNX Runtime's own session: clock, run, clock."""
    values, clock = [], time.perf_counter_ns
    gc.disable()
    for index in range(_QUERIES):
        batch = batches[index % len(batches)]
        start = clock()
        session.run(None, batch)
        values.append(clock() - start)
    gc.enable()
    return np.array(values)
