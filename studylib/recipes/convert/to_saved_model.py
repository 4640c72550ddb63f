"""Keras model to SavedModel: the format that every other conversion of a Keras model starts from."""

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from studylib.formats.keras_files import library_of, load_keras, reader_of, written_by
from studylib.formats.keras_signature import export, signature_of
from studylib.models.zoo import Samples
from studylib.recipes.base import Recipe


@dataclass(frozen=True)
class ToSavedModel(Recipe):
    """A ``.keras`` file to a SavedModel with a dynamic batch, its inputs and outputs named as `keras_signature` says.

    ``trust``: let the file run the Python code it holds. Files of Keras 3 are read by Keras 3, older ones by tf_keras, the last
    Keras 2. Raises `RefusedError`. Source: ``load_model`` and ``export.ExportArchive`` of the two packages.
    """

    name: ClassVar[str] = "fp32"
    target: ClassVar[str] = "saved_model"
    source_format: ClassVar[str] = "keras"
    packages: ClassVar[tuple[str, ...]] = ("tensorflow", "keras", "tf-keras")

    trust: bool = False

    def write(self, source: Path, folder: Path, calibration: Samples | None) -> tuple[Path, dict]:
        model = load_keras(source, self.trust)
        signature = signature_of(model)
        with contextlib.redirect_stdout(io.StringIO()):  # tf_keras prints every variable
            export(model, signature, folder / "model")
        legacy = library_of(source) == "tf_keras" or source.suffix != ".keras"
        read = {"written by": f"Keras {written_by(source)}", "read by": reader_of(source)} if legacy else {}
        return folder / "model", read | signature.notes


@dataclass(frozen=True)
class LegacyKerasToSavedModel(ToSavedModel):
    """The same for a ``.h5`` or ``.hdf5`` file."""

    source_format: ClassVar[str] = "keras_h5"
    packages: ClassVar[tuple[str, ...]] = ("tensorflow", "keras", "tf-keras", "h5py")
