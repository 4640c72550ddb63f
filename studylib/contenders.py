"""What competes: every timed trial beside the fp32 that its answers are held against, and how two of them compare."""

import numpy as np

from studylib import compare
from studylib.adaptive_verdicts import Lost
from studylib.compression import Variant
from studylib.records import Trial
from studylib.results import Results


def contenders(results: Results, model: str | None = None) -> list[Variant]:
    """Every trial that was timed and is valid, of all batch sizes. Answers are held against TensorFlow fp32, else the first fp32."""
    # Queries one after the other: times under load answer another question.
    plan = [trial for trial in results.compared() if not trial.control and model in (None, trial.model)]
    references = {name: _reference(plan, name, results) for name in dict.fromkeys(trial.model for trial in plan)}
    timed = [trial for trial in plan if results.status(trial)[0] == "ok"]
    return [Variant(results, trial, references[trial.model]) for trial in timed]


def models(results: Results) -> list[str]:
    """The models of the plan in its order, those without any number too."""
    return list(dict.fromkeys(trial.model for trial in results.plan()))


def why_none(results: Results, model: str) -> str:
    """Why nothing of ``model`` competes, in words: what became of its trials."""
    ours = [results.status(trial) for trial in results.compared() if trial.model == model and not trial.control]
    if not ours:
        return "nothing was timed one query after the other; other scenarios do not tell who is faster"
    return f"nothing was timed ({'; '.join(dict.fromkeys(f'{status}: {reason}' for status, reason in ours))})"


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


def lost_words(found: Lost) -> str:
    """``0.2 points of accuracy (n 1000), up to 0.7 within the interval``."""
    if found.worst is None or np.isnan(found.value) or found.worst <= found.value:
        return found.words
    return f"{found.words}, up to {100 * found.worst:.1f} within the interval"


def _reference(plan: list[Trial], model: str, results: Results) -> Trial | None:
    usual = [trial for trial in plan if not trial.sweep]
    floats = [trial for trial in usual if (trial.model, trial.recipe) == (model, "fp32") and results.evaluation(trial.evaluation_id)]
    return next((trial for trial in floats if trial.runtime == "tensorflow"), floats[0] if floats else None)
