"""Which of those that keep what was asked is named, or why none can be: one rule for winner and advice."""

from dataclasses import dataclass

from studylib.results.results import Results
from studylib.verdicts.contenders import baseline, fastest, for_one_sample, verdict
from studylib.verdicts.grounds import Grounds, grounds
from studylib.verdicts.passport import Fit
from studylib.verdicts.variants import Variant
from studylib.wording import ratio_text


@dataclass(frozen=True)
class Decision:
    """``best``: the one that is named, not distinguishable from its ``ties``; None with the ``reason`` why none is named."""

    best: Variant | None = None
    ties: tuple[Variant, ...] = ()
    reason: str = ""


def decide(kept: list[Variant], rivals: list[Variant], results: Results) -> Decision:
    """The fastest of ``kept`` (at least one), which are those of ``rivals`` that keep every limit.

    None is named in a rehearsal: it tells nothing of that hardware's speed. Where the machine was not fit to measure, one is named only
    if it is distinguishable from the baseline, or from all others: by more than a trial against itself reads.
    """
    ground = grounds(results)
    if not ground.decides:
        return Decision(reason=rehearsal(ground))
    best, ties = fastest(kept)
    start = baseline(rivals)
    if ground.fitness.fit is Fit.NO and ties and not (start and start is not best and verdict(start, best) == "faster"):
        second = start if start in ties else ties[0]
        reads = for_one_sample(second.trial, best.trial, results).comparison
        apart = f"{best.trial.label} reads {ratio_text(reads)} against {second.trial.label} (n {reads.n} rounds)"
        return Decision(reason=f"this machine was not fit to measure and the run does not show which is fastest: {apart}")
    return Decision(best, tuple(ties))


def rehearsal(ground: Grounds) -> str:
    """Why a rehearsal names nobody."""
    return f"this is a rehearsal of {ground.title}, whose speed is not known"
