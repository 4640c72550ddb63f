"""Adaptive recipes against uniform ones, as a table."""

import pandas as pd

from studylib.params.defaults import RANDOM_SQNR_DB
from studylib.verdicts.adaptive_verdicts import AdaptiveVerdict, adaptive_verdicts
from studylib.verdicts.findings import Findings, of_findings
from studylib.verdicts.losses import KEPT, lost_of

_COLUMNS = ("model", "where", "adaptive", "lost", "budget", "over fp32", "best uniform within budget", "over it", "against the others")


@of_findings
def adaptive(findings: Findings) -> pd.DataFrame:
    """One row for each model and runtime with an adaptive recipe, and one over all runtimes: the fastest against the fastest."""
    return pd.DataFrame([_row(one, findings.budget) for one in adaptive_verdicts(findings)], columns=_COLUMNS)


def _row(one: AdaptiveVerdict, most: float) -> dict:
    budget = f"at least {RANDOM_SQNR_DB:g} dB" if one.lost.measure == "sqnr" else f"at most {100 * most:g} points"
    row = {
        "model": one.adaptive.trial.model,
        "where": one.where or "all runtimes",
        "adaptive": one.adaptive.trial.label,
        "lost": one.lost.words,
        "budget": f"{budget}: {KEPT[one.within]}",
        "best uniform within budget": one.best.trial.label if one.best else "none",
    }
    if one.adaptive.stands_for is not None:
        nothing = f"the search found nothing better: the same file as {one.adaptive.stands_for.label}"
        return dict.fromkeys(_COLUMNS, "") | row | {"over fp32": nothing}
    lossy = {variant.trial.id: "" if lost_of(variant).within(most) else " (over budget)" for variant in one.slower_than}
    named = ", ".join(f"{variant.trial.label}{lossy[variant.trial.id]}" for variant in one.slower_than)
    return row | {
        "over fp32": one.over_fp32.words if one.over_fp32 else "not timed",
        "over it": one.over_best.words if one.over_best else "",
        "against the others": f"faster than {len(one.faster_than)} of {len(one.others)}" + (f"; slower than {named}" if named else ""),
    }
