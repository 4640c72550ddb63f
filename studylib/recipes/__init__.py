"""Recipes by name and format. Adding one: a class in this folder, a line in the table; the contract tests find it.

A recipe reads ``source_format``, so a chain of recipes leads from the Keras model to every entry of the table.
"""

from studylib.recipes import conversion, litert, onnx, to_onnx
from studylib.recipes.base import Recipe as Recipe

RECIPES: dict[str, dict[str, Recipe]] = {
    "fp32": {
        "saved_model": conversion.ToSavedModel(),
        "tflite": conversion.ToLiteRT(),
        "onnx": to_onnx.ToOnnx(),
    },
    "fp16": {"tflite": litert.Float16(), "onnx": onnx.Float16()},
    "dynamic_wi8_afp32": {"tflite": litert.DynamicRange(), "onnx": onnx.DynamicRange()},
    "static_wi8_ai8": {"tflite": litert.StaticInt8(), "onnx": onnx.StaticInt8()},
}


def chain(name: str, target: str) -> list[Recipe]:
    """The recipes to apply in turn, from the Keras model to recipe ``name`` in format ``target``; empty if none leads there."""
    recipe = RECIPES[name].get(target)
    if recipe is None:
        return []
    before = [] if recipe.source_format == "keras" else chain("fp32", recipe.source_format)
    return [*before, recipe]
