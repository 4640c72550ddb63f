"""Which variants lost so much of the source model's quality that nobody would deploy them: they are not timed."""

import math

from studylib import stats
from studylib.results.records import PLAIN, Trial
from studylib.results.results import Results
from studylib.results.sure import counted
from studylib.wording import digits


def useless(trials: list[Trial], results: Results, least: float) -> dict[str, str]:
    """Evaluated trials that keep less than the share ``least`` of the source model's quality, by id, each with the reason.

    Quality: the share of right answers; without labels of answers that agree with the source model's, where it is sure of them; where
    outputs are no scores, the noise may be at most as much of the signal as the loss that is allowed. Where samples are few, the upper
    end of the interval counts.
    """
    found = {}
    for trial in trials:
        evaluation = results.evaluation(trial.evaluation_id) or {}
        if trial.recipe == PLAIN or not evaluation.get("comparable", True) or least <= 0:
            continue
        told = _kept(evaluation, _source_share(trial, trials, results), least)
        if told:
            found[trial.id] = f"not timed: {told}; less than {least:.0%} of the source model's quality is of no use (USEFUL=0 times it)"
    return found


def _kept(evaluation: dict, source: float | None, least: float) -> str:
    """What is left of the quality, in words, where that is too little; empty otherwise."""
    if source and "correct" in evaluation:
        high = _most(evaluation, evaluation["correct"])
        return (
            f"{digits(100 * _share(evaluation['correct']))} % of the answers are right, of the source {digits(100 * source)} %"
            if high < least * source
            else ""
        )
    if "agreeing" in evaluation:
        answers = counted(evaluation)
        words = f"{digits(100 * _share(answers))} % of the answers agree with the source model's"
        return words if _most(evaluation, answers) < least else ""
    fewest_db = -10 * math.log10(1 - least) if least < 1 else math.inf
    sqnr = evaluation.get("sqnr", math.inf)
    return f"SQNR {digits(sqnr)} dB against the source model, below {digits(fewest_db)} dB" if sqnr < fewest_db else ""


def _source_share(trial: Trial, trials: list[Trial], results: Results) -> float | None:
    """The share of right answers of the model's plain conversions; None without labels, or with random weights."""
    if trial.weights == "random":
        return None
    plain = [results.evaluation(one.evaluation_id) or {} for one in trials if one.model == trial.model and one.recipe == PLAIN]
    return max((_share(one["correct"]) for one in plain if "correct" in one), default=None)


def _share(answers: list[bool]) -> float:
    return sum(answers) / len(answers)


def _most(evaluation: dict, answers: list[bool]) -> float:
    """The most that the share of right ``answers`` may be in truth."""
    return stats.binomial_interval(sum(answers), len(answers)).high if evaluation.get("independent") else _share(answers)
