"""Adaptive recipes against uniform ones: within the budget on the test samples, and faster or not, by interleaved comparison."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from studylib import compare
from studylib.compression import Variant, family, share, speed_text, variants
from studylib.params import RANDOM_SQNR_DB, Choice
from studylib.results import Results
from studylib.stats import at_most

_COLUMNS = ("model", "where", "adaptive", "lost", "budget", "over fp32", "best uniform within budget", "over it", "against the others")

_KEPT = {True: "kept", False: "OVER BUDGET", None: "not known"}


def verdicts(results: Results) -> pd.DataFrame:
    """One row for each model and runtime with an adaptive recipe, and one over all runtimes: the fastest against the fastest."""
    timed = [variant for variant in variants(results) if not np.isnan(variant.ms)]
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


def budget_of(results: Results) -> float:
    """The share of right answers that this study may lose."""
    usual = Choice.model_fields["max_accuracy_loss"].default
    return results.run()["parameters"].get("choice", {}).get("max_accuracy_loss", usual)


@dataclass(frozen=True)
class Lost:
    """What a variant lost on the test samples: a share of right or agreeing answers, or for random weights its SQNR in dB.

    ``worst``: the interval's unfavourable end, None where samples depend on each other and for SQNR. ``why``: of a value that is not known.
    """

    measure: str
    value: float
    n: int
    worst: float | None = None
    why: str = "fp32 was not evaluated beside it"

    @property
    def words(self) -> str:
        if np.isnan(self.value):
            return f"not known: {self.why}"
        if self.measure == "sqnr":
            return f"SQNR {self.value:.1f} dB (n {self.n})"
        name = {"correct": "accuracy", "agreeing": "agreement"}[self.measure]
        return f"{100 * self.value + 0.0:.1f} points of {name} (n {self.n})"

    def within(self, most: float) -> bool | None:
        """Whether the budget is kept: at most ``most`` lost, or the least fidelity. None where what was lost is not known."""
        if np.isnan(self.value):
            return None
        return self.value >= RANDOM_SQNR_DB if self.measure == "sqnr" else at_most(self.value, most)


def lost(variant: Variant) -> Lost:
    """What ``variant`` lost against its ``float32``; of answers without labels, against the source model."""
    n = variant.evaluation.get("n", 0)
    if not variant.evaluation.get("comparable", True):
        return Lost("sqnr", np.nan, n, why="its answers are not comparable, since their number depends on the input")
    if variant.trial.weights == "random" or variant.measure == "sqnr":
        return Lost("sqnr", float(variant.evaluation.get("sqnr", np.nan)), n)
    if variant.measure == "agreeing":
        low = share(variant).low
        return Lost("agreeing", 1 - variant.quality / 100, n, None if low is None else 1 - low)
    if variant.float32 is not None and variant.float32.evaluation_id == variant.trial.evaluation_id:
        return Lost("correct", 0.0, n, 0.0)
    if variant.change is None:
        return Lost("correct", np.nan, n)
    return Lost("correct", -variant.change.estimate.value, n, -variant.change.estimate.low if variant.independent else None)


def _row(model: str, where: str, ours: list[Variant], most: float, results: Results) -> dict:
    adaptive = min((v for v in ours if _adaptive(v)), key=lambda v: v.ms)
    uniform = [v for v in ours if family(v.trial.recipe) in ("float", "post-training quantization")]
    kept = [v for v in uniform if lost(v).within(most)]
    best = min(kept, key=lambda v: v.ms, default=None)
    against = {v.trial.id: compare.judged(compare.speed_up(v.trial, adaptive.trial, results), results) for v in uniform}
    found = lost(adaptive)
    budget = f"at least {RANDOM_SQNR_DB:g} dB" if found.measure == "sqnr" else f"at most {100 * most:g} points"
    faster = sum(one == "faster" for one in against.values())
    slower = [v.trial.label for v in uniform if against[v.trial.id] == "slower"]
    told = f"faster than {faster} of {len(uniform)}" + (f"; slower than {_named(slower, ours, most)}" if slower else "")
    return {
        "model": model,
        "where": where,
        "adaptive": adaptive.trial.label,
        "lost": found.words,
        "budget": f"{budget}: {_KEPT[found.within(most)]}",
        "over fp32": _against(adaptive.float32, adaptive, results),
        "best uniform within budget": best.trial.label if best else "none",
        "over it": _against(best.trial, adaptive, results) if best else "",
        "against the others": told,
    }


def _named(labels: list[str], ours: list[Variant], most: float) -> str:
    over = {v.trial.label for v in ours if not lost(v).within(most)}
    return ", ".join(f"{label}{' (over budget)' if label in over else ''}" for label in labels)


def _against(baseline, adaptive: Variant, results: Results) -> str:
    if baseline is None or not results.measurements(baseline.id):
        return "not timed"
    return speed_text(compare.speed_up(baseline, adaptive.trial, results), results)


def _adaptive(variant: Variant) -> bool:
    return family(variant.trial.recipe) == "adaptive"
