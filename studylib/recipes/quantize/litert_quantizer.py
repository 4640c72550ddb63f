"""Post-training quantization of ``.tflite`` files themselves. Source: ``ai-edge-quantizer``, LiteRT's own.

It has what the TensorFlow converter lacks, weights alone in 8 and 4 bits, and it needs nothing but the file: where a
``.tflite`` is all that there is, every recipe is made here.
"""

import contextlib
import io
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from studylib.errors import RefusedError
from studylib.formats import litert_signature, quantized
from studylib.formats.litert_names import signature
from studylib.models.zoo import Samples
from studylib.recipes.base import Recipe
from studylib.recipes.convert.to_litert import require_a_run
from studylib.recipes.quantize import calibration_check


@dataclass(frozen=True)
class _FileRecipe(Recipe):
    target: ClassVar[str] = "tflite"
    source_format: ClassVar[str] = "tflite"
    packages: ClassVar[tuple[str, ...]] = ("ai-edge-quantizer", "ai-edge-litert")
    operators: ClassVar[tuple[str, ...]] = quantized.LITERT_OPERATORS

    def write(self, source: Path, folder: Path, samples: Samples | None) -> tuple[Path, dict]:
        quantized.require_float_litert(source.read_bytes(), source.name, self.operators)
        notes = calibration_check.check(samples, calibration_check.litert_inputs(source)) if self.learns_from else {}
        samples = samples and samples.under(calibration_check.litert_inputs(source))
        signed, _ = litert_signature.signed(source.read_bytes(), source.name)
        content = _quantized(signed, source.name, self.settings(), samples)
        require_a_run(content)
        weights = quantized.litert_weights(content)
        quantized.require_change(weights, source.name, "ai-edge-quantizer")
        path = folder / "model.tflite"
        path.write_bytes(content)
        return path, notes | {"weights": quantized.told(weights)}

    @abstractmethod
    def settings(self):
        """The quantizer's recipe manager, filled."""


def _quantized(source: bytes, name: str, settings, samples: Samples | None) -> bytes:
    from ai_edge_quantizer.quantizer import Quantizer

    # It reports to the terminal, in words that are about the file and not about the study.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        quantizer = Quantizer(source, settings.get_quantization_recipe())
        try:
            ranges = _ranges(source, settings, samples) if quantizer.need_calibration else None
            return bytes(quantizer.quantize(ranges).quantized_model)
        except (ValueError, RuntimeError) as error:
            raise RefusedError(f"ai-edge-quantizer refused {name}: {' '.join(str(error).split())[:300]}") from None


def _ranges(source: bytes, settings, samples: Samples) -> dict:
    """The extremes of every tensor, sample by sample.

    The quantizer's own ``calibrate`` lists all samples to count them, and lets each new one move the range by a twentieth only.
    """
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer.calibrator import Calibrator
    from ai_edge_quantizer.utils.qsv_utils import min_max_update

    key = signature(Interpreter(model_content=source))
    calibrator = Calibrator(source, qsv_update_func=min_max_update)
    for index in range(len(samples)):
        calibrator.calibrate({key: [samples.batch(index, 1)]}, settings)
    return calibrator.get_model_qsvs()


@dataclass(frozen=True)
class Float16(_FileRecipe):
    """Weights stored as float16, made float32 before they are used."""

    name: ClassVar[str] = "fp16"
    operators: ClassVar[tuple[str, ...]] = ()

    def settings(self):
        from ai_edge_quantizer.algorithm_manager import AlgorithmName

        return _manager("weight_only", num_bits=16, algorithm_key=AlgorithmName.FLOAT_CASTING)


@dataclass(frozen=True)
class DynamicRange(_FileRecipe):
    """Weights int8 with one scale a channel; activations stay float and are scaled while running."""

    name: ClassVar[str] = "dynamic_wi8_afp32"

    def settings(self):
        return _manager("dynamic", num_bits=8)


@dataclass(frozen=True)
class WeightOnly8(_FileRecipe):
    """Weights int8 with one scale a channel, made float again before they are used (DEQUANTIZE)."""

    name: ClassVar[str] = "weight_only_wi8_afp32"

    def settings(self):
        return _manager("weight_only", num_bits=8)


@dataclass(frozen=True)
class WeightOnly4(_FileRecipe):
    """Weights in 4 bits with one scale a channel; depthwise and transposed convolutions, for which there are none, in 8."""

    name: ClassVar[str] = "weight_only_wi4_afp32"

    def settings(self):
        from ai_edge_quantizer.qtyping import TFLOperationName

        manager = _manager("weight_only", num_bits=4)
        for operation in (TFLOperationName.DEPTHWISE_CONV_2D, TFLOperationName.CONV_2D_TRANSPOSE):
            manager.add_weight_only_config(regex=".*", operation_name=operation, num_bits=8)
        return manager


@dataclass(frozen=True)
class Static(_FileRecipe):
    """Weights int8, activations integers of ``activation_bits`` with scales from calibration samples, inputs and outputs too."""

    learns_from: ClassVar[str] = "calibration"

    activation_bits: int = 8

    @property
    def name(self) -> str:
        return f"static_wi8_ai{self.activation_bits}"

    def settings(self):
        return _manager("static", weight_num_bits=8, activation_num_bits=self.activation_bits)


def _manager(kind: str, **configuration):
    """A recipe manager of the quantizer with one configuration for every operator that has it."""
    from ai_edge_quantizer.qtyping import TFLOperationName
    from ai_edge_quantizer.recipe_manager import RecipeManager

    manager = RecipeManager()
    add = getattr(manager, f"add_{kind}_config")
    add(regex=".*", operation_name=TFLOperationName.ALL_SUPPORTED, **configuration)
    return manager
