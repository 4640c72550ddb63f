"""Adaptive recipes against uniform ones: within the budget on the test samples, and faster or not, by interleaved comparison."""

import numpy as np
import pandas as pd

from studylib import compare, tables
from studylib.compression import Variant, family, variants
from studylib.params import RANDOM_SQNR_DB
from studylib.results import Results

_COLUMNS = ("model", "where", "adaptive", "lost", "budget", "over fp32", "best uniform within budget", "over it", "against the others")


def verdicts(results: Results) -> pd.DataFrame:
    """One row for each model and runtime with an adaptive recipe, and one over all runtimes: the fastest against the fastest."""
    timed = [variant for variant in variants(results) if not np.isnan(variant.ms)]
    most = results.run()["parameters"].get("max_accuracy_loss", 0.01)
    rows = []
    for model in dict.fromkeys(variant.trial.model for variant in timed):
        ours = [variant for variant in timed if variant.trial.model == model]
        runtimes = dict.fromkeys((v.trial.runtime, v.trial.provider) for v in ours if _adaptive(v))
        for runtime in runtimes:
            inside = [variant for variant in ours if (variant.trial.runtime, variant.trial.provider) == runtime]
            rows.append(_row(model, "/".join(runtime).removesuffix("/cpu"), inside, most, results))
        if len(runtimes) > 1:
            rows.append(_row(model, "all runtimes", ours, most, results))
    return pd.DataFrame(rows, columns=_COLUMNS)


def lost(variant: Variant) -> tuple[float, str]:
    """What a variant lost on the test samples: a share of right or agreeing answers, or for random weights its SQNR in dB; in words."""
    if variant.measure == "correct":
        change = variant.change
        share = 0.0 if change is None else -change.estimate.value
        return share, f"{100 * share + 0.0:.1f} points of accuracy"
    if variant.measure == "agreeing" and variant.trial.weights != "random":
        share = 1 - variant.quality / 100
        return share, f"{100 * share:.1f} points of agreement"
    return variant.evaluation["sqnr"], f"SQNR {variant.evaluation['sqnr']:.1f} dB"


def within(variant: Variant, most: float) -> bool:
    """Whether a variant keeps the budget on the test samples: at most ``most`` lost, or at least 20 dB where answers mean nothing."""
    value, words = lost(variant)
    return value >= RANDOM_SQNR_DB if words.startswith("SQNR") else value <= most


def _row(model: str, where: str, ours: list[Variant], most: float, results: Results) -> dict:
    adaptive = min((v for v in ours if _adaptive(v)), key=lambda v: v.ms)
    uniform = [v for v in ours if family(v.trial.recipe) in ("float", "post-training quantization")]
    kept = [v for v in uniform if within(v, most)]
    best = min(kept, key=lambda v: v.ms, default=None)
    against = {v.trial.id: compare.speed_up(v.trial, adaptive.trial, results).comparison for v in uniform}
    budget = f"at least {RANDOM_SQNR_DB:g} dB" if lost(adaptive)[1].startswith("SQNR") else f"at most {100 * most:g} points"
    faster = sum(found.verdict == "faster" for found in against.values())
    slower = [v.trial.label for v in uniform if against[v.trial.id].verdict == "slower"]
    told = f"faster than {faster} of {len(uniform)}" + (f"; slower than {_named(slower, ours, most)}" if slower else "")
    return {
        "model": model,
        "where": where,
        "adaptive": adaptive.trial.label,
        "lost": lost(adaptive)[1],
        "budget": f"{budget}: {'kept' if within(adaptive, most) else 'OVER BUDGET'}",
        "over fp32": _against(adaptive.float32, adaptive, results),
        "best uniform within budget": best.trial.label if best else "none",
        "over it": _against(best.trial, adaptive, results) if best else "",
        "against the others": told,
    }


def _named(labels: list[str], ours: list[Variant], most: float) -> str:
    over = {v.trial.label for v in ours if not within(v, most)}
    return ", ".join(f"{label}{' (over budget)' if label in over else ''}" for label in labels)


def _against(baseline, adaptive: Variant, results: Results) -> str:
    if baseline is None or not results.measurements(baseline.id):
        return "not timed"
    found = compare.speed_up(baseline, adaptive.trial, results)
    return f"{tables.ratio_text(found.comparison)}, {found.caveat or found.comparison.verdict}"


def _adaptive(variant: Variant) -> bool:
    return family(variant.trial.recipe) == "adaptive"
