"""Which of those that keep what was asked is named, or why none can be: one rule for winner and advice."""

from dataclasses import dataclass

from studylib.errors import Kind, Reason
from studylib.stats import Verdict
from studylib.verdicts.contenders import against, baseline, fastest
from studylib.verdicts.findings import Findings
from studylib.verdicts.grounds import Grounds, grounds
from studylib.verdicts.passport import Fit
from studylib.verdicts.variants import Variant
from studylib.wording import ratio_text


@dataclass(frozen=True)
class Decision:
    """``best``: the one that is named, not distinguishable from its ``ties``; None with the ``reason`` why none is named."""

    best: Variant | None = None
    ties: tuple[Variant, ...] = ()
    reason: Reason | None = None


def decide(kept: list[Variant], rivals: list[Variant], findings: Findings) -> Decision:
    """The fastest of ``kept`` (at least one), which are those of ``rivals`` that keep every limit.

    None is named in a rehearsal: it tells nothing of that hardware's speed. Where the machine was not fit to measure, one is named only
    if it is distinguishable from the baseline, or from all others: by more than a trial against itself reads.
    """
    ground = grounds(findings)
    if not ground.decides:
        return Decision(reason=rehearsal(ground))
    best, ties = fastest(kept)
    start = baseline(rivals)
    leads = start is not None and start is not best and against(start, best).verdict is Verdict.FASTER
    if ground.fitness.fit is Fit.NO and ties and not leads:
        second = start if start in ties else ties[0]
        reads = against(second, best).comparison
        apart = f"{best.trial.label} reads {ratio_text(reads)} against {second.trial.label} (n {reads.n} rounds)"
        words = f"this machine was not fit to measure and the run does not show which is fastest: {apart}"
        return Decision(reason=Reason(Kind.UNFIT, words))
    return Decision(best, tuple(ties))


def rehearsal(ground: Grounds) -> Reason:
    """Why a rehearsal names nobody."""
    return Reason(Kind.REHEARSAL, f"this is a rehearsal of {ground.title}, whose speed is not known")
