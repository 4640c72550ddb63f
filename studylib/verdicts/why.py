"""Which variants became slower or worse than fp32, and why, as far as evidence tells."""

from dataclasses import dataclass

from studylib import wording
from studylib.errors import Kind
from studylib.params.recipe_names import split_recipe
from studylib.stats import Verdict
from studylib.verdicts.case import Case
from studylib.verdicts.findings import Findings, once
from studylib.verdicts.variants import Variant, family, variants
from studylib.verdicts.why_slower import NO_FASTER, SLOWER
from studylib.verdicts.why_worse import REFUSED, WORSE, saturation

_CHANCE, _POINT = 0.05, 0.01


@dataclass(frozen=True)
class Explained:
    """A variant that lost against fp32 in the same runtime: ``what`` it lost, and ``why``, as far as evidence tells."""

    variant: Variant
    what: str
    why: tuple[str, ...]


@once
def explained(findings: Findings) -> list[Explained]:
    """Every variant that is slower or worse than fp32 in the same runtime: by how much, and why as far as evidence tells."""
    every, isa = variants(findings), frozenset(findings.run["host"].get("isa", ()))
    found = []
    for variant in every:
        # What an accelerator computes does not depend on the processor's instructions.
        case = Case(variant, every, isa if variant.trial.provider == "cpu" else frozenset())
        lost = [(_slower(variant), SLOWER), (_no_faster(variant), NO_FASTER), (_worse(variant, len(every)), WORSE)]
        for what, rules in [*lost, (_refused(variant), REFUSED), (_lossy(case, len(every)), (saturation,))]:
            if what:
                found.append(Explained(variant, what, tuple(reason for rule in rules if (reason := rule(case)))))
    return found


def _slower(variant: Variant) -> str:
    found = variant.speed_up
    if found is None or found.verdict is not Verdict.SLOWER or not variant.findings.state(variant.trial).ok:
        return ""
    return f"slower: {wording.ratio_text(found.comparison)}"


def _no_faster(variant: Variant) -> str:
    """Zeros and clusters promise speed to many: where they bring none, that needs a reason too."""
    _, last = split_recipe(variant.trial.recipe)
    found = variant.speed_up
    if last != "fp32" or family(variant.trial.recipe) not in ("pruning", "clustering") or found is None:
        return ""
    return f"no faster: {wording.ratio_text(found.comparison)}" if found.verdict is not Verdict.FASTER else ""


def _worse(variant: Variant, tested: int) -> str:
    """Answers lost beyond chance: McNemar at 5 %, shared out over all ``tested`` variants (Bonferroni); without a test a point or more."""
    change = variant.change
    if change is None or change.estimate.value >= 0:
        return ""
    points = f"worse: {100 * change.estimate.value:+.1f} points of {variant.measured}"
    if not variant.independent:
        return f"{points} (samples depend on each other: no test)" if change.estimate.value <= -_POINT else ""
    return f"{points}, p {change.p_value:.2g} of {tested} tests" if change.p_value < _CHANCE / tested else ""


def _refused(variant: Variant) -> str:
    """Refused by the parity gate: no longer the model that it was made of."""
    if variant.evaluation.get("kind") != Kind.PARITY:
        return ""
    reason = variant.evaluation["reason"]
    return f"refused by the parity gate: {reason.removeprefix('parity: ').split(';')[0]}"


def _lossy(case: Case, tested: int) -> str:
    """Signal that saturation costs a variant which neither a test nor the gate calls worse: without labels nothing else tells."""
    lost = saturation(case) and not _worse(case.variant, tested) and not _refused(case.variant)
    return f"loses signal: SQNR {case.variant.evaluation['sqnr']:.1f} dB" if lost else ""
