"""The ``server`` scenario without LoadGen: queries arrive by chance at a given rate, whether or not the last is answered."""

import time

import numpy as np

from studylib.errors import RefusedError
from studylib.models.zoo import Samples
from studylib.runtimes import Session
from studylib.scenarios.answering import Answering
from studylib.scenarios.base import Driven, Facts, Load, ring


def drive(session: Session, samples: Samples, load: Load) -> Driven:
    """Poisson arrivals at ``load.target_qps``; a latency counts from the scheduled arrival, so that waiting is part of it."""
    clock, due = time.perf_counter_ns, schedule(load)
    loaded = samples.taken(range(ring(samples, 1)))
    order = np.random.default_rng([load.seed, 1]).integers(0, len(loaded), len(due)).tolist()
    begun, put = clock(), []
    with Answering(session, loaded, load.batch_size, clock, lambda tickets: None) as answering:
        for ticket, (offset, index) in enumerate(zip(due.tolist(), order, strict=True)):
            ahead = begun + offset - clock()
            if ahead > 0:
                time.sleep(ahead / 1e9)
            put.append(clock())
            answering.put(ticket, index)
    seconds = (clock() - begun) / 1e9
    ended = answering.ended_ns
    answered = sorted(ended)
    values = np.array([ended[ticket] - begun - due[ticket] for ticket in answered], np.int64)
    late = np.array([put[ticket] - begun - due[ticket] for ticket in answered], np.int64)
    alone = np.array([ended[ticket] - answering.asked_ns[ticket] for ticket in answered], np.int64)
    facts = Facts(
        "loop",
        1,
        failed_queries=len(answering.errors),
        first_error=answering.errors[0] if answering.errors else "",
        completed_samples_per_s=len(values) / seconds,
        target_qps=load.target_qps,
        scheduled_qps=1e9 * len(due) / float(due[-1]),
        latency_bound_ns=load.latency_bound_ns,
        crosscheck=_lateness(late, alone) if answered else {},
    )
    return Driven(values, facts)


def _lateness(late: np.ndarray, alone: np.ndarray) -> dict[str, float]:
    """How late queries were put into the queue, and how long one took once it was asked: what a closed loop would have seen."""
    asked = {f"alone_p{percent}_ns": float(np.percentile(alone, percent)) for percent in (50, 99)}
    return asked | {"late_p99_ns": float(np.quantile(late, 0.99))}


def schedule(load: Load) -> np.ndarray:
    """When each query arrives, in ns from the start, int64: as many as the shortest duration and ``min_values`` need."""
    if not load.target_qps or load.target_qps <= 0:
        raise RefusedError(f"the scenario 'server' needs queries per second above 0, not {load.target_qps}; give QPS=")
    length = load.length
    n = max(length.min_values, load.target_qps * length.min_duration_s)
    n = max(1, round(min(n, load.target_qps * length.max_duration_s)))
    gaps = np.random.default_rng(load.seed).exponential(1e9 / load.target_qps, n)
    return np.maximum(1, np.cumsum(gaps)).astype(np.int64)
