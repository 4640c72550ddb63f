"""Float conversions: one trained Keras model, three formats, the same weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from studylib.recipes.base import Recipe
from studylib.zoo import Samples


@dataclass(frozen=True)
class ToSavedModel(Recipe):
    """Keras model to a TensorFlow SavedModel with a dynamic batch. Source: ``keras.Model.export``."""

    name: ClassVar[str] = "fp32"
    target: ClassVar[str] = "saved_model"
    source_format: ClassVar[str] = "keras"
    packages: ClassVar[tuple[str, ...]] = ("tensorflow", "keras")

    def write(self, source: Path, folder: Path, calibration: Samples | None) -> Path:
        import keras

        # safe_mode is Keras' own guard against code inside a model file.
        keras.models.load_model(source, compile=False, safe_mode=True).export(folder / "model", verbose=False)
        return folder / "model"


@dataclass(frozen=True)
class ToLiteRT(Recipe):
    """SavedModel to LiteRT (``.tflite``). Source: ``tf.lite.TFLiteConverter``, built-in operators only."""

    name: ClassVar[str] = "fp32"
    target: ClassVar[str] = "tflite"
    source_format: ClassVar[str] = "saved_model"
    packages: ClassVar[tuple[str, ...]] = ("tensorflow",)

    def write(self, source: Path, folder: Path, calibration: Samples | None) -> Path:
        import tensorflow as tf

        path = folder / "model.tflite"
        path.write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(source)).convert())
        return path
