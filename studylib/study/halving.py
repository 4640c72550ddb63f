"""Search mode: successive halving. All get a short look, the faster part of them more looks, the last few the full measure.

Source: Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization" (2016).
"""

import math
from dataclasses import dataclass
from itertools import takewhile
from random import Random

import numpy as np

from studylib.measure.rounds import Bench
from studylib.results.records import Trial
from studylib.verdicts.findings import Findings
from studylib.verdicts.losses import Lost, lost, reference_of
from studylib.verdicts.variants import Variant

# Looks that each has had when a rung is judged, the part that goes on (one in so many), and how many are measured in full.
_RUNGS = (1, 3)
_ONE_IN = 3
_FINALISTS = 2


@dataclass(frozen=True)
class Standing:
    """``out``: trials that the search gave up, with the reason; ``wanted``: those that the rung under way still has to look at."""

    out: dict[str, str]
    wanted: list[str]


@dataclass(frozen=True)
class Halving:
    """Narrows the trials of each model, scenario and batch size to the few that may be the fastest within the budget.

    Looks are kept with the results: a search that was interrupted goes on, and an unchanged one looks at nothing.
    """

    bench: Bench
    max_accuracy_loss: float

    def narrow(self, trials: list[Trial]) -> None:
        """Take the looks that are wanted, in turns, until every group has its finalists."""
        for group in groups(trials):
            while wanted := self._standing(group).wanted:
                chosen = sorted((trial for trial in group if trial.id in wanted), key=lambda trial: trial.id)
                Random(f"{self.bench.seed}-{len(self._looks(chosen[0]))}").shuffle(chosen)
                for trial in chosen:
                    number = len(self._looks(trial)) + 1
                    self.bench.write(f"look {number} at {trial.model}, {trial.label}")
                    self.bench.results.record_look(trial.id, self.bench.glance(trial), number)

    def left_out(self, trials: list[Trial]) -> dict[str, str]:
        """Which trials the search gave up so far, with the reason. An A/A control goes with the trial that it repeats."""
        out = {name: reason for group in groups(trials) for name, reason in self._standing(group).out.items()}
        twins = {trial.id: next((one for one in trials if one == trial.twin), None) for trial in trials if trial.control}
        return out | {name: out[twin.id] for name, twin in twins.items() if twin and twin.id in out}

    def is_over(self, trials: list[Trial]) -> bool:
        """Whether no look is wanted any more."""
        return not any(self._standing(group).wanted for group in groups(trials))

    def _standing(self, group: list[Trial]) -> Standing:
        findings = Findings(self.bench.results)
        reference = reference_of(group, group[0].model, self.bench.results)
        losses = {trial.id: lost(Variant(findings, trial, reference)) for trial in group}
        # Too few samples to tell of anybody: then the reference alone is known to keep the budget, and it does not take part in the race.
        untold = {name for name, found in losses.items() if found.samples_needed(self.max_accuracy_loss)}
        over = {
            name: _over(found) for name, found in losses.items() if name not in untold and found.within(self.max_accuracy_loss) is False
        }
        racing = [trial for trial in group if trial.id not in over and not (untold and trial is reference)]
        found = standing({trial.id: self._looks(trial) for trial in racing})
        return Standing(over | found.out, found.wanted)

    def _looks(self, trial: Trial) -> list[float | str]:
        """Nanoseconds for one sample of each look, or why the look failed."""
        looks = takewhile(bool, (self.bench.results.look(trial.id, number) for number in range(1, _RUNGS[-1] + 1)))
        return [1e9 / look["samples_per_s"] if "samples_per_s" in look else look["reason"] for look in looks]


def standing(looks: dict[str, list[float | str]]) -> Standing:
    """Who is out and who is looked at next, by the looks so far: ns for one sample, or the reason of a failure."""
    out, alive = {}, list(looks)
    for count in _RUNGS:
        failed = {name: reason for name in alive if (reason := next(filter(_is_text, looks[name]), None))}
        out |= {name: f"a look failed: {reason}" for name, reason in failed.items()}
        alive = [name for name in alive if name not in failed]
        wanted = [name for name in alive if len(looks[name]) < count]
        if len(alive) <= _FINALISTS:
            return Standing(out, [])
        if wanted:
            return Standing(out, wanted)
        times = {name: float(np.exp(np.mean(np.log(looks[name][:count])))) for name in alive}
        ranked = sorted(alive, key=times.__getitem__)
        alive = ranked[: max(_FINALISTS, math.ceil(len(ranked) / _ONE_IN))]
        best = times[ranked[0]]
        out |= {name: _slow(times[name] / best, count) for name in ranked[len(alive) :]}
    return Standing(out, [])


def groups(trials: list[Trial]) -> list[list[Trial]]:
    """The usual trials of each model, scenario and batch size: those that compete."""
    found: dict[tuple, list[Trial]] = {}
    for trial in trials:
        if not trial.control and not trial.sweep:
            found.setdefault((trial.model, trial.scenario, trial.batch_size), []).append(trial)
    return list(found.values())


def _over(found: Lost) -> str:
    return f"left out by the search: not within the budget, {found.text}"


def _slow(ratio: float, count: int) -> str:
    looks = "a first look" if count == 1 else f"{count} looks"
    return f"left out by the search: {ratio:.2f} times the fastest one's latency in {looks}"


def _is_text(look: float | str) -> bool:
    return isinstance(look, str)
