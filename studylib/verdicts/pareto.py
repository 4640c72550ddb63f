"""The Pareto front: the variants that no other beats in both latency and quality."""

import numpy as np

from studylib import stats
from studylib.stats import Verdict
from studylib.verdicts.variants import Variant

# A difference that chance alone brings about more rarely than this counts.
_CHANCE = 0.05


def front(found: list[Variant]) -> set[str]:
    """Trials that no other of the same model measurably beats (the Pareto front), by id.

    Beaten is who is slower by the verdict of the interleaved comparison and no better, or no faster and worse beyond chance.
    """
    timed = [variant for variant in found if not np.isnan(variant.ms) and not np.isnan(variant.quality)]
    return {one.trial.id for one in timed if not any(_dominates(other, one) for other in timed)}


def _dominates(other: Variant, one: Variant) -> bool:
    if other is one or other.trial.model != one.trial.model or other.measure != one.measure:
        return False
    if other.quality < one.quality or other.ms > one.ms:
        return False
    return one.findings.against(one.trial, other.trial).verdict is Verdict.FASTER or _better(other, one)


def _better(other: Variant, one: Variant) -> bool:
    """Whether more answers are right beyond chance; where samples are not independent, or there are no answers, by any amount."""
    if one.measure == "sqnr" or not one.independent:
        return other.quality > one.quality
    before, after = (np.array(variant.judged[one.measure]) for variant in (one, other))
    return other.quality > one.quality and stats.paired_accuracy(before, after).p_value < _CHANCE
