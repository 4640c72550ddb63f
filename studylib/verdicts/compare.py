"""Who is faster, by how much, and how sure: against the baseline, round by round."""

from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from studylib import stats
from studylib.results.records import Measurement, Trial
from studylib.results.results import Results
from studylib.stats import Verdict
from studylib.wording import digits, ratio_text

# A study that was stopped and went on within this time has lost no round.
_TOGETHER_S = 600
_APART = "measured apart; FORCE=1 measures both together"


@dataclass(frozen=True)
class SpeedUp:
    """A contender against the baseline of its model and batch size. ``caveat`` says why a verdict is withheld.

    ``floor``: this run's noise floor, where it is known (`Findings.floor`); a ratio within it carries no verdict.
    ``comparable``: whether any round holds both; what was measured apart says nothing about who is faster.
    """

    baseline: Trial
    contender: Trial
    comparison: stats.Comparison
    caveat: str = ""
    floor: float | None = None
    comparable: bool = True

    @property
    def verdict(self) -> Verdict:
        """What the study declares of the contender."""
        return beyond(self.comparison, self.floor)

    @property
    def note(self) -> str:
        """Why there is no verdict where the interval alone would carry one; empty otherwise."""
        if self.verdict is self.comparison.verdict:
            return ""
        return f"within this run's noise [{digits(1 / self.floor)}, {digits(self.floor)}]"

    @property
    def words(self) -> str:
        """``1.36x [1.32, 1.39], faster``; or what stands against a verdict."""
        return f"{ratio_text(self.comparison)}, {self.caveat or self.verdict_text}"

    @property
    def verdict_text(self) -> str:
        """``faster``, or ``cannot tell: within this run's noise [0.98, 1.02]``."""
        return f"{self.verdict}: {self.note}" if self.note else str(self.verdict)

    def times(self, factor: float) -> "SpeedUp":
        """The same with every ratio multiplied: two queries of different size, compared by sample."""
        return replace(self, comparison=self.comparison.times(factor))


def baseline_of(trials: list[Trial], model: str, batch_size: int) -> Trial | None:
    """TensorFlow fp32 where the study has it, otherwise the first fp32 trial in the order of the plan."""
    usual = [t for t in trials if t.sweep in ("", "batch")]
    floats = [t for t in usual if (t.model, t.batch_size, t.recipe, t.control) == (model, batch_size, "fp32", False)]
    return next((trial for trial in floats if trial.runtime == "tensorflow"), floats[0] if floats else None)


def speed_up(baseline: Trial, contender: Trial, results: Results, floor: float | None = None) -> SpeedUp:
    """Compare medians of paired rounds; a ratio within the noise ``floor`` will carry no verdict.

    A round counts when both of its repetitions were measured in one uninterrupted session, or within minutes
    of each other: what was measured apart is never paired. What has further rounds was looked at before, so its interval is wider.
    """
    before, after = paired_rounds(baseline, contender, results)
    if not len(before):
        first, second = (_medians(results.measurements(trial.id))[:1] for trial in (baseline, contender))
        return SpeedUp(baseline, contender, stats.compare(first, second), _APART, floor, comparable=False)
    shared = {one.repetition for one, _ in _together(baseline, contender, results)}
    was_looked_at = any(results.was_looked_at(trial, number) for trial in (baseline, contender) for number in shared)
    comparison = stats.compare(before, after, level=stats.LATER_LEVEL if was_looked_at else stats.LEVEL)
    caveat = "" if comparison.n >= stats.MINIMUM_ROUNDS else f"{comparison.n} rounds measured together are too few for an interval"
    return SpeedUp(baseline, contender, comparison, caveat, floor)


def paired_rounds(baseline: Trial, contender: Trial, results: Results) -> tuple[np.ndarray, np.ndarray]:
    """The latencies in ns of the rounds in which both were measured together, shape (rounds,) each: what their ratios compare.

    Of two that took turns, the ratio is the median of their blocks' ratios, each of two neighbours: what slowed the machine for a
    while slowed both. Otherwise it is that of their medians.
    """
    pairs = _together(baseline, contender, results)
    before = _medians(one for one, _ in pairs)
    return before, before / np.array([_ratio(*pair) for pair in pairs])


def controls(results: Results, model: str, batch_size: int) -> list[SpeedUp]:
    """What was measured against itself: the A/A control, and every file that was timed under two names (`Results.doubles`)."""
    ours = [trial for trial in results.plan() if trial.usual and (trial.model, trial.batch_size) == (model, batch_size)]
    measured, doubles = [trial for trial in ours if results.measurements(trial.id)], results.doubles()
    pairs = [(trial.twin if trial.control else doubles.get(trial.id), trial) for trial in measured]
    # The one of the plan: a trial of an older version has its records under a name of that version.
    return [speed_up(one, trial, results) for twin, trial in pairs for one in measured if one == twin]


def floor_of(control: stats.Comparison) -> float | None:
    """The noise floor that a trial against itself tells: the far end of its interval, as a ratio over 1; None without an interval."""
    return None if control.low is None else max(1 / control.low, control.high, 1.0)


def beyond(comparison: stats.Comparison, floor: float | None) -> Verdict:
    """The verdict that a study declares: the interval's, unless the ratio lies within the noise ``floor``."""
    is_noise = floor is not None and max(comparison.ratio, 1 / comparison.ratio) <= floor
    return Verdict.CANNOT_TELL if is_noise else comparison.verdict


def typical_ns(measurements: list[Measurement]) -> float:
    """The geometric mean of the repetitions' medians: what comparisons compare."""
    return float(np.exp(np.mean(np.log(_medians(measurements)))))


def accuracy_changes(results: Results) -> list[tuple[Trial, Trial, stats.PairedDifference]]:
    """(baseline, contender, change of accuracy on the same samples) wherever both have labelled samples."""
    known = [trial for trial in results.compared() if not trial.control and trial.weights != "random" and trial.evaluation_id]
    trials = [trial for trial in known if "correct" in (results.evaluation(trial.evaluation_id) or {})]
    found = []
    for contender in trials:
        baseline = baseline_of(trials, contender.model, contender.batch_size)
        if contender.batch_size != min(t.batch_size for t in trials if t.model == contender.model) or baseline in (None, contender):
            continue
        right = [np.array(results.evaluation(trial.evaluation_id)["correct"]) for trial in (baseline, contender)]
        found.append((baseline, contender, stats.paired_accuracy(*right)))
    return found


def _together(baseline: Trial, contender: Trial, results: Results) -> list[tuple[Measurement, Measurement]]:
    """Their repetitions that belong to one interleaved round, in order."""
    first, second = _by_round(results.measurements(baseline.id)), _by_round(results.measurements(contender.id))
    pairs = [(first[number], second[number]) for number in sorted(set(first) & set(second))]
    return [pair for pair in pairs if _in_one_session(*pair)]


def _by_round(measurements: list[Measurement]) -> dict[tuple[int, int], Measurement]:
    return {(measurement.campaign, measurement.repetition): measurement for measurement in measurements}


def _ratio(first: Measurement, second: Measurement) -> float:
    """First's latency by second's."""
    if not first.cohort or first.cohort != second.cohort:
        return first.median_ns / second.median_ns
    before, after = first.block_medians_ns, second.block_medians_ns
    return float(np.median([before[number] / after[number] for number in before.keys() & after.keys()]))


def _medians(measurements) -> np.ndarray:
    return np.array([measurement.median_ns for measurement in measurements], float)


def _in_one_session(first: Measurement, second: Measurement) -> bool:
    """Whether two repetitions were measured in one session, or within minutes."""
    if first.session == second.session:
        return True
    apart = datetime.fromisoformat(first.started_at) - datetime.fromisoformat(second.started_at)
    return abs(apart.total_seconds()) <= _TOGETHER_S
