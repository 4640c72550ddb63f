"""Post-training quantization of ONNX files. Source: ``onnxruntime.quantization`` and its float16 converter."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from studylib.recipes.base import Recipe
from studylib.zoo import Samples


@dataclass(frozen=True)
class _OnnxRecipe(Recipe):
    target: ClassVar[str] = "onnx"
    source_format: ClassVar[str] = "onnx"
    packages: ClassVar[tuple[str, ...]] = ("onnx", "onnxruntime")


@dataclass(frozen=True)
class Float16(_OnnxRecipe):
    """Weights and arithmetic in float16; inputs and outputs stay float32."""

    name: ClassVar[str] = "fp16"

    def write(self, source: Path, folder: Path, calibration: Samples | None) -> Path:
        import onnx
        from onnxruntime.transformers.float16 import convert_float_to_float16

        path = folder / "model.onnx"
        onnx.save(convert_float_to_float16(onnx.load(source), keep_io_types=True), path)
        return path


@dataclass(frozen=True)
class DynamicRange(_OnnxRecipe):
    """Weights int8; activations are measured and quantized while running (ConvInteger, MatMulInteger)."""

    name: ClassVar[str] = "dynamic_wi8_afp32"

    per_channel: bool = True

    def write(self, source: Path, folder: Path, calibration: Samples | None) -> Path:
        from onnxruntime.quantization import quantize_dynamic

        path = folder / "model.onnx"
        quantize_dynamic(_prepared(source, folder), path, per_channel=self.per_channel)
        return path


@dataclass(frozen=True)
class StaticInt8(_OnnxRecipe):
    """Weights int8 per channel, activations uint8, scales from calibration samples, as QuantizeLinear/DequantizeLinear pairs.

    Activations are unsigned because ONNX Runtime's x86 kernels are made for unsigned times signed.
    """

    name: ClassVar[str] = "static_wi8_ai8"
    learns_from: ClassVar[str] = "calibration"

    per_channel: bool = True
    unsigned_activations: bool = True

    def write(self, source: Path, folder: Path, calibration: Samples | None) -> Path:
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

        class Reader(CalibrationDataReader):
            def __init__(self):
                self.position = 0

            def get_next(self):
                self.position += 1
                return calibration.batch(self.position - 1, 1) if self.position <= len(calibration) else None

        path = folder / "model.onnx"
        quantize_static(
            _prepared(source, folder),
            path,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=self.per_channel,
            activation_type=QuantType.QUInt8 if self.unsigned_activations else QuantType.QInt8,
            weight_type=QuantType.QInt8,
        )
        return path


def _prepared(source: Path, folder: Path) -> Path:
    """The model with shapes inferred and operators fused, as the quantizer wants it, beside the content folder."""
    from onnxruntime.quantization import quant_pre_process

    path = folder.parent / "prepared.onnx"
    # Symbolic shape inference fails on some tf2onnx graphs; the plain inference is enough here.
    quant_pre_process(source, path, skip_symbolic_shape=True)
    return path
