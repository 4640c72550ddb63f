"""What competes: every timed trial beside the fp32 that its answers are held against, and how two of them compare."""

from studylib.results.records import Trial
from studylib.results.results import Results
from studylib.verdicts import compare
from studylib.verdicts.losses import reference_of
from studylib.verdicts.variants import Variant
from studylib.wording import some

# Of several reasons why nothing was timed, what went wrong counts before what was never tried.
_WORST_FIRST = ("failed", "invalid", "pending", "skipped")
_SHOWN_REASONS = 2


def contenders(results: Results, model: str | None = None) -> list[Variant]:
    """Every trial that was timed and is valid, of all batch sizes. Answers are held against TensorFlow fp32, else the first fp32."""
    # Queries one after the other: times under load answer another question.
    plan = [trial for trial in results.compared() if not trial.control and model in (None, trial.model)]
    references = {name: reference_of(plan, name, results) for name in dict.fromkeys(trial.model for trial in plan)}
    timed = [trial for trial in plan if results.status(trial)[0] == "ok"]
    return [Variant(results, trial, references[trial.model]) for trial in timed]


def models(results: Results) -> list[str]:
    """The models of the plan in its order, those without any number too."""
    return list(dict.fromkeys(trial.model for trial in results.plan()))


def why_none(results: Results, model: str) -> str:
    """Why nothing of ``model`` competes, in words: what became of its trials, what went wrong first."""
    ours = [results.status(trial) for trial in results.compared() if trial.model == model and not trial.control]
    if not ours:
        return "nothing was timed one query after the other; other scenarios do not tell who is faster"
    reasons = dict.fromkeys(sorted(ours, key=lambda told: _WORST_FIRST.index(told[0])))
    return f"nothing was timed ({some([f'{status}: {reason}' for status, reason in reasons], _SHOWN_REASONS, '; ')})"


def at_smallest_batch(found: list[Variant]) -> list[Variant]:
    """Those with the model's smallest batch size: where latency is what counts."""
    smallest = {}
    for variant in found:
        smallest[variant.trial.model] = min(variant.trial.batch_size, smallest.get(variant.trial.model, variant.trial.batch_size))
    return [variant for variant in found if variant.trial.batch_size == smallest[variant.trial.model]]


def sample_ns(variant: Variant) -> float:
    """The typical time for one sample: of a query, shared by its samples."""
    return compare.typical_ns(variant.results.measurements(variant.trial.id)) / variant.trial.batch_size


def for_one_sample(baseline: Trial, contender: Trial, results: Results) -> compare.SpeedUp:
    """As `compare.speed_up`, for the time of one sample: batches of different sizes can be compared."""
    return compare.speed_up(baseline, contender, results).times(contender.batch_size / baseline.batch_size)


def fastest(found: list[Variant]) -> tuple[Variant, list[Variant]]:
    """The one with the least time for a sample, and those that it is not measurably faster than, the next fastest first."""
    best, *rivals = sorted(found, key=sample_ns)
    return best, [rival for rival in rivals if verdict(rival, best) != "faster"]


def verdict(baseline: Variant, contender: Variant) -> str:
    """``faster``, ``slower``, or why neither can be said; a ratio that the A/A control reaches too is within noise."""
    return compare.judged(for_one_sample(baseline.trial, contender.trial, contender.results), contender.results)


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
