"""Keras model to SavedModel: the format that every other conversion of a Keras model starts from."""

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from studylib.recipes.base import Recipe
from studylib.recipes.keras_files import library_of, load_keras, reader_of, written_by
from studylib.zoo import Samples


@dataclass(frozen=True)
class ToSavedModel(Recipe):
    """Keras 3 model to a TensorFlow SavedModel with a dynamic batch. Source: ``keras.Model.export``.

    ``trust``: let the file run the Python code it holds. Raises `RefusedError` when it holds some and is not trusted.
    """

    name: ClassVar[str] = "fp32"
    target: ClassVar[str] = "saved_model"
    source_format: ClassVar[str] = "keras"
    packages: ClassVar[tuple[str, ...]] = ("tensorflow", "keras")
    helpers: ClassVar[tuple[str, ...]] = ("keras_files.py", "keras_safety.py")

    trust: bool = False

    def write(self, source: Path, folder: Path, calibration: Samples | None) -> Path:
        load_keras(source, self.trust).export(folder / "model", verbose=False)
        return folder / "model"


@dataclass(frozen=True)
class LegacyKerasToSavedModel(Recipe):
    """A ``.h5`` or ``.hdf5`` file to a SavedModel with a dynamic batch: inputs named by their layers, outputs ``output_0``, ….

    Files of Keras 3 are read by Keras 3, older ones by tf_keras, which is the last Keras 2. ``trust``: let the file run the
    Python code it holds. Raises `RefusedError`. Source: ``load_model`` and ``Model.export`` of the two packages.
    """

    name: ClassVar[str] = "fp32"
    target: ClassVar[str] = "saved_model"
    source_format: ClassVar[str] = "keras_h5"
    packages: ClassVar[tuple[str, ...]] = ("tensorflow", "keras", "tf-keras", "h5py")
    helpers: ClassVar[tuple[str, ...]] = ("keras_files.py", "keras_safety.py")

    trust: bool = False

    def write(self, source: Path, folder: Path, calibration: Samples | None) -> tuple[Path, dict]:
        model = load_keras(source, self.trust)
        if library_of(source) == "keras":
            model.export(folder / "model", verbose=False)
        else:
            with contextlib.redirect_stdout(io.StringIO()):  # tf_keras prints every variable
                model.export(folder / "model")
        return folder / "model", {"written by": f"Keras {written_by(source)}", "read by": reader_of(source)}
