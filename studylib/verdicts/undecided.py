"""Which comparisons decide something and are open: further rounds are worth their time there."""

from studylib.stats import Comparison, Verdict
from studylib.verdicts.compare import SpeedUp
from studylib.verdicts.contenders import against, at_smallest_batch, contenders, fastest, models
from studylib.verdicts.findings import Findings
from studylib.verdicts.grounds import grounds
from studylib.verdicts.winners import keeping

# Nobody chooses by less: what lies within is equally fast, and needs no further round.
EQUAL = 1.03


def deciding(findings: Findings) -> list[SpeedUp]:
    """What the choice of each model's winner stands on, where it lies: each that it is not faster than, against it; and the A/A controls,
    which say from where on a difference counts. Nothing in a rehearsal, which names nobody.
    """
    if not grounds(findings).decides:
        return []
    timed, pairs = at_smallest_batch(contenders(findings)), []
    for model in models(findings):
        kept = keeping([variant for variant in timed if variant.trial.model == model], findings.budget)
        if kept:
            best, ties = fastest(kept)
            pairs += [*(against(tie, best) for tie in ties), *findings.controls(model, best.trial.batch_size)]
    return pairs


def undecided(findings: Findings) -> list[SpeedUp]:
    """Those of the `deciding` that are open: neither is one faster, nor are they known to be equally fast."""
    return [
        pair for pair in deciding(findings) if pair.comparable and pair.verdict is Verdict.CANNOT_TELL and not are_equal(pair.comparison)
    ]


def are_equal(comparison: Comparison) -> bool:
    """Whether the whole interval lies within what nobody chooses by."""
    return comparison.low is not None and comparison.low >= 1 / EQUAL and comparison.high <= EQUAL
