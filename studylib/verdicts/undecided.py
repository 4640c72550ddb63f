"""Which comparisons decide something and are open: further rounds are worth their time there."""

from studylib.stats import Comparison, Verdict
from studylib.verdicts.compare import SpeedUp
from studylib.verdicts.contenders import against, at_smallest_batch, contenders, fastest, models
from studylib.verdicts.findings import Findings
from studylib.verdicts.grounds import grounds
from studylib.verdicts.winners import keeping

# Nobody chooses by less: what lies within is equally fast, and needs no further round.
EQUAL = 1.03


def undecided(findings: Findings) -> list[SpeedUp]:
    """What decides each model's winner, where it lies, and is open: each that the fastest is not faster than, against it, unless they are
    known to be equally fast; and beside those the A/A controls, which say from where on a difference counts. Nothing in a rehearsal, which
    names nobody.
    """
    if not grounds(findings).decides:
        return []
    timed, pairs = at_smallest_batch(contenders(findings)), []
    for model in models(findings):
        kept = keeping([variant for variant in timed if variant.trial.model == model], findings.budget)
        if not kept:
            continue
        best, ties = fastest(kept)
        rivals = [pair for pair in (against(tie, best) for tie in ties) if _is_open(pair)]
        # Where no rival is open a control decides nothing, and few processes beside each other read it worse than all did.
        pairs += rivals and [*rivals, *(one for one in findings.controls(model, best.trial.batch_size) if _is_open(one))]
    return pairs


def _is_open(pair: SpeedUp) -> bool:
    """Whether neither is faster, nor both are known to be equally fast."""
    return pair.comparable and pair.verdict is Verdict.CANNOT_TELL and not are_equal(pair.comparison)


def are_equal(comparison: Comparison) -> bool:
    """Whether the whole interval lies within what nobody chooses by."""
    return comparison.low is not None and comparison.low >= 1 / EQUAL and comparison.high <= EQUAL
