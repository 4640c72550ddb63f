"""How queries arrive. Names are MLPerf's.

Both scenarios here issue the next query when the last one is answered, in a plain loop around the clock: a model that
answers in microseconds leaves no room for more.
"""

import gc
from dataclasses import dataclass

import numpy as np

from studylib.runtimes import Session
from studylib.zoo import Samples

# Distinct batches that are prepared before the clock starts, and the memory they may take of the process that is measured.
_RING = 16
_RING_BYTES = 8 * 2**20


@dataclass(frozen=True)
class Budget:
    """When to stop: at least ``min_values`` and ``min_duration_s``, never longer than ``max_duration_s``."""

    min_values: int
    min_duration_s: float
    max_duration_s: float


@dataclass(frozen=True)
class Scenario:
    """A way of issuing queries. ``single_stream`` has one sample in a query; ``offline`` as many as a batch holds."""

    name: str

    def drive(self, session: Session, samples: Samples, batch_size: int, budget: Budget) -> np.ndarray:
        """Issue queries until ``budget`` is used; the latency of each in ns, int64."""
        size = sum(values.nbytes for values in samples.batch(0, batch_size).values())
        ring = max(1, min(_RING, len(samples) // batch_size, _RING_BYTES // size))
        batches = [samples.batch(start * batch_size, batch_size) for start in range(ring)]
        return issue_queries(session, batches, budget)


def issue_queries(session: Session, batches: list, budget: Budget) -> np.ndarray:
    """The measured loop. Garbage collection is off inside it, as in `timeit`."""
    run, clock, values, size = session.run, session.clock, [], len(batches)
    append = values.append
    begun = clock()
    earliest, latest = begun + int(budget.min_duration_s * 1e9), begun + int(budget.max_duration_s * 1e9)
    collecting = gc.isenabled()
    gc.disable()
    try:
        for index in range(2**62):
            batch = batches[index % size]
            start = clock()
            run(batch)
            end = clock()
            append(end - start)
            if end >= latest or (end >= earliest and index + 1 >= budget.min_values):
                break
    finally:
        if collecting:
            gc.enable()
    return np.array(values, dtype=np.int64)


SCENARIOS = {scenario.name: scenario for scenario in (Scenario("single_stream"), Scenario("offline"))}


def scenario_for(batch_size: int) -> str:
    """One sample at a time is ``single_stream``; larger batches are ``offline``."""
    return "single_stream" if batch_size == 1 else "offline"
