"""A plain loop around the clock: the next query when the last one is answered. For models that answer in microseconds."""

import gc

import numpy as np

from studylib.models.zoo import Samples
from studylib.runtimes import Session
from studylib.scenarios.base import Driven, Facts, Load, RunLength, ring


def drive(session: Session, samples: Samples, load: Load) -> Driven:
    """Issue queries of ``load.batch_size`` samples until the length is used."""
    size = load.batch_size
    batches = [samples.batch(start * size, size) for start in range(ring(samples, size))]
    values = issue_queries(session, batches, load.length)
    per_second = 1e9 * size * len(values) / float(values.sum())
    return Driven(values, Facts("loop", size, completed_samples_per_s=per_second))


def issue_queries(session: Session, batches: list, length: RunLength) -> np.ndarray:
    """The measured loop: the latency of each query in ns, int64. Garbage collection is off inside it, as in `timeit`."""
    run, clock, values, size = session.run, session.clock, [], len(batches)
    append = values.append
    begun = clock()
    earliest, latest = begun + int(length.min_duration_s * 1e9), begun + int(length.max_duration_s * 1e9)
    collecting = gc.isenabled()
    gc.disable()
    try:
        for index in range(2**62):
            batch = batches[index % size]
            start = clock()
            run(batch)
            end = clock()
            append(end - start)
            if end >= latest or (end >= earliest and index + 1 >= length.min_values):
                break
    finally:
        if collecting:
            gc.enable()
    return np.array(values, dtype=np.int64)
