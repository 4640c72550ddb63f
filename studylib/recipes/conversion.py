"""Float conversions: one trained Keras model, three formats, the same weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from studylib.recipes.base import Recipe
from studylib.zoo import Samples

OPSET = 18


@dataclass(frozen=True)
class ToSavedModel(Recipe):
    """Keras model to a TensorFlow SavedModel with a dynamic batch. Source: ``keras.Model.export``."""

    name: ClassVar[str] = "fp32"
    target: ClassVar[str] = "saved_model"
    source_format: ClassVar[str] = "keras"
    packages: ClassVar[tuple[str, ...]] = ("tensorflow", "keras")

    trust: bool = False

    def write(self, source: Path, folder: Path, calibration: Samples | None) -> Path:
        import keras

        # safe_mode is Keras' own guard against code inside a model file.
        keras.models.load_model(source, compile=False, safe_mode=not self.trust).export(folder / "model", verbose=False)
        return folder / "model"


@dataclass(frozen=True)
class ToOnnx(Recipe):
    """SavedModel to ONNX with named inputs and outputs, a dynamic batch and a chosen opset. Source: tf2onnx."""

    name: ClassVar[str] = "fp32"
    target: ClassVar[str] = "onnx"
    source_format: ClassVar[str] = "saved_model"
    packages: ClassVar[tuple[str, ...]] = ("tensorflow", "tf2onnx", "onnx")

    opset: int = OPSET

    def write(self, source: Path, folder: Path, calibration: Samples | None) -> Path:
        import onnx
        import tensorflow as tf
        import tf2onnx

        loaded = tf.saved_model.load(str(source))  # owns the variables, so it must outlive the conversion
        serving = loaded.signatures["serving_default"]
        signature = [tf.TensorSpec(s.shape, s.dtype, name) for name, s in serving.structured_input_signature[1].items()]
        names = sorted(serving.structured_outputs)

        def flat(*inputs):
            outputs = serving(**{spec.name: value for spec, value in zip(signature, inputs, strict=True)})
            return [outputs[name] for name in names]

        model, _ = tf2onnx.convert.from_function(tf.function(flat), input_signature=signature, opset=self.opset)
        _name_outputs(model, names)
        _name_batch_axis(model)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, folder / "model.onnx")
        return folder / "model.onnx"


def _name_outputs(model, names: list[str]) -> None:
    """Give the graph's outputs the SavedModel's names instead of ``Identity:0``."""
    for output, name in zip(model.graph.output, names, strict=True):
        for node in model.graph.node:
            node.output[:] = [name if value == output.name else value for value in node.output]
            node.input[:] = [name if value == output.name else value for value in node.input]
        output.name = name


def _name_batch_axis(model) -> None:
    for value in (*model.graph.input, *model.graph.output):
        axis = value.type.tensor_type.shape.dim[0]
        if not axis.HasField("dim_value"):
            axis.dim_param = "batch"
