"""Processes that take turns: all hold a session, and each in turn is asked for a short block of queries, in another order every round.

The speed of a shared machine wanders by a factor of two within a tenth of a second; what is asked in turn sees the same of it
(docs/decisions/0042).
"""

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass

from studylib.build.executor import Executor, Member
from studylib.build.jobs import MeasureJob
from studylib.errors import TrialError
from studylib.results.records import SERVING, Trial
from studylib.scenarios import RunLength
from studylib.scenarios.blocks import BLOCK_S

# The fewest rounds: of models so slow that they last longer than the effort says.
_FEWEST = 11


@dataclass(frozen=True)
class Waiting:
    """A repetition that is still to be measured: ``attempt`` counts those before it."""

    trial: Trial
    campaign: int
    repetition: int
    attempt: int


def rounds_of(trials: list[Trial], numbers: range, seed: int) -> Iterator[tuple[int, Trial]]:
    """Every trial once a round, in another seeded order each round, so that drift hits all alike."""
    for repetition in numbers:
        order = sorted(trials, key=lambda trial: trial.id)
        random.Random(f"{seed}-{repetition}").shuffle(order)
        for trial in order:
            yield repetition, trial


def cohorts_of(waiting: list[Waiting]) -> list[list[Waiting]]:
    """Those of a model, batch size and repetition together; alone what does not come query after query, or computes on a device.

    A device has memory of its own, which one process may take whole.
    """
    found: dict[tuple, list[Waiting]] = {}
    for place, one in enumerate(waiting):
        trial = one.trial
        shares = trial.usual and trial.driver == "loop" and trial.provider == "cpu"
        # Servers take turns among themselves: each is two processes, on processors that are shared out otherwise.
        panel = (one.repetition, trial.model, trial.batch_size, trial.sweep == SERVING) if shares else (place,)
        found.setdefault(panel, []).append(one)
    return list(found.values())


def told(cohort: list[Waiting]) -> str:
    """What is measured, in words."""
    trial = cohort[0].trial
    return f"{trial.model}, {trial.label}" if len(cohort) == 1 else f"{trial.model}, batch {trial.batch_size}, {len(cohort)} in turn"


def cohort_results(executor: Executor, jobs: list[MeasureJob], timeout_s: float, seed: str) -> list[dict | TrialError] | None:
    """The results of ``jobs`` whose processes took turns, or why one has none; None when memory does not hold all of them at once."""
    with executor.together(jobs, timeout_s) as members:
        if None in members:
            return None
        found: list = [one if isinstance(one, TrialError) else None for one in members]
        places = [place for place, one in enumerate(found) if one is None]
        for place, error in take_turns([members[place] for place in places], jobs[0].load.length, seed).items():
            found[places[place]] = error
        for place in places:
            try:
                found[place] = found[place] or members[place].result()
            except TrialError as error:
                found[place] = error
    return found


def take_turns(members: list[Member], length: RunLength, seed: str) -> dict[int, TrialError]:
    """Ask ``members`` in turn until each has what ``length`` says; by its place, why one ended early: that costs it alone.

    ``length.max_duration_s`` is the time for each; the order of a round follows from ``seed``.
    """
    failed: dict[int, TrialError] = {}
    asked = {place: _Asked() for place in range(len(members))}
    until, number = time.monotonic() + length.max_duration_s * len(members), 0
    while time.monotonic() < until and (number < _FEWEST or not all(one.has(length) for one in asked.values())):
        order = sorted(asked)
        random.Random(f"{seed}-{number}").shuffle(order)
        for place in order:
            try:
                asked[place].add(*members[place].block(number))
            except TrialError as error:
                failed[place] = error
                del asked[place]
        number += 1
    return failed


class _Asked:
    """What a process has answered."""

    def __init__(self):
        self.values, self.seconds = 0, 0.0

    def add(self, values: int, median_ns: int) -> None:
        self.values = values
        self.seconds += max(BLOCK_S, median_ns / 1e9)

    def has(self, length: RunLength) -> bool:
        return self.values >= length.min_values and self.seconds >= length.min_duration_s - BLOCK_S / 2
