"""Keras files in HDF5, of any Keras version, to a SavedModel."""

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from studylib.artifact import package_version
from studylib.errors import RefusedError
from studylib.recipes.base import Recipe
from studylib.recipes.keras_safety import h5_attributes, why_unsafe
from studylib.zoo import Samples


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

    trust: bool = False

    def write(self, source: Path, folder: Path, calibration: Samples | None) -> tuple[Path, dict]:
        reason = None if self.trust else why_unsafe(source)
        if reason:
            raise RefusedError(reason)
        written_by = h5_attributes(source).get("keras_version", "1 or older")
        library = "keras" if written_by.startswith("3") else "tf_keras"
        reader = f"{library} {package_version(library.replace('_', '-'))}"
        try:
            self._export(library, source, folder / "model")
        except _LOADER_ERRORS as error:
            detail = " ".join(str(error).split())[:300]
            raise RefusedError(f"{source.name}, written by Keras {written_by}, cannot be read by {reader}: {detail}") from None
        return folder / "model", {"written_by": f"Keras {written_by}", "read_by": reader}

    def _export(self, library: str, source: Path, folder: Path) -> None:
        if library == "keras":
            import keras

            keras.models.load_model(source, compile=False, safe_mode=not self.trust).export(folder, verbose=False)
            return
        import tf_keras

        model = tf_keras.models.load_model(source, compile=False, safe_mode=not self.trust)
        with contextlib.redirect_stdout(io.StringIO()):  # it prints every variable
            model.export(folder)


# What the loaders raise for files they cannot make sense of; marshal adds EOFError for code of another Python.
_LOADER_ERRORS = (ValueError, TypeError, KeyError, AttributeError, OSError, EOFError, NotImplementedError)
