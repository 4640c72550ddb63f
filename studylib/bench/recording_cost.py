"""What recording costs: `recorded` on a function that does nothing, against calling it bare."""

import tempfile
import time
from pathlib import Path

import numpy as np

from studylib import stats
from studylib.params.defaults import SEED
from studylib.results import recording
from studylib.results.recording import recorded
from studylib.results.results import Results

_CALLS = 200
_LIMIT_NS = 2000


def run(rounds: int = 30, write=print) -> stats.Estimate:
    """Interleave both loops; print what a recorded value holds too much and what a call costs beside it; returns the former, in ns."""
    with tempfile.TemporaryDirectory() as folder:
        results = Results(Path(folder))
        loops = {"bare": _bare, "recorded": lambda: _recorded(results)}
        for loop in loops.values():
            loop()
        taken: dict[str, list] = {name: [] for name in loops}
        order = np.random.default_rng(SEED)
        for _ in range(rounds):
            for name in order.permutation(list(loops)):
                taken[name].append(loops[name]())
    bare, inside, whole = (np.array(values, float) for values in (taken["bare"], *zip(*taken["recorded"], strict=True)))
    added = stats.combined_means([inside, bare], [1, -1])
    beside = stats.combined_means([whole, inside], [1, -1])
    held = "holds" if added.value <= _LIMIT_NS else "DOES NOT HOLD"
    write(f"recorded: {_us(added)} µs are added to a value, n = {rounds} rounds of {_CALLS} calls; at most {_LIMIT_NS / 1000:g} µs: {held}")
    write(f"recorded: {_us(beside)} µs a call beside the value: memory is read twice and a line written, so record what takes milliseconds")
    return added


def _nothing() -> None:
    pass


def _bare() -> float:
    """The median time in ns of a call that does nothing, the clock included."""
    values, clock = [], time.perf_counter_ns
    for _ in range(_CALLS):
        start = clock()
        _nothing()
        values.append(clock() - start)
    return float(np.median(values))


def _recorded(results: Results) -> tuple[float, float]:
    """The median recorded value in ns, and the mean time of a recorded call as its caller sees it."""
    timed = recorded("nothing", results)(_nothing)
    start = time.perf_counter_ns()
    for _ in range(_CALLS):
        timed()
    whole = (time.perf_counter_ns() - start) / _CALLS
    return float(np.median([call.ns for call in recording.calls(results)[-_CALLS:]])), whole


def _us(estimate: stats.Estimate) -> str:
    return f"{estimate.value / 1000:.2f} [{estimate.low / 1000:.2f}, {estimate.high / 1000:.2f}]"
