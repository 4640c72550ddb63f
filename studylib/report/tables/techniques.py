"""What each technique costs and saves, as a table: every variant against the float version in the same runtime."""

import numpy as np
import pandas as pd

from studylib.results import standing
from studylib.verdicts.findings import Findings, of_findings
from studylib.verdicts.losses import KEPT, lost_of
from studylib.verdicts.pareto import front
from studylib.verdicts.variants import Variant, every_name, family, share, variants
from studylib.wording import percent, typical_ms, without_empty


@of_findings
def techniques(findings: Findings) -> pd.DataFrame:
    """Every variant: size, packed size, quality with its paired change, latency with its speed-up; or why it has none."""
    found, most = every_name(findings), findings.budget
    best = front(variants(findings))
    sizes = {(v.trial.model, v.trial.format): v.artifact.get("size_bytes") for v in found if v.trial.recipe == "fp32"}
    rows = []
    for variant in found:
        trial, facts = variant.trial, variant.artifact
        size, before = facts.get("size_bytes", np.nan), sizes.get((trial.model, trial.format), np.nan)
        state = findings.state(trial)
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
                "p50_ms": typical_ms(findings.values(trial)),
                "against fp32": variant.speed_up.words if variant.speed_up else "",
                "front": "●" if trial.id in best else "",
                "status": _same_file(variant) if state.ok else str(state),
                "LoadGen": standing.loadgen(findings.results, trial),
            }
        )
    return without_empty(pd.DataFrame(rows))


def quality_text(variant: Variant) -> str:
    """``accuracy 98.3 [97.3, 99.0] %``, agreement with the source model, or SQNR."""
    if not variant.evaluation.get("comparable", True):
        return "not comparable"
    if variant.measure == "sqnr":
        return "" if np.isnan(variant.quality) else f"SQNR {variant.quality:.1f} dB"
    return f"{variant.measured} {percent(share(variant))} %"


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
