"""Post-training quantization of ONNX files. Source: ``onnxruntime.quantization`` and its float16 converter."""

import tempfile
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from studylib.recipes import calibration_check, quantized
from studylib.recipes.base import Recipe
from studylib.recipes.conv_integer import scale_per_channel
from studylib.recipes.onnx_calibration import quantize_qdq, quantize_qoperator, ranges
from studylib.recipes.onnx_preparation import preparation_note, prepared
from studylib.zoo import Samples


@dataclass(frozen=True)
class OnnxRecipe(Recipe):
    """A float ONNX file to another one. ``operators``: at least one of these must be in it, if any are named."""

    target: ClassVar[str] = "onnx"
    source_format: ClassVar[str] = "onnx"
    packages: ClassVar[tuple[str, ...]] = ("onnx", "onnxruntime")
    helpers: ClassVar[tuple[str, ...]] = ("onnx_preparation.py",)
    operators: ClassVar[tuple[str, ...]] = ()

    def write(self, source: Path, folder: Path, samples: Samples | None) -> tuple[Path, dict]:
        quantized.require_float_onnx(source, self.operators)
        notes = calibration_check.check(samples, calibration_check.onnx_inputs(source)) if self.learns_from else {}
        target = folder / "model.onnx"
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix="quantizing-") as scratch:
            found = self.quantize(source, target, Path(scratch), samples)
        told = preparation_note(target)
        return target, notes | found | ({"preparation": told} if told else {})

    @abstractmethod
    def quantize(self, source: Path, target: Path, scratch: Path, samples: Samples | None) -> dict:
        """Write ``target`` and return notes. ``scratch``: a folder that is removed afterwards."""


@dataclass(frozen=True)
class Float16(OnnxRecipe):
    """Weights and arithmetic in float16; inputs and outputs stay float32."""

    name: ClassVar[str] = "fp16"

    def quantize(self, source: Path, target: Path, scratch: Path, samples: Samples | None) -> dict:
        import onnx
        from onnxruntime.transformers.float16 import convert_float_to_float16

        onnx.save(convert_float_to_float16(onnx.load(source), keep_io_types=True), target)
        return {}


@dataclass(frozen=True)
class DynamicRange(OnnxRecipe):
    """Weights int8; activations are measured and quantized while running (ConvInteger, MatMulInteger).

    ``per_channel``: one scale for each output channel, of convolutions too, for which ``quantize_dynamic`` itself has only
    one scale a tensor.
    """

    name: ClassVar[str] = "dynamic_wi8_afp32"
    helpers: ClassVar[tuple[str, ...]] = (*OnnxRecipe.helpers, "conv_integer.py")
    operators: ClassVar[tuple[str, ...]] = ("MatMul", "Gemm", "Conv", "LSTM", "Attention")

    per_channel: bool = True

    def quantize(self, source: Path, target: Path, scratch: Path, samples: Samples | None) -> dict:
        from onnxruntime.quantization import quantize_dynamic

        model = prepared(source, scratch)
        quantize_dynamic(model, target, per_channel=self.per_channel)
        changed = scale_per_channel(model, target) if self.per_channel else 0
        return {"per channel": f"{changed} ConvInteger, which the quantizer scales per tensor"} if changed else {}


@dataclass(frozen=True)
class Static(OnnxRecipe):
    """Weights int8, activations integers too, with scales from calibration samples. The name says what differs from the default.

    The default, ``static_wi8_ai8``: one scale a channel of weights; activations unsigned, because ONNX Runtime's x86 kernels
    are made for unsigned times signed; QuantizeLinear/DequantizeLinear pairs, which every runtime fuses as it can.
    ``qoperator``: integer operators in the file instead. ``reduce_range``: weights in 7 bits, against saturation on x86
    without VNNI. ``symmetric``: activations signed around zero, as ARM and most accelerators want them. ``method``: of
    `ranges`. ``activation_bits``: 8 or 16.
    """

    learns_from: ClassVar[str] = "calibration"
    helpers: ClassVar[tuple[str, ...]] = (*OnnxRecipe.helpers, "onnx_calibration.py", "calibration_check.py")
    operators: ClassVar[tuple[str, ...]] = quantized.ONNX_OPERATORS

    per_channel: bool = True
    qoperator: bool = False
    reduce_range: bool = False
    symmetric: bool = False
    method: str = "minmax"
    activation_bits: int = 8

    @property
    def name(self) -> str:
        said = {
            "qoperator": self.qoperator,
            "per_tensor": not self.per_channel,
            "reduce_range": self.reduce_range,
            "symmetric": self.symmetric,
            self.method: self.method != "minmax",
        }
        return "_".join([f"static_wi8_ai{self.activation_bits}", *(word for word, holds in said.items() if holds)])

    def quantize(self, source: Path, target: Path, scratch: Path, samples: Samples | None) -> dict:
        model = prepared(source, scratch)
        found = ranges(model, samples, self.method, self.symmetric)
        settings = {"per_channel": self.per_channel, "reduce_range": self.reduce_range, "symmetric": self.symmetric}
        settings["unsigned_activations"] = not self.symmetric
        if self.qoperator:
            quantize_qoperator(model, target, found, **settings)
        else:
            quantize_qdq(model, target, found, **settings, activation_bits=self.activation_bits)
        return {}
