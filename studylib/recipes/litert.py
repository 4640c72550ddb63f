"""Post-training quantization to LiteRT. Source: the TensorFlow converter's optimizations, starting from the SavedModel."""

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from studylib.recipes.base import Recipe
from studylib.recipes.to_litert import convert
from studylib.zoo import Samples


@dataclass(frozen=True)
class _LiteRTRecipe(Recipe):
    target: ClassVar[str] = "tflite"
    source_format: ClassVar[str] = "saved_model"
    packages: ClassVar[tuple[str, ...]] = ("tensorflow", "ai-edge-litert")
    helpers: ClassVar[tuple[str, ...]] = ("to_litert.py",)

    def write(self, source: Path, folder: Path, calibration: Samples | None) -> tuple[Path, dict]:
        import tensorflow as tf

        def configured(converter) -> None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            self.configure(converter, calibration)

        content, notes = convert(source, folder, configured)
        path = folder / "model.tflite"
        path.write_bytes(content)
        return path, notes

    @abstractmethod
    def configure(self, converter, calibration: Samples | None) -> None:
        """Set what makes this recipe on a converter that already optimizes."""


@dataclass(frozen=True)
class Float16(_LiteRTRecipe):
    """Weights stored as float16, computed in float32 where the processor has no float16."""

    name: ClassVar[str] = "fp16"

    def configure(self, converter, calibration: Samples | None) -> None:
        import tensorflow as tf

        converter.target_spec.supported_types = [tf.float16]


@dataclass(frozen=True)
class DynamicRange(_LiteRTRecipe):
    """Weights int8; activations stay float and are scaled while running."""

    name: ClassVar[str] = "dynamic_wi8_afp32"

    def configure(self, converter, calibration: Samples | None) -> None:
        """The converter's default optimization without calibration is dynamic range."""


@dataclass(frozen=True)
class StaticInt8(_LiteRTRecipe):
    """Weights and activations int8, scales from calibration samples; int8 inputs and outputs by default."""

    name: ClassVar[str] = "static_wi8_ai8"
    learns_from: ClassVar[str] = "calibration"

    int8_io: bool = True

    def configure(self, converter, calibration: Samples | None) -> None:
        import tensorflow as tf

        converter.representative_dataset = lambda: (calibration.batch(index, 1) for index in range(len(calibration)))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        if self.int8_io:
            converter.inference_input_type = converter.inference_output_type = tf.int8
