"""What each technique costs and saves: every variant against the float version in the same runtime, and the Pareto front."""

import numpy as np
import pandas as pd

from studylib import stats, wording
from studylib.params.recipe_names import split_recipe
from studylib.results import standing
from studylib.results.results import Results
from studylib.verdicts import compare
from studylib.verdicts.losses import KEPT, budget_of, lost_of
from studylib.verdicts.variants import Variant, share
from studylib.wording import without_empty

# How a technique works, by how its name begins; the first that fits counts.
_FAMILIES = (
    ("pruned_channels", "structured pruning"), ("pruned_blocks", "structured pruning"), ("distilled", "distillation"),
    ("student", "distillation"), ("adaptive", "adaptive"), ("pruned", "pruning"), ("clustered", "clustering"),
    ("fp32", "float"), ("fp16", "float"), ("as it came", "as it came"),
)  # fmt: skip

# A difference that chance alone brings about more rarely than this counts.
_CHANCE = 0.05


def family(recipe: str) -> str:
    """The kind of technique that a recipe is, by its name or as tables show it."""
    base, last = split_recipe(recipe)
    if base and base.endswith("qat"):
        return "quantization-aware training"
    return next((name for start, name in _FAMILIES if (base or last).startswith(start)), "post-training quantization")


def variants(results: Results) -> list[Variant]:
    """Every trial of the smallest batch size that is not a control and could be planned; the same file and settings once."""
    return [variant for variant in _every(results) if variant.stands_for is None]


def doubles(results: Results) -> list[Variant]:
    """Those of `variants`' trials that are another one's file under a second name."""
    return [variant for variant in _every(results) if variant.stands_for is not None]


def _every(results: Results) -> list[Variant]:
    """The same, with every name that a file has."""
    plan = [trial for trial in results.plan() if trial.usual and not trial.control and not trial.sweep]
    smallest = min((trial.batch_size for trial in plan), default=1)
    chosen = [trial for trial in plan if trial.batch_size == smallest and not trial.reason]
    floats = {(trial.model, trial.runtime, trial.provider): trial for trial in chosen if trial.recipe == "fp32"}
    return [Variant(results, trial, floats.get((trial.model, trial.runtime, trial.provider))) for trial in chosen]


def front(found: list[Variant]) -> set[str]:
    """Trials that no other of the same model measurably beats (the Pareto front), by id.

    Beaten is who is slower by the verdict of the interleaved comparison and no better, or no faster and worse beyond chance.
    """
    timed = [variant for variant in found if not np.isnan(variant.ms) and not np.isnan(variant.quality)]
    panels = {(one.trial.model, one.trial.batch_size): one.results for one in timed}
    floors = {panel: compare.noise_floor(results, *panel) for panel, results in panels.items()}
    return {one.trial.id for one in timed if not any(_dominates(other, one, floors) for other in timed)}


def techniques(results: Results) -> pd.DataFrame:
    """Every variant: size, packed size, quality with its paired change, latency with its speed-up; or why it has none."""
    found, most = _every(results), budget_of(results)
    best, table = front(variants(results)), results.table()
    sizes = {(v.trial.model, v.trial.format): v.artifact.get("size_bytes") for v in found if v.trial.recipe == "fp32"}
    rows = []
    for variant in found:
        trial, facts = variant.trial, variant.artifact
        size, before = facts.get("size_bytes", np.nan), sizes.get((trial.model, trial.format), np.nan)
        status, reason = results.status(trial)
        rows.append(
            {
                "model": trial.model,
                "runtime": trial.where,
                "technique": family(trial.shown),
                "recipe": trial.shown,
                "size_kb": size / 1000,
                "times smaller": before / size if size and before else np.nan,
                "gzip_kb": facts.get("gzip_bytes", np.nan) / 1000,
                "quality": quality_text(variant),
                "change": change_text(variant),
                "budget": KEPT[lost_of(variant).within(most)] if variant.evaluation else "",
                "p50_ms": wording.typical_ms(table[table.trial_id == trial.id].set_index("metric")),
                "against fp32": speed_text(variant.speed_up, results),
                "front": "●" if trial.id in best else "",
                "status": _same_file(variant) if status == "ok" else f"{status}: {reason}",
                "LoadGen": standing.loadgen(results, trial),
            }
        )
    return without_empty(pd.DataFrame(rows))


def quality_text(variant: Variant) -> str:
    """``accuracy 98.3 [97.3, 99.0] %``, agreement with the source model, or SQNR."""
    if not variant.evaluation.get("comparable", True):
        return "not comparable"
    if variant.measure == "sqnr":
        return "" if np.isnan(variant.quality) else f"SQNR {variant.quality:.1f} dB"
    name = {"correct": "accuracy", "agreeing": "agreement"}[variant.measure]
    return f"{name} {wording.percent(share(variant))} %"


def change_text(variant: Variant) -> str:
    """``-0.4 [-1.0, +0.2] points, p 0.3``: paired on the same samples, McNemar's exact test; without it for dependent samples."""
    change = variant.change
    if change is None:
        return ""
    points = f"{100 * change.estimate.value + 0.0:+.1f}"
    if not variant.independent:
        return f"{points} points (samples depend on each other: no test)"
    return f"{points} [{100 * change.estimate.low:+.1f}, {100 * change.estimate.high:+.1f}] points, p {change.p_value:.2g}"


def _same_file(variant: Variant) -> str:
    """Whether a technique left another's file as it was."""
    return "" if variant.stands_for is None else f"the same file as {variant.stands_for.recipe}"


def speed_text(found: compare.SpeedUp | None, results: Results) -> str:
    """``1.36x [1.32, 1.39], faster``; a ratio that the A/A control of the same run reaches too is said to be within noise."""
    return "" if found is None else f"{wording.ratio_text(found.comparison)}, {found.caveat or compare.judged(found, results)}"


def _dominates(other: Variant, one: Variant, floors: dict) -> bool:
    if other is one or other.trial.model != one.trial.model or other.measure != one.measure:
        return False
    if other.quality < one.quality or other.ms > one.ms:
        return False
    floor = floors[other.trial.model, other.trial.batch_size]
    return compare.beyond(compare.speed_up(one.trial, other.trial, one.results).comparison, floor) == "faster" or _better(other, one)


def _better(other: Variant, one: Variant) -> bool:
    """Whether more answers are right beyond chance; where samples are not independent, or there are no answers, by any amount."""
    if one.measure == "sqnr" or not one.independent:
        return other.quality > one.quality
    before, after = (np.array(variant.evaluation[one.measure]) for variant in (one, other))
    return other.quality > one.quality and stats.paired_accuracy(before, after).p_value < _CHANCE
