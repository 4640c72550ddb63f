"""Recipes by name and target format. Adding one: a class in this folder, a line in the table; the contract tests find it.

A recipe reads ``source_format``; a chain of float conversions leads from the source model to it.
"""

from dataclasses import replace

from studylib.params.recipe_names import split_recipe
from studylib.recipes.base import Recipe as Recipe
from studylib.recipes.base import composed as composed
from studylib.recipes.convert import (
    from_onnx,
    from_torch,
    from_torch_to_litert,
    litert_to_onnx,
    serving,
    to_coreml,
    to_litert,
    to_onnx,
    to_openvino,
    to_saved_model,
)
from studylib.recipes.quantize import adaptive, fake_quant, litert, litert_quantizer, onnx, onnx_weights, openvino
from studylib.recipes.retrain import retrained, slimmed

# Tables: what is looked up in them is named by whoever asks (`studylib.artifacts.code`).
DECIDES_NOTHING = ("RECIPES", "RETRAINED")

# Of several recipes with one target, an earlier one is preferred where the way is equally long.
RECIPES: dict[str, dict[str, tuple[Recipe, ...]]] = {
    "fp32": {
        "saved_model": (to_saved_model.ToSavedModel(), to_saved_model.LegacyKerasToSavedModel(), from_onnx.OnnxToSavedModel()),
        "tflite": (to_litert.ToLiteRT(), from_torch_to_litert.TorchToLiteRT()),
        "onnx": (to_onnx.ToOnnx(), litert_to_onnx.LiteRTToOnnx(), from_torch.TorchToOnnx()),
        "openvino": (to_openvino.SavedModelToOpenVino(), to_openvino.OnnxToOpenVino()),
        "coreml": (to_coreml.ToCoreML(),),
        "serving": (serving.ToServing(),),
    },
    "fp16": {"tflite": (litert.Float16(), litert_quantizer.Float16()), "onnx": (onnx.Float16(),)},
    "dynamic_wi8_afp32": {"tflite": (litert.DynamicRange(), litert_quantizer.DynamicRange()), "onnx": (onnx.DynamicRange(),)},
    "weight_only_wi8_afp32": {"tflite": (litert_quantizer.WeightOnly8(),), "onnx": (onnx_weights.WeightOnly8(),)},
    "weight_only_wi4_afp32": {"tflite": (litert_quantizer.WeightOnly4(),), "onnx": (onnx_weights.WeightOnly4(),)},
    "static_wi8_ai8": {
        "tflite": (litert.StaticInt8(), litert_quantizer.Static()),
        "onnx": (onnx.Static(),),
        "openvino": (openvino.Static(),),
    },
    "static_wi8_ai8_float_io": {"tflite": (litert.StaticInt8(int8_io=False),)},
    "static_wi8_ai8_qoperator": {"onnx": (onnx.Static(qoperator=True),)},
    "static_wi8_ai8_per_tensor": {"onnx": (onnx.Static(per_channel=False),)},
    "static_wi8_ai8_reduce_range": {"onnx": (onnx.Static(reduce_range=True),)},
    "static_wi8_ai8_symmetric": {"onnx": (onnx.Static(symmetric=True),)},
    "static_wi8_ai8_entropy": {"onnx": (onnx.Static(method="entropy"),)},
    "static_wi8_ai8_percentile": {"onnx": (onnx.Static(method="percentile"),)},
    "static_wi8_ai16": {
        "tflite": (litert.StaticInt16(), litert_quantizer.Static(activation_bits=16)),
        "onnx": (onnx.Static(activation_bits=16),),
    },
    "adaptive_wi8": {
        "tflite": (adaptive.AdaptiveLiteRT(),),
        "onnx": (adaptive.AdaptiveOnnx(),),
        "openvino": (adaptive.AdaptiveOpenVINO(),),
    },
    "wi8_ai8": {"tflite": (fake_quant.FakeQuantToLiteRT(),), "onnx": (fake_quant.FakeQuantToOnnx(),)},
}

# These only finish what a training began.
_LAST_STEPS = ("wi8_ai8",)

# What trains a model comes before all others; ``qat_wi8_ai8`` is ``qat`` and then ``wi8_ai8``.
RETRAINED: dict[str, retrained.Retrained] = {**retrained.RETRAINED, **slimmed.SLIMMED}


def names() -> list[str]:
    """Every recipe that can be asked for by name; float ones that train may also be quantized, ``<name>_static_wi8_ai8``."""
    trained = [[base, f"{base}_static_wi8_ai8"] if one.float_result else [f"{base}_wi8_ai8"] for base, one in RETRAINED.items()]
    return [*(name for name in RECIPES if name not in _LAST_STEPS), *(name for pair in trained for name in pair)]


def chain(name: str, target: str, source: str = "keras", trust: bool = False, seed: int = 0) -> list[Recipe] | None:
    """The recipes to apply in turn, from format ``source`` to recipe ``name`` in format ``target``; None if none leads there.

    The shortest way; one that lacks a package here only when there is no other. ``trust``: code inside the model may run.
    ``seed``: of those that train.
    """
    base, name = split_recipe(name)
    if base:
        if source != RETRAINED[base].source_format:
            return None
        first = replace(RETRAINED[base], seed=seed)
        rest = [] if (name, target) == ("fp32", first.target) else chain(name, target, first.target, trust)
        return None if rest is None else [first, *rest]
    before = _ways(source)
    ways = [[*before[recipe.source_format], recipe] for recipe in RECIPES[name].get(target, ()) if recipe.source_format in before]
    way = before.get(target) if name == "fp32" else min(ways, key=_cost, default=None)
    return way and [_trusting(step, trust) for step in way]


def find_recipe(name: str, source: str, target: str, trust: bool = False, seed: int = 0) -> Recipe:
    """The recipe that makes ``name`` in format ``target`` from format ``source``."""
    if name in RETRAINED:
        return replace(RETRAINED[name], seed=seed)
    found = next(recipe for recipe in RECIPES[name][target] if recipe.source_format == source)
    return _trusting(found, trust)


def why_no_chain(name: str, target: str, source: str = "keras") -> str | None:
    """Why no chain of recipes can be run here, in words, or None when one can."""
    steps = chain(name, target, source)
    if steps is not None:
        return next((reason for step in steps if (reason := step.missing())), None)
    base, name = split_recipe(name)
    if base and source != RETRAINED[base].source_format:
        return f"{base} trains a Keras model; what comes as {source} cannot be trained here"
    source = RETRAINED[base].target if base else source
    if target not in RECIPES[name] and not (name == "fp32" and source == target):
        return f"recipe {name} does not exist for {target}"
    return f"no path from {source} to {target}: nobody maintains such a converter"


def _ways(source: str) -> dict[str, list[Recipe]]:
    """The cheapest chain of float conversions from ``source`` to every format that can be reached."""
    ways: dict[str, list[Recipe]] = {source: []}
    costs = {source: (0, 0)}
    edges = [(recipe, bool(recipe.missing())) for recipes in RECIPES["fp32"].values() for recipe in recipes]
    # As many rounds as there are conversions: no way without a circle is longer (Bellman and Ford).
    for _ in edges:
        before = dict(costs)
        for edge, lacking in edges:
            if edge.source_format in ways:
                missing, length = costs[edge.source_format]
                cost = (missing + lacking, length + 1)
                if edge.target not in ways or cost < costs[edge.target]:
                    ways[edge.target], costs[edge.target] = [*ways[edge.source_format], edge], cost
        if costs == before:
            break
    return ways


def _cost(way: list[Recipe]) -> tuple[int, int]:
    return sum(bool(step.missing()) for step in way), len(way)


def _trusting(recipe: Recipe, trust: bool) -> Recipe:
    return replace(recipe, trust=True) if trust and hasattr(recipe, "trust") else recipe
