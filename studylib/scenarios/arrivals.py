"""The ``server`` scenario without LoadGen: queries arrive by chance at a given rate, whether or not the last is answered."""

import threading
import time
from dataclasses import dataclass, field

import numpy as np

from studylib.errors import RefusedError
from studylib.models.zoo import Samples
from studylib.runtimes import Session
from studylib.scenarios.answering import Answering
from studylib.scenarios.base import Driven, Facts, Load, in_words, ring

# Who sleeps until a query is due wakes late, on a processor that slept too: the last of the wait is looped, at most a 25th of the time
# between queries.
_LOOPED_NS, _LOOPED_SHARE = 200_000, 25
# How long before a query's time the next client is woken, so that this does not fall into the query.
_AHEAD_NS = 1_000_000


@dataclass
class _Asked:
    """When each query was asked and answered, by its number; how late whoever waited for its time was; and the errors of others."""

    asked_ns: dict[int, int] = field(default_factory=dict)
    ended_ns: dict[int, int] = field(default_factory=dict)
    late_ns: dict[int, int] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)


def drive(session: Session, samples: Samples, load: Load) -> Driven:
    """Poisson arrivals at ``load.target_qps``; a latency counts from the scheduled arrival, so that waiting is part of it."""
    clock, due = time.perf_counter_ns, schedule(load)
    loaded = samples.taken(range(ring(samples, 1)))
    order = np.random.default_rng([load.seed, 1]).integers(0, len(loaded), len(due)).tolist()
    begun, sessions = clock(), session.beside()
    planned = list(zip((begun + due).tolist(), order, strict=True))
    if len(sessions) > 1 and load.batch_size == 1:
        asked = _by_clients(sessions, loaded, planned)
    else:
        asked = _by_queue(session, loaded, planned, load.batch_size)
    seconds = (clock() - begun) / 1e9
    answered = sorted(asked.ended_ns)
    values = np.array([asked.ended_ns[number] - planned[number][0] for number in answered], np.int64)
    facts = Facts(
        "loop",
        1,
        failed_queries=len(asked.errors),
        first_error=asked.errors[0] if asked.errors else "",
        completed_samples_per_s=len(values) / seconds,
        target_qps=load.target_qps,
        scheduled_qps=1e9 * len(due) / float(due[-1]),
        latency_bound_ns=load.latency_bound_ns,
        crosscheck=_lateness(asked, answered) if answered else {},
    )
    return Driven(values, facts)


def _by_queue(session: Session, samples: Samples, planned: list[tuple[int, int]], batch_size: int) -> _Asked:
    """A thread that waits for each query's time, and others that answer up to ``batch_size`` of those that wait together."""
    clock, found = time.perf_counter_ns, _Asked()
    with Answering(session, samples, batch_size, clock, lambda tickets: None) as answering:
        for number, (at, index) in enumerate(planned):
            _wait_until(at)
            found.late_ns[number] = clock() - at
            answering.put(number, index)
    found.asked_ns, found.ended_ns, found.errors = answering.asked_ns, answering.ended_ns, answering.errors
    return found


def _by_clients(sessions: list[Session], samples: Samples, planned: list[tuple[int, int]]) -> _Asked:
    """One client waits for the time of the next query; then another waits for the one after, and the first asks.

    So no other thread need be woken before a query is asked. Of those that are free the last one waits: as from a pool of connections,
    few queries use few connections, which stay warm.
    """
    clock, found, numbers, turns = time.perf_counter_ns, _Asked(), iter(range(len(planned))), _Turns()
    between_ns = (planned[-1][0] - planned[0][0]) / len(planned)
    looped_ns = round(min(_LOOPED_NS, between_ns / _LOOPED_SHARE))

    def ask(session: Session) -> None:
        while True:
            turns.wait()
            number = next(numbers, None)
            if number is None:
                turns.pass_on()
                return
            at, index = planned[number]
            query = samples.gathered([index])
            due = max(at, clock())  # where all clients were busy, it waits for one: that is no lateness of theirs
            _wait_until(at - _AHEAD_NS)
            turns.pass_on()
            _wait_until(at, looped_ns)
            found.asked_ns[number] = clock()
            found.late_ns[number] = found.asked_ns[number] - due
            try:
                session.run(query)
            except Exception as error:  # whatever a runtime raises is this query's answer: the others go on
                found.errors.append(in_words(error))
            else:
                found.ended_ns[number] = clock()

    threads = [threading.Thread(target=ask, args=(one,), daemon=True) for one in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


class _Turns:
    """One thread at a time has the turn; who waits last gets it first."""

    def __init__(self):
        self._lock, self._is_free, self._waiting = threading.Lock(), True, []

    def wait(self) -> None:
        """Return with the turn."""
        mine = threading.Lock()
        with self._lock:
            if self._is_free:
                self._is_free = False
                return
            mine.acquire()
            self._waiting.append(mine)
        mine.acquire()

    def pass_on(self) -> None:
        """Give the turn to who waits, or leave it for who comes."""
        with self._lock:
            if self._waiting:
                self._waiting.pop().release()
            else:
                self._is_free = True


def _wait_until(at_ns: int, looped_ns: int = 0) -> None:
    ahead = at_ns - looped_ns - time.perf_counter_ns()
    if ahead > 0:
        time.sleep(ahead / 1e9)
    while time.perf_counter_ns() < at_ns:
        time.sleep(0)  # other threads may run


def _lateness(asked: _Asked, answered: list[int]) -> dict[str, float]:
    """How late queries were asked by who waited for their time, and how long one took then: what a closed loop would have seen."""
    alone = np.array([asked.ended_ns[number] - asked.asked_ns[number] for number in answered])
    late = [asked.late_ns[number] for number in answered]
    told = {f"alone_p{percent}_ns": float(np.percentile(alone, percent)) for percent in (50, 99)}
    return told | {"late_p99_ns": float(np.quantile(late, 0.99))}


def schedule(load: Load) -> np.ndarray:
    """When each query arrives, in ns from the start, int64: as many as the shortest duration and ``min_values`` need."""
    if not load.target_qps or load.target_qps <= 0:
        raise RefusedError(f"the scenario 'server' needs queries per second above 0, not {load.target_qps}; give QPS=")
    length = load.length
    n = max(length.min_values, load.target_qps * length.min_duration_s)
    n = max(1, round(min(n, load.target_qps * length.max_duration_s)))
    gaps = np.random.default_rng(load.seed).exponential(1e9 / load.target_qps, n)
    return np.maximum(1, np.cumsum(gaps)).astype(np.int64)
