"""Why a variant became slower or worse than fp32, in words, from evidence: its file's operators and lineage, the processor, its neighbours.

A reason is given only where its evidence was found; where none was, the table says that the files do not tell.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from studylib import wording
from studylib.params.recipe_names import split_recipe
from studylib.results.results import Results
from studylib.verdicts.compression import family, variants
from studylib.verdicts.variants import Variant

# Instructions that multiply int8 and add in one step, without saturating on the way.
_INT8_PRODUCTS = {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"}
_FLOAT16 = {"avx512_fp16", "asimdhp"}
_X86 = {"avx", "avx2", "avx512f"}
# Below this the fixed cost of each operator decides, not its arithmetic.
_OVERHEAD_MS = 0.2
# Less than this is no finding: rounding alone costs more in some runtimes.
_DB = 3.0
_CHANCE, _POINT = 0.05, 0.01


@dataclass(frozen=True)
class Case:
    """One variant that lost, with all that may explain it."""

    variant: Variant
    others: list[Variant]
    isa: frozenset

    @property
    def recipe(self) -> str:
        return self.variant.trial.recipe

    def count(self, *operators: str) -> int:
        """How many operators of these types its file has."""
        return sum(self.variant.inside.get("operators", {}).get(name, 0) for name in operators)

    def more(self, *operators: str) -> int:
        """How many more of them than the fp32 file."""
        return self.count(*operators) - sum(self.before.get("operators", {}).get(name, 0) for name in operators)

    @cached_property
    def before(self) -> dict:
        return Variant(self.variant.results, self.variant.float32, None).inside if self.variant.float32 else {}

    @property
    def baseline_ms(self) -> float:
        """The latency of fp32 in the same runtime."""
        return Variant(self.variant.results, self.variant.float32, None).ms if self.variant.float32 else np.nan

    @property
    def islands(self) -> dict:
        return self.variant.inside.get("float_islands") or {}

    @cached_property
    def notes(self) -> dict:
        """What the recipes noted of how they made it."""
        return {key: value for step in self.variant.artifact.get("lineage", []) for key, value in (step.get("notes") or {}).items()}

    def neighbour(self, recipe: str) -> Variant | None:
        """The same model in the same runtime by another recipe, where it was evaluated."""
        ours = self.variant.trial
        alike = (v for v in self.others if (v.trial.model, v.trial.runtime, v.trial.provider) == (ours.model, ours.runtime, ours.provider))
        return next((v for v in alike if v.trial.recipe == recipe and "sqnr" in v.evaluation), None)


def reasons(results: Results) -> pd.DataFrame:
    """Every variant that is slower or worse than fp32 in the same runtime: by how much, and why as far as evidence tells."""
    found, isa = variants(results), frozenset(results.run()["host"].get("isa", ()))
    rows = []
    for variant in found:
        # What an accelerator computes does not depend on the processor's instructions.
        case = Case(variant, found, isa if variant.trial.provider == "cpu" else frozenset())
        lost = [(_slower(variant), SLOWER), (_no_faster(variant), NO_FASTER), (_worse(variant, len(found)), WORSE)]
        for what, rules in [*lost, (_refused(variant), REFUSED), (_lossy(case, len(found)), (_saturation,))]:
            if what:
                told = [reason for rule in rules if (reason := rule(case))]
                why = "; ".join(told) or "not known: neither its operators nor its neighbours tell"
                rows.append([variant.trial.model, variant.trial.where, variant.trial.shown, what, why])
    return pd.DataFrame(rows, columns=["model", "runtime", "recipe", "what", "why"])


def _slower(variant: Variant) -> str:
    found = variant.speed_up
    if found is None or variant.verdict != "slower" or variant.results.status(variant.trial)[0] != "ok":
        return ""
    return f"slower: {wording.ratio_text(found.comparison)}"


def _no_faster(variant: Variant) -> str:
    """Zeros and clusters promise speed to many: where they bring none, that needs a reason too."""
    _, last = split_recipe(variant.trial.recipe)
    found = variant.speed_up
    if last != "fp32" or family(variant.trial.recipe) not in ("pruning", "clustering") or found is None:
        return ""
    return f"no faster: {wording.ratio_text(found.comparison)}" if variant.verdict != "faster" else ""


def _worse(variant: Variant, tested: int) -> str:
    """Answers lost beyond chance: McNemar at 5 %, shared out over all ``tested`` variants (Bonferroni); without a test a point or more."""
    change = variant.change
    if change is None or change.estimate.value >= 0:
        return ""
    name = "accuracy" if variant.measure == "correct" else "agreement"
    points = f"worse: {100 * change.estimate.value:+.1f} points of {name}"
    if not variant.independent:
        return f"{points} (samples depend on each other: no test)" if change.estimate.value <= -_POINT else ""
    return f"{points}, p {change.p_value:.2g} of {tested} tests" if change.p_value < _CHANCE / tested else ""


def _refused(variant: Variant) -> str:
    """Refused by the parity gate: no longer the model that it was made of."""
    status, reason = variant.evaluation.get("status"), variant.evaluation.get("reason", "")
    if status != "failed" or not reason.startswith("parity:"):
        return ""
    return f"refused by the parity gate: {reason.removeprefix('parity: ').split(';')[0]}"


def _lossy(case: Case, tested: int) -> str:
    """Signal that saturation costs a variant which neither a test nor the gate calls worse: without labels nothing else tells."""
    lost = _saturation(case) and not _worse(case.variant, tested) and not _refused(case.variant)
    return f"loses signal: SQNR {case.variant.evaluation['sqnr']:.1f} dB" if lost else ""


# --- slower ----------------------------------------------------------------------------------------------------------


def _conv_integer(case: Case) -> str:
    found = case.count("ConvInteger")
    return found and f"{found} convolutions became ConvInteger, for which ONNX Runtime has no fused, blocked kernel as it has for Conv"


def _dynamic(case: Case) -> str:
    if case.variant.trial.runtime == "litert" and split_recipe(case.recipe)[1].startswith("dynamic") and case.islands:
        return "every operator with int8 weights quantizes its activations anew in every inference"
    found = case.count("DynamicQuantizeLinear")
    return found and f"{found} activations are measured and quantized again in every inference (DynamicQuantizeLinear)"


def _left_in_float(case: Case) -> str:
    kinds = [one["type"] for one in case.islands.get("operators", []) if one["where"] == "between"]
    if not kinds or not case.islands["quantize"] + case.islands["dequantize"]:
        return ""
    named = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    crossings = case.islands["quantize"] + case.islands["dequantize"]
    return f"operators left in float between integer ones ({named}): {crossings} conversions between the two"


def _float16(case: Case) -> str:
    if split_recipe(case.recipe)[1] != "fp16":
        return ""
    if case.variant.trial.where == "onnxruntime" and case.isa & _X86:
        return "ONNX Runtime has no float16 kernels for x86: it computes in float32 and converts between operators"
    if not case.isa or case.isa & _FLOAT16:
        return ""
    casts = case.more("Cast", "DEQUANTIZE")
    return f"this processor has no float16 arithmetic, so float16 is widened to float32 first ({casts} more conversions in the file)"


def _converts_on_the_gpu(case: Case) -> str:
    """Quantizers and dequantizers that the graph still has when it is placed: fused away where kernels take integers."""
    trial, nodes = case.variant.trial, case.variant.evaluation.get("nodes", {})
    found = sum(kinds.get(name, 0) for kinds in nodes.values() for name in ("QuantizeLinear", "DequantizeLinear"))
    if (trial.runtime, trial.provider) != ("onnxruntime", "cuda") or not found:
        return ""
    return f"ONNX Runtime's CUDA provider computes in float only: {found} nodes convert to int8 and back around each operator"


def _no_int8_products(case: Case) -> str:
    integers = case.islands or case.count("ConvInteger", "MatMulInteger", "MatMulIntegerToFloat")
    known = case.isa and not case.isa & _INT8_PRODUCTS
    return "this processor has no instruction that multiplies and adds int8 in one step (VNNI, dot product)" if integers and known else ""


def _weights_expanded(case: Case) -> str:
    if not split_recipe(case.recipe)[1].startswith("weight_only"):
        return ""
    found = case.more("DequantizeLinear", "DEQUANTIZE")
    return f"weights are expanded to float in every inference ({found} more dequantizers); the arithmetic stays float"


def _wide_activations(case: Case) -> str:
    other = case.neighbour("static_wi8_ai8")
    if not split_recipe(case.recipe)[1].startswith("static_wi8_ai16") or other is None or not other.ms < case.variant.ms:
        return ""
    return (
        f"16-bit activations have no fast kernels here: with 8 bits (static_wi8_ai8) the same operators take {wording.digits(other.ms)} ms"
    )


def _zeros(case: Case) -> str:
    """Zeros or repeated values that stay where they are: the same arithmetic as before."""
    before, after = case.before.get("macs"), case.variant.inside.get("macs")
    if before is None or after is None or after < before:
        return ""
    share = case.notes.get("sparsity")
    pruned = family(case.recipe) == "pruning" and isinstance(share, float)
    what = f"{share:.0%} of the weights are zero" if pruned else "weights repeat"
    return f"{what}, but no kernel here skips them: {after:,} multiply-accumulates as before"


def _layout(case: Case) -> str:
    found = case.more("Transpose", "TRANSPOSE")
    return f"{found} more transpositions: data is laid out anew between operators" if found > 0 else ""


def _converted_outside(case: Case) -> str:
    """Integer inputs and outputs: whoever asks converts, and for a small model that takes as long as the model."""
    tensors = [*case.variant.inside.get("inputs", []), *case.variant.inside.get("outputs", [])]
    integers = [tensor["name"] for tensor in tensors if tensor.get("dtype") in ("int8", "uint8", "int16")]
    if not integers or not case.baseline_ms < _OVERHEAD_MS:
        return ""
    other = case.neighbour("static_wi8_ai8_float_io")
    beside = f"; with float ones (static_wi8_ai8_float_io) it takes {1000 * other.ms:.0f} µs" if other and not np.isnan(other.ms) else ""
    return f"inputs and outputs are integers, and converting them is part of each query of {1000 * case.variant.ms:.0f} µs{beside}"


def _overhead(case: Case) -> str:
    count, before = (sum(inside.get("operators", {}).values()) for inside in (case.variant.inside, case.before))
    if not case.baseline_ms < _OVERHEAD_MS or not 0 < before < count:
        return ""
    return f"at {1000 * case.baseline_ms:.0f} µs an inference the fixed cost of each operator counts: {count} operators instead of {before}"


# --- worse -----------------------------------------------------------------------------------------------------------


def _saturation(case: Case) -> str:
    other = case.neighbour("static_wi8_ai8_reduce_range")
    if not case.isa & _X86 or case.isa & _INT8_PRODUCTS or case.recipe != "static_wi8_ai8" or not _better(other, case):
        return ""
    return f"sums of int8 products saturate in 16 bits on this processor: with 7-bit weights (reduce_range) {_compared(other, case)}"


def _scales(case: Case) -> str:
    """Which other way of choosing scales keeps more of the signal."""
    ways = {
        "_per_tensor": "one scale a tensor is too coarse: with one a channel",
        "_percentile": "percentile calibration cuts values off: with the extremes",
        "_entropy": "entropy calibration cuts values off: with the extremes",
        "_symmetric": "symmetric activations waste half the range: with a zero point",
    }
    for suffix, words in ways.items():
        other = case.neighbour(case.recipe.removesuffix(suffix)) if case.recipe.endswith(suffix) else None
        if _better(other, case):
            return f"{words} {_compared(other, case)}"
    return ""


def _activations(case: Case) -> str:
    """Whether weights alone would have kept the signal."""
    other = case.neighbour("weight_only_wi8_afp32")
    integer = split_recipe(case.recipe)[1].startswith(("static_wi8_ai8", "dynamic"))
    if not integer or split_recipe(case.recipe)[0] or not _better(other, case):
        return ""
    return f"the activations lose it, not the weights: with int8 weights alone {_compared(other, case)}"


def _weights(case: Case) -> str:
    other = case.neighbour("weight_only_wi8_afp32")
    if split_recipe(case.recipe)[1] != "weight_only_wi4_afp32" or not _better(other, case):
        return ""
    return f"four bits are too few for these weights: with eight {_compared(other, case)}"


def _taught(case: Case) -> str:
    """A retrained model is as good as its lessons."""
    if not split_recipe(case.recipe)[0]:
        return ""
    lessons, share = case.notes.get("taught"), case.notes.get("sparsity")
    told = [f"taught by {lessons}"] if lessons else []
    told += [f"{share:.0%} of its weights are zero"] if isinstance(share, float) and share else []
    before, after = case.before.get("macs"), case.variant.inside.get("macs")
    told += [f"{after / before:.0%} of the multiply-accumulates are left"] if before and after and after < before else []
    return ", ".join(told)


def _better(other: Variant | None, case: Case) -> bool:
    return other is not None and other.evaluation["sqnr"] > case.variant.evaluation.get("sqnr", np.inf) + _DB


def _compared(other: Variant, case: Case) -> str:
    return f"SQNR is {other.evaluation['sqnr']:.1f} dB instead of {case.variant.evaluation['sqnr']:.1f}"


# Functions of a case that give the reason in words, or nothing.
SLOWER = (
    _conv_integer, _dynamic, _left_in_float, _float16, _converts_on_the_gpu, _no_int8_products, _weights_expanded, _wide_activations,
    _layout, _converted_outside, _overhead,
)  # fmt: skip
NO_FASTER = (_zeros,)
REFUSED = (_saturation, _scales, _activations, _weights)
WORSE = (*REFUSED, _taught)
