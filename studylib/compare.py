"""Who is faster, by how much, and how sure: interleaved repetitions against the baseline."""

from dataclasses import dataclass

import numpy as np

from studylib import stats
from studylib.results import Measurement, Results, Trial


@dataclass(frozen=True)
class SpeedUp:
    """A contender against the baseline of its model and batch size. ``caveat`` says why a verdict is withheld."""

    baseline: Trial
    contender: Trial
    comparison: stats.Comparison
    caveat: str = ""


def baseline_of(trials: list[Trial], model: str, batch_size: int) -> Trial | None:
    """TensorFlow fp32 where the study has it, otherwise the first fp32 trial in the order of the plan."""
    floats = [t for t in trials if (t.model, t.batch_size, t.recipe, t.control) == (model, batch_size, "fp32", False)]
    return next((trial for trial in floats if trial.runtime == "tensorflow"), floats[0] if floats else None)


def speed_ups(results: Results) -> list[SpeedUp]:
    """Every measured trial against its baseline; the A/A control against its twin."""
    measured = [trial for trial in results.plan() if results.status(trial)[0] == "ok"]
    found = []
    for contender in measured:
        baseline = twin_of(contender, measured) if contender.control else baseline_of(measured, contender.model, contender.batch_size)
        if baseline is not None and baseline.id != contender.id:
            found.append(speed_up(baseline, contender, results))
    return found


def twin_of(control: Trial, trials: list[Trial]) -> Trial | None:
    """The trial that an A/A control repeats."""
    return next((t for t in trials if not t.control and (t.model, t.label) == (control.model, control.label.removesuffix(" (A/A)"))), None)


def speed_up(baseline: Trial, contender: Trial, results: Results) -> SpeedUp:
    """Compare medians of paired rounds. Rounds of two campaigns are never paired: they were measured apart."""
    first, second = _by_round(results.measurements(baseline.id)), _by_round(results.measurements(contender.id))
    shared = sorted(set(first) & set(second))
    if not shared:
        rounds = _medians(first.values())[:1], _medians(second.values())[:1]
        comparison = stats.compare(*rounds)
        return SpeedUp(baseline, contender, comparison, "measured apart; FORCE=1 measures both together")
    comparison = stats.compare(_medians(first[r] for r in shared), _medians(second[r] for r in shared))
    if not _interleaved([first[r] for r in shared], [second[r] for r in shared]):
        withheld = stats.Comparison(comparison.ratio, None, None, comparison.level, comparison.n, "cannot tell")
        return SpeedUp(baseline, contender, withheld, "measured apart; FORCE=1 measures both together")
    caveat = "" if comparison.n >= stats.MINIMUM_ROUNDS else f"{comparison.n} rounds are too few for an interval"
    return SpeedUp(baseline, contender, comparison, caveat)


def noise_floor(found: list[SpeedUp]) -> dict[str, stats.Comparison]:
    """The A/A comparison of each model: what this run reads where there is no difference."""
    return {found.contender.model: found.comparison for found in found if found.contender.control}


def accuracy_changes(results: Results) -> list[tuple[Trial, Trial, stats.PairedDifference]]:
    """(baseline, contender, change of accuracy on the same samples) wherever both have labelled samples."""
    trials = [trial for trial in results.plan() if not trial.control and trial.weights != "random"]
    found = []
    for contender in trials:
        baseline = baseline_of(trials, contender.model, contender.batch_size)
        if contender.batch_size != min(t.batch_size for t in trials if t.model == contender.model) or baseline in (None, contender):
            continue
        pair = [results.evaluation(trial.evaluation_id) or {} for trial in (baseline, contender)]
        if all("correct" in evaluation for evaluation in pair):
            change = stats.paired_accuracy(*(np.array(evaluation["correct"]) for evaluation in pair))
            found.append((baseline, contender, change))
    return found


def _by_round(measurements: list[Measurement]) -> dict[tuple[int, int], Measurement]:
    return {(measurement.campaign, measurement.repetition): measurement for measurement in measurements}


def _medians(measurements) -> np.ndarray:
    return np.array([float(np.median(measurement.values_ns)) for measurement in measurements])


def _interleaved(first: list[Measurement], second: list[Measurement]) -> bool:
    """Whether the two were measured during the same time. ISO times of one zone sort as text."""
    return max(first[0].started_at, second[0].started_at) < min(first[-1].ended_at, second[-1].ended_at) or len(first) == 1
