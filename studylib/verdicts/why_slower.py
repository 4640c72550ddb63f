"""Why a variant became slower than fp32: each rule gives its reason in words where its evidence is found, or nothing."""

import numpy as np

from studylib import wording
from studylib.machine.hardware import INT8_PRODUCTS, X86
from studylib.params.recipe_names import split_recipe
from studylib.verdicts.case import Case
from studylib.verdicts.variants import family

_FLOAT16 = {"avx512_fp16", "asimdhp"}
# Below this the fixed cost of each operator decides, not its arithmetic.
_OVERHEAD_MS = 0.2


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
    if case.variant.trial.where == "onnxruntime" and case.isa & X86:
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
    known = case.isa and not case.isa & INT8_PRODUCTS
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


SLOWER = (
    _conv_integer, _dynamic, _left_in_float, _float16, _converts_on_the_gpu, _no_int8_products, _weights_expanded, _wide_activations,
    _layout, _converted_outside, _overhead,
)  # fmt: skip
NO_FASTER = (_zeros,)
