"""Which of several opened models answers faster, measured in turns in one process.

A first reading for the search: the verdict that is reported comes from fresh processes elsewhere.
"""

import gc
import time

import numpy as np

from studylib import stats
from studylib.adaptive.layers import Run

_BLOCK_S = 0.05
_CALLS = (2, 500)


def race(runs: dict[str, Run], queries: list[dict], rounds: int, seed: int) -> dict[str, np.ndarray]:
    """The latency in seconds of each run in each round, arrays (rounds,). Every round runs all, in a random order.

    Of a round's calls the lower quartile counts: what else the machine does can only make a call slower.
    """
    rng = np.random.default_rng(seed)
    calls = {name: _calls(run, queries) for name, run in runs.items()}
    found: dict[str, list[float]] = {name: [] for name in runs}
    collecting = gc.isenabled()
    gc.disable()
    try:
        for _ in range(rounds):
            for name in rng.permutation(list(runs)):
                found[name].append(_block(runs[name], queries, calls[name]))
    finally:
        if collecting:
            gc.enable()
    return {name: np.array(values) for name, values in found.items()}


def ratio(times: dict[str, np.ndarray], baseline: str, contender: str) -> stats.Comparison:
    """baseline / contender over paired rounds: above 1 the contender is faster."""
    return stats.compare(times[baseline], times[contender])


def _calls(run: Run, queries: list[dict]) -> int:
    """How many calls fill a block, after one to wake it up."""
    run(queries[0])
    return int(np.clip(_BLOCK_S / max(_block(run, queries, 1), 1e-7), *_CALLS))


def _block(run: Run, queries: list[dict], calls: int) -> float:
    run(queries[-1])
    values = []
    for index in range(calls):
        query = queries[index % len(queries)]
        begun = time.perf_counter_ns()
        run(query)
        values.append(time.perf_counter_ns() - begun)
    return float(np.quantile(values, 0.25)) / 1e9
