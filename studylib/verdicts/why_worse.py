"""Why a variant became worse than fp32: each rule gives its reason in words where its evidence is found, or nothing."""

import numpy as np

from studylib.machine.hardware import INT8_PRODUCTS, X86
from studylib.params.recipe_names import split_recipe
from studylib.verdicts.case import Case
from studylib.verdicts.variants import Variant

# Among the options of what ONNX Runtime adds without saturating.
_EXACT = "int8_sums=32"
# Less than this is no finding: rounding alone costs more in some runtimes.
_DB = 3.0


def saturation(case: Case) -> str:
    other = case.neighbour("static_wi8_ai8_reduce_range")
    if _EXACT in case.variant.trial.options:
        return ""
    if not case.isa & X86 or case.isa & INT8_PRODUCTS or case.recipe != "static_wi8_ai8" or not _better(other, case):
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


REFUSED = (saturation, _scales, _activations, _weights)
WORSE = (*REFUSED, _taught)
