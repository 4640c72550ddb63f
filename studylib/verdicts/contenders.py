"""What competes: every timed trial beside the fp32 that its answers are held against, and how they compare."""

from studylib.errors import Kind, Reason
from studylib.results.states import Status
from studylib.stats import Verdict
from studylib.verdicts.compare import SpeedUp
from studylib.verdicts.findings import Findings, once
from studylib.verdicts.losses import reference_of
from studylib.verdicts.variants import Variant
from studylib.wording import some

# Of several reasons why nothing was timed, what went wrong counts before what was never tried.
_WORST_FIRST = (Status.FAILED, Status.INVALID, Status.PENDING, Status.SKIPPED)
_SHOWN_REASONS = 2


@once
def contenders(findings: Findings) -> list[Variant]:
    """Every trial that was timed and is valid, of all batch sizes. Answers are held against TensorFlow fp32, else the first fp32."""
    # Queries one after the other: times under load answer another question.
    plan = [trial for trial in findings.compared if not trial.control]
    references = {name: reference_of(plan, name, findings.results) for name in dict.fromkeys(trial.model for trial in plan)}
    return [Variant(findings, trial, references[trial.model]) for trial in findings.timed if not trial.control]


def models(findings: Findings) -> list[str]:
    """The models of the plan in its order, those without any number too."""
    return list(dict.fromkeys(trial.model for trial in findings.plan))


def why_none(findings: Findings, model: str) -> Reason:
    """Why nothing of ``model`` competes: what became of its trials, what went wrong first."""
    ours = [findings.state(trial) for trial in findings.compared if trial.model == model and not trial.control]
    if not ours:
        return Reason(Kind.NOT_TIMED, "nothing was timed one query after the other; other scenarios do not tell who is faster")
    states = dict.fromkeys(sorted(ours, key=lambda state: _WORST_FIRST.index(state.status)))
    return Reason(Kind.NOT_TIMED, f"nothing was timed ({some([str(state) for state in states], _SHOWN_REASONS, '; ')})")


def at_smallest_batch(found: list[Variant]) -> list[Variant]:
    """Those with the model's smallest batch size: where latency is what counts."""
    smallest = {}
    for variant in found:
        smallest[variant.trial.model] = min(variant.trial.batch_size, smallest.get(variant.trial.model, variant.trial.batch_size))
    return [variant for variant in found if variant.trial.batch_size == smallest[variant.trial.model]]


def sample_ns(variant: Variant) -> float:
    """The typical time for one sample, to sort by."""
    return variant.sample_ns


def against(baseline: Variant, contender: Variant) -> SpeedUp:
    """The contender against the baseline, for the time of one sample."""
    return contender.findings.against(baseline.trial, contender.trial)


def fastest(found: list[Variant]) -> tuple[Variant, list[Variant]]:
    """The one with the least time for a sample, and those that it is not measurably faster than, the next fastest first.

    Rounds decide, and times are of rounds in which not all took part: one that is measurably faster than it takes its place. What shares
    no round with it is left behind by whatever shares rounds with both and is measurably faster.
    """
    best, *rivals = ranked = sorted(found, key=sample_ns)
    for _ in ranked:  # each may be beaten by the next
        ahead = next((rival for rival in rivals if against(best, rival).verdict is Verdict.FASTER), None)
        if ahead is None:
            break
        best, rivals = ahead, [one for one in ranked if one is not ahead]
    ties = [rival for rival in rivals if against(rival, best).verdict is not Verdict.FASTER]
    beside = [rival for rival in rivals if against(rival, best).comparable]
    return best, [tie for tie in ties if tie in beside or not any(against(tie, one).verdict is Verdict.FASTER for one in beside)]


def baseline(rivals: list[Variant]) -> Variant | None:
    """TensorFlow fp32 as it is usually set, otherwise the first fp32; of several batch sizes, the fastest for one sample."""
    floats = [variant for variant in rivals if variant.trial.recipe == "fp32" and variant.trial.sweep in ("", "batch")]
    if not floats:
        return None
    runtime = next((variant.trial.where for variant in floats if variant.trial.runtime == "tensorflow"), floats[0].trial.where)
    return min((variant for variant in floats if variant.trial.where == runtime), key=sample_ns)


def unjudged(rivals: list[Variant]) -> list[Variant]:
    """The float versions whose outputs could not be compared: the same weights, so they may be named where nothing else can be."""
    return [variant for variant in rivals if variant.trial.recipe == "fp32" and variant.why_not_comparable]
