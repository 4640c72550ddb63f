"""Adaptive recipes against uniform ones: within the budget on the test samples, and faster or not, by interleaved comparison."""

from dataclasses import dataclass

import numpy as np

from studylib.stats import Verdict
from studylib.verdicts.compare import SpeedUp
from studylib.verdicts.contenders import against
from studylib.verdicts.findings import Findings, once
from studylib.verdicts.losses import Lost, lost_of
from studylib.verdicts.variants import Variant, doubles, family, variants


@dataclass(frozen=True)
class AdaptiveVerdict:
    """The fastest adaptive recipe of a model in one runtime, or (``where`` None) over all of them.

    ``best``: the fastest uniform recipe within the budget; None where none is. ``others``: how the adaptive one compares with each
    uniform recipe. All comparisons are empty where the search found nothing better: then it is the same file as another one.
    """

    adaptive: Variant
    where: str | None
    lost: Lost
    within: bool | None
    best: Variant | None
    over_fp32: SpeedUp | None = None
    over_best: SpeedUp | None = None
    others: tuple[tuple[Variant, SpeedUp], ...] = ()

    @property
    def slower_than(self) -> list[Variant]:
        return [variant for variant, found in self.others if found.verdict is Verdict.SLOWER]

    @property
    def faster_than(self) -> list[Variant]:
        return [variant for variant, found in self.others if found.verdict is Verdict.FASTER]


@once
def adaptive_verdicts(findings: Findings) -> list[AdaptiveVerdict]:
    """One for each model and runtime with an adaptive recipe, and one over all runtimes: the fastest against the fastest."""
    timed = [variant for variant in variants(findings) if not np.isnan(variant.ms)]
    timed += [variant for variant in doubles(findings) if _is_adaptive(variant)]
    found = []
    for model in dict.fromkeys(variant.trial.model for variant in timed):
        ours = [variant for variant in timed if variant.trial.model == model]
        runtimes = dict.fromkeys(variant.trial.where for variant in ours if _is_adaptive(variant))
        for where in runtimes:
            found.append(_verdict([variant for variant in ours if variant.trial.where == where], where))
        if len(runtimes) > 1:
            found.append(_verdict(ours, None))
    return found


def _verdict(ours: list[Variant], where: str | None) -> AdaptiveVerdict:
    adaptive = min((variant for variant in ours if _is_adaptive(variant)), key=lambda variant: variant.ms)
    most, loss = adaptive.findings.budget, lost_of(adaptive)
    uniform = [variant for variant in ours if family(variant.trial.recipe) in ("float", "post-training quantization")]
    best = min((variant for variant in uniform if lost_of(variant).within(most)), key=lambda variant: variant.ms, default=None)
    known = {"adaptive": adaptive, "where": where, "lost": loss, "within": loss.within(most), "best": best}
    if adaptive.stands_for is not None:
        return AdaptiveVerdict(**known)
    return AdaptiveVerdict(
        **known,
        over_fp32=_over(adaptive),
        over_best=against(best, adaptive) if best else None,
        others=tuple((variant, against(variant, adaptive)) for variant in uniform),
    )


def _over(adaptive: Variant) -> SpeedUp | None:
    """Against fp32 in the same runtime; None where that was not timed."""
    baseline, findings = adaptive.float32, adaptive.findings
    is_timed = baseline is not None and findings.results.measurements(baseline.id)
    return findings.against(baseline, adaptive.trial) if is_timed else None


def _is_adaptive(variant: Variant) -> bool:
    return family(variant.trial.recipe) == "adaptive"
