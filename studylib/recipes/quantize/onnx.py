"""Post-training quantization of ONNX files. Source: ``onnxruntime.quantization`` and its float16 converter."""

import tempfile
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from studylib.errors import RefusedError, said
from studylib.formats import quantized
from studylib.models.zoo import Samples
from studylib.recipes.base import Recipe
from studylib.recipes.convert import onnx_opening
from studylib.recipes.quantize import calibration_check, onnx_bias, onnx_float16, onnx_tidied
from studylib.recipes.quantize.conv_integer import scale_per_channel
from studylib.recipes.quantize.onnx_calibration import Scheme, quantize_qdq, quantize_qoperator, ranges
from studylib.recipes.quantize.onnx_preparation import preparation_note, prepared


@dataclass(frozen=True)
class OnnxRecipe(Recipe):
    """A float ONNX file to another one. ``operators``: at least one of these must be in it, if any are named.
    ``computes_in_integers``: whether products that stay in float are told.
    """

    target: ClassVar[str] = "onnx"
    source_format: ClassVar[str] = "onnx"
    packages: ClassVar[tuple[str, ...]] = ("onnx", "onnxruntime")
    operators: ClassVar[tuple[str, ...]] = ()
    computes_in_integers: ClassVar[bool] = True

    def write(self, source: Path, folder: Path, samples: Samples | None) -> tuple[Path, dict]:
        if source.is_dir():
            raise RefusedError(f"{source.name} keeps its weights beside the graph, above 2 GB; {self.name} is made of one file. Use fp32")
        quantized.require_float_onnx(source, self.operators)
        notes = calibration_check.check(samples, calibration_check.onnx_inputs(source)) if self.learns_from else {}
        target, query = folder / "model.onnx", onnx_opening.query_for(source, samples)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix="quantizing-") as scratch:
            try:
                found = self.made(source, target, Path(scratch), samples, query)
            except RefusedError as error:
                target.unlink(missing_ok=True)
                raise RefusedError(f"{str(error).rstrip('.')}. {self._instead(source, folder, samples, query)}") from error
        told = preparation_note(target)
        return target, notes | found | ({"preparation": told} if told else {})

    def made(self, source: Path, target: Path, scratch: Path, samples: Samples | None, query: onnx_opening.Query | None) -> dict:
        """Write ``target`` and ask it the ``query``; notes. Raises `RefusedError`, whatever a quantizer raises."""
        try:
            found = self.quantize(source, target, scratch, samples)
        except (RefusedError, MemoryError):
            raise
        except Exception as error:  # a quantizer may raise anything where a graph is not what it was written for
            raise RefusedError(said(error, f"quantizing {source.name}")) from error
        onnx_opening.require_runs(target, query)
        left = onnx_opening.left_in_float(source, target)
        return found | ({"left in float": left} if left and self.computes_in_integers else {})

    def _instead(self, source: Path, folder: Path, samples: Samples | None, query: onnx_opening.Query | None) -> str:
        """The next recipe that works for this file, tried, by name."""
        for other in fallbacks(self.name):
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix="instead-") as scratch:
                try:
                    quantized.require_float_onnx(source, other.operators)
                    other.made(source, Path(scratch) / "model.onnx", Path(scratch), samples, query)
                except RefusedError:
                    continue
            return f"{other.name} can quantize this file: take that recipe"
        return "Keep this model in float"

    @abstractmethod
    def quantize(self, source: Path, target: Path, scratch: Path, samples: Samples | None) -> dict:
        """Write ``target`` and return notes. ``scratch``: a folder that is removed afterwards."""


def fallbacks(name: str) -> list[OnnxRecipe]:
    """What may work where ``name`` does not, in the order in which it is tried."""
    from studylib.recipes.quantize.onnx_weights import WeightOnly8

    return [recipe for recipe in (DynamicRange(), WeightOnly8()) if recipe.name != name]


@dataclass(frozen=True)
class Float16(OnnxRecipe):
    """Weights and arithmetic in float16; inputs and outputs stay float32.

    Operators that ONNX Runtime's converter gets wrong stay float32, the fewest that make a file that runs; the notes name them.
    """

    name: ClassVar[str] = "fp16"

    def made(self, source: Path, target: Path, scratch: Path, samples: Samples | None, query: onnx_opening.Query | None) -> dict:
        return onnx_float16.write(source, target, query)

    def quantize(self, source: Path, target: Path, scratch: Path, samples: Samples | None) -> dict:
        return onnx_float16.write(source, target, None)

    def _instead(self, source: Path, folder: Path, samples: Samples | None, query: onnx_opening.Query | None) -> str:
        return "Keep this model in float32"


@dataclass(frozen=True)
class DynamicRange(OnnxRecipe):
    """Weights int8; activations are measured and quantized while running (ConvInteger, MatMulInteger).

    ``per_channel``: one scale for each output channel, of convolutions too, for which ``quantize_dynamic`` itself has only
    one scale a tensor.
    """

    name: ClassVar[str] = "dynamic_wi8_afp32"
    operators: ClassVar[tuple[str, ...]] = ("MatMul", "Gemm", "Conv", "LSTM", "Attention")

    per_channel: bool = True

    def quantize(self, source: Path, target: Path, scratch: Path, samples: Samples | None) -> dict:
        from onnxruntime.quantization import quantize_dynamic

        model = prepared(source, scratch)
        onnx_tidied.split_gemms(model)
        quantize_dynamic(model, target, per_channel=self.per_channel, extra_options={"EnableSubgraph": True})
        changed = scale_per_channel(model, target) if self.per_channel else 0
        return {"per channel": f"{changed} ConvInteger, which the quantizer scales per tensor"} if changed else {}


@dataclass(frozen=True)
class Static(OnnxRecipe):
    """Weights int8, activations integers too, with scales from calibration samples. The name says what differs from the default.

    The default, ``static_wi8_ai8``: one scale a channel of weights; activations unsigned, because ONNX Runtime's x86 kernels
    are made for unsigned times signed; QuantizeLinear/DequantizeLinear pairs, which every runtime fuses as it can; biases that make up
    for what rounding the weights did to the mean of each output (`onnx_bias`).
    ``qoperator``: integer operators in the file instead. ``reduce_range``: weights in 7 bits, against saturation on x86
    without VNNI. ``symmetric``: activations signed around zero, as ARM and most accelerators want them. ``method``: of
    `ranges`. ``activation_bits``: 8 or 16.
    """

    learns_from: ClassVar[str] = "calibration"
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
        query, notes = samples.batch(0, 1), {}
        try:
            self._write(model, target, found, None)
            onnx_opening.require_runs(target, query)
        except Exception as error:  # what a quantizer raises, or a file that does not open: the products alone may do
            self._write(model, target, found, quantized.onnx_products(model))
            notes = {"only products are integers": said(error)}
        changed = onnx_bias.correct(model, target, onnx_bias.input_means(model, samples))
        return notes | ({"biases corrected": changed} if changed else {})

    def _write(self, model: Path, target: Path, found, nodes: list[str] | None) -> None:
        write = quantize_qoperator if self.qoperator else quantize_qdq
        scheme = Scheme(self.per_channel, self.reduce_range, self.symmetric, not self.symmetric, self.activation_bits)
        write(model, target, found, scheme, nodes)
