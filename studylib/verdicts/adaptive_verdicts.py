"""Adaptive recipes against uniform ones: within the budget on the test samples, and faster or not, by interleaved comparison."""

import numpy as np
import pandas as pd

from studylib.params import RANDOM_SQNR_DB
from studylib.results.results import Results
from studylib.verdicts import compare
from studylib.verdicts.compression import doubles, family, speed_text, variants
from studylib.verdicts.losses import KEPT, budget_of, lost_of
from studylib.verdicts.variants import Variant

_COLUMNS = ("model", "where", "adaptive", "lost", "budget", "over fp32", "best uniform within budget", "over it", "against the others")


def verdicts(results: Results) -> pd.DataFrame:
    """One row for each model and runtime with an adaptive recipe, and one over all runtimes: the fastest against the fastest."""
    timed = [variant for variant in variants(results) if not np.isnan(variant.ms)]
    timed += [variant for variant in doubles(results) if _adaptive(variant)]
    most, rows = budget_of(results), []
    for model in dict.fromkeys(variant.trial.model for variant in timed):
        ours = [variant for variant in timed if variant.trial.model == model]
        runtimes = dict.fromkeys((v.trial.runtime, v.trial.provider) for v in ours if _adaptive(v))
        for runtime in runtimes:
            inside = [variant for variant in ours if (variant.trial.runtime, variant.trial.provider) == runtime]
            rows.append(_row(model, inside[0].trial.where, inside, most, results))
        if len(runtimes) > 1:
            rows.append(_row(model, "all runtimes", ours, most, results))
    return pd.DataFrame(rows, columns=_COLUMNS)


def _row(model: str, where: str, ours: list[Variant], most: float, results: Results) -> dict:
    adaptive = min((v for v in ours if _adaptive(v)), key=lambda v: v.ms)
    uniform = [v for v in ours if family(v.trial.recipe) in ("float", "post-training quantization")]
    kept = [v for v in uniform if lost_of(v).within(most)]
    best = min(kept, key=lambda v: v.ms, default=None)
    found = lost_of(adaptive)
    budget = f"at least {RANDOM_SQNR_DB:g} dB" if found.measure == "sqnr" else f"at most {100 * most:g} points"
    row = {
        "model": model,
        "where": where,
        "adaptive": adaptive.trial.label,
        "lost": found.words,
        "budget": f"{budget}: {KEPT[found.within(most)]}",
        "best uniform within budget": best.trial.label if best else "none",
    }
    if adaptive.stands_for is not None:
        nothing = f"the search found nothing better: the same file as {adaptive.stands_for.label}"
        return dict.fromkeys(_COLUMNS, "") | row | {"over fp32": nothing}
    against = {v.trial.id: compare.judged(compare.speed_up(v.trial, adaptive.trial, results), results) for v in uniform}
    faster = sum(one == "faster" for one in against.values())
    slower = [v for v in uniform if against[v.trial.id] == "slower"]
    named = ", ".join(f"{v.trial.label}{'' if lost_of(v).within(most) else ' (over budget)'}" for v in slower)
    return row | {
        "over fp32": _against(adaptive.float32, adaptive, results),
        "over it": _against(best.trial, adaptive, results) if best else "",
        "against the others": f"faster than {faster} of {len(uniform)}" + (f"; slower than {named}" if slower else ""),
    }


def _against(baseline, adaptive: Variant, results: Results) -> str:
    if baseline is None or not results.measurements(baseline.id):
        return "not timed"
    return speed_text(compare.speed_up(baseline, adaptive.trial, results), results)


def _adaptive(variant: Variant) -> bool:
    return family(variant.trial.recipe) == "adaptive"
