"""The last step of quantization-aware training: a SavedModel with fake-quantization becomes an int8 file."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from studylib.artifacts.store import Artifact
from studylib.errors import RefusedError, said
from studylib.models.zoo import Samples
from studylib.recipes.base import Recipe
from studylib.recipes.convert import to_onnx
from studylib.recipes.convert.to_litert import convert
from studylib.recipes.quantize.fake_quant_weights import drop_clips, quantize_weights

_MARK = b"FakeQuantWithMinMax"


@dataclass(frozen=True)
class _FromFakeQuant(Recipe):
    name: ClassVar[str] = "wi8_ai8"
    source_format: ClassVar[str] = "saved_model"

    def why_not(self, artifact: Artifact) -> str | None:
        if artifact.format == self.source_format and artifact.precision.split("_")[-1] == "qat":
            return None
        if artifact.format == self.source_format and artifact.is_float:
            return f"{artifact.name} was not trained for int8; {self.name} finishes what qat began. Use static_wi8_ai8 instead"
        return super().why_not(artifact)


@dataclass(frozen=True)
class FakeQuantToLiteRT(_FromFakeQuant):
    """Weights and activations int8 with the scales that training learned; int8 inputs and outputs by default.

    Source: the TensorFlow converter's default optimization, which reads fake-quantization. Raises `RefusedError` for a
    model without.
    """

    target: ClassVar[str] = "tflite"
    packages: ClassVar[tuple[str, ...]] = ("tensorflow", "ai-edge-litert")

    int8_io: bool = True

    def write(self, source: Path, folder: Path, samples: Samples | None) -> tuple[Path, dict]:
        import tensorflow as tf

        _require_fake_quantization(source)

        def configure(converter) -> None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            if self.int8_io:
                converter.inference_input_type = converter.inference_output_type = tf.int8

        content, notes = convert(source, folder, configure)
        path = folder / "model.tflite"
        path.write_bytes(content)
        return path, notes


@dataclass(frozen=True)
class FakeQuantToOnnx(_FromFakeQuant):
    """Weights int8 per channel, activations uint8, as QuantizeLinear/DequantizeLinear pairs with the scales that training learned.

    Inputs and outputs stay float32. Source: tf2onnx, and `quantize_weights` for what it leaves in float. Raises
    `RefusedError` for a model without fake-quantization, or with an operator that ONNX does not have.
    """

    target: ClassVar[str] = "onnx"
    packages: ClassVar[tuple[str, ...]] = ("tensorflow", "tf2onnx", "onnx", "onnxruntime")

    opset: int = to_onnx.OPSET

    def write(self, source: Path, folder: Path, samples: Samples | None) -> tuple[Path, dict]:
        import onnx

        _require_fake_quantization(source)
        path = folder / to_onnx.convert(source, folder, self.opset)["file"]
        if path.is_dir():
            raise RefusedError("the model's weights exceed what one ONNX file can hold; use its LiteRT version")
        model = onnx.load(path)
        notes = {"clips_dropped": drop_clips(model)} | quantize_weights(model)
        onnx.save(model, path)
        return path, notes | {"operators_run": _operators_run(path, folder)}


def _require_fake_quantization(source: Path) -> None:
    if _MARK not in (source / "saved_model.pb").read_bytes():
        raise RefusedError(f"{source.name} has no fake-quantization: it was not trained for int8; use static_wi8_ai8 instead")


def _operators_run(path: Path, scratch: Path) -> dict[str, int]:
    """How often each operator is in the graph that ONNX Runtime runs here, so that everybody sees which ones are int8.

    Raises `RefusedError` when it does not open the file.
    """
    import onnx
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    optimized = scratch.parent / "optimized.onnx"
    settings.optimized_model_filepath = str(optimized)
    try:
        onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
        counts: dict[str, int] = {}
        for node in onnx.load(optimized).graph.node:
            counts[node.op_type] = counts.get(node.op_type, 0) + 1
    except Exception as error:
        raise RefusedError(f"ONNX Runtime {onnxruntime.__version__} refuses the int8 model: {said(error)}") from error
    finally:
        optimized.unlink(missing_ok=True)
    return counts
