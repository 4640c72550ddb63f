"""Keras model to SavedModel: the format that every other conversion of a Keras model starts from."""

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

    trust: bool = False

    def write(self, source: Path, folder: Path, calibration: Samples | None) -> Path:
        import keras

        # safe_mode is Keras' own guard against code inside a model file.
        keras.models.load_model(source, compile=False, safe_mode=not self.trust).export(folder / "model", verbose=False)
        return folder / "model"
