"""The rate of the ``server`` scenario: the highest that keeps the latency bound, found by halving."""

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from studylib.errors import RefusedError
from studylib.scenarios.base import Driven, Load, RunLength

# Halvings at most of the range from 0 to what answering without a pause would give, and the share of the rate that may be left.
_HALVINGS, _PRECISION = 8, 0.05
# A rate that was kept once may have been lucky: it must be kept so often in a row, or it is lowered by this factor.
_CONFIRMATIONS, _STEP, _TRIES = 2, 0.9, 8
# Queries of a test, as far as its time allows: enough to see one in a hundred.
_QUERIES = 300
_SHARE = 0.01


def find_rate(test: Callable[[Load], Driven], load: Load, limit_s: float) -> dict:
    """The highest rate (``qps``) at which 99 of 100 queries were answered within the bound, and all ``tests`` on the way.

    ``test`` drives a load; ``load.typical_ns`` is what one answer takes when nothing waits. The range is halved, then the rate that
    was found is tried again, and lowered while it is not kept. Begins no test after ``limit_s``. Raises `RefusedError` when no rate that
    was tried keeps the bound, saying why.
    """
    tests, begun = [], time.monotonic()

    def held(rate: float) -> bool:
        driven = test(replace(load, target_qps=rate, seed=load.seed + len(tests), length=_length(load, rate)))
        tests.append(_tested(driven, rate, load))
        return tests[-1]["held"]

    def in_time() -> bool:
        return not tests or time.monotonic() - begun < limit_s

    found = _halved(held, 1.1e9 / load.typical_ns * load.batch_size, in_time)
    if not found:
        raise RefusedError(_why_none(load, tests))
    return {"qps": _confirmed(held, found, in_time), "tests": tests, "latency_bound_ns": load.latency_bound_ns}


def _halved(held: Callable[[float], bool], high: float, in_time: Callable[[], bool]) -> float:
    """The highest rate up to ``high`` that was kept; 0 where none was."""
    low = 0.0
    for _ in range(_HALVINGS):
        if not in_time() or high - low < _PRECISION * low:
            break
        middle = (low + high) / 2
        low, high = (middle, high) if held(middle) else (low, middle)
    return low


def _confirmed(held: Callable[[float], bool], rate: float, in_time: Callable[[], bool]) -> float:
    """The rate, lowered until it was kept several times in a row."""
    kept = 0
    for _ in range(_TRIES):
        if kept == _CONFIRMATIONS or not in_time():
            break
        kept, rate = (kept + 1, rate) if held(rate) else (0, rate * _STEP)
    return rate


def _length(load: Load, rate: float) -> RunLength:
    """Ten bounds long at least, or a queue that only grows would not be seen."""
    longest = load.length.max_duration_s
    shortest = max(load.length.min_duration_s, 10 * load.latency_bound_ns / 1e9)
    return RunLength(max(1, min(_QUERIES, round(rate * longest))), min(shortest, longest), longest)


def _tested(driven: Driven, rate: float, load: Load) -> dict:
    """What a test of one rate showed. A query that failed is one over the bound."""
    values, failed = driven.values_ns, driven.facts.failed_queries
    if not len(values):
        raise RefusedError(f"at {rate:.3g} queries a second every one failed; the first: {driven.facts.first_error}")
    over = int(np.sum(values > load.latency_bound_ns)) + failed
    return {"qps": rate, "queries": len(values) + failed, "over_bound": over, "held": over <= _SHARE * (len(values) + failed)}


def _why_none(load: Load, tests: list[dict]) -> str:
    bound, alone = load.latency_bound_ns / 1e6, load.typical_ns / 1e6
    lowest = tests[-1]
    return (
        f"no rate keeps 99 of 100 queries within {bound:g} ms: at {lowest['qps']:.3g} a second {lowest['over_bound']} of "
        f"{lowest['queries']} took longer; one query alone takes {alone:.3g} ms. Give a longer BOUND= (milliseconds), or a QPS="
    )
