"""Opens Keras files of any version: ``.keras`` and HDF5 files of Keras 3 by Keras 3, older ones by tf_keras."""

import json
import re
import zipfile
from pathlib import Path

from studylib.artifacts.store import package_version
from studylib.errors import RefusedError
from studylib.formats.keras_safety import h5_attributes, why_unsafe

# How both Kerases say that a class is unknown to them.
_UNKNOWN = (r"Could not locate class '([^']+)'", r"Unknown layer: '?([\w>.]+)", r"Could not deserialize class '([^']+)' because its parent")
_NO_OPERATIONS = "A .h5 file of Keras 3 does not hold such operations so that Keras could read them back: save the model as .keras"
# What the loaders raise for files they cannot make sense of; marshal adds EOFError for code of another Python.
_LOADER_ERRORS = (ValueError, TypeError, KeyError, AttributeError, OSError, EOFError, NotImplementedError)


def load_keras(path: Path, trust: bool = False):
    """The model, compiled for nothing. ``trust``: let the file run the Python code it holds.

    Raises `RefusedError` when the file would run code, or when its reader cannot make sense of it.
    """
    reason = None if trust else why_unsafe(path)
    if reason:
        raise RefusedError(reason)
    library = library_of(path)
    try:
        if library == "keras":
            import keras

            return keras.models.load_model(path, compile=False, safe_mode=not trust)
        import tf_keras

        return tf_keras.models.load_model(path, compile=False, safe_mode=not trust)
    except _LOADER_ERRORS as error:
        raise RefusedError(_told(path, str(error))) from None


def _told(path: Path, said: str) -> str:
    """Why the file cannot be read, in words; where it wants a class that is nowhere here, what would bring it."""
    who = f"{path.name}, written by Keras {written_by(path)}, cannot be read by {reader_of(path)}"
    unknown = next(filter(None, (re.search(pattern, said) for pattern in _UNKNOWN)), None)
    if unknown and _is_operation(unknown[1]):
        return f"{who}: it computes with what is no layer: '{unknown[1]}'. {_NO_OPERATIONS}"
    if unknown:
        return (
            f"{who}: Unknown layer: '{unknown[1]}'. The file names that class and does not hold its code, nor would TRUST=1 bring it. "
            "Give a SavedModel instead, exported by model.export(folder) where the code is known"
        )
    if "Only input tensors may be passed as positional arguments" in said and path.suffix != ".keras":
        return f"{who}: an operation in it takes a number beside a tensor. {_NO_OPERATIONS}"
    # What follows repeats the whole configuration.
    return f"{who}: {' '.join(said.partition('Full object config')[0].partition('config={')[0].split())[:300]}"


def _is_operation(name: str) -> bool:
    """Whether it is an operation of Keras 3 (`keras.ops`, ``+``, the comparison in a mask) and no layer."""
    import keras

    return any(hasattr(getattr(keras.src.ops, module), name) for module in ("numpy", "nn", "math", "core", "linalg", "image"))


def library_of(path: Path) -> str:
    """``keras`` or ``tf_keras``, the last Keras 2: which of the two reads the file."""
    major = written_by(path).partition(".")[0]
    return "keras" if major.isdigit() and int(major) >= 3 else "tf_keras"


def reader_of(path: Path) -> str:
    """The library that reads the file, with its version."""
    return f"{library_of(path)} {package_version(library_of(path).replace('_', '-'))}"


def written_by(path: Path) -> str:
    """The version of Keras that wrote the file, as far as it says. Keras 2 wrote ``.keras`` files too."""
    if path.suffix != ".keras":
        return h5_attributes(path).get("keras_version", "1 or older")
    with zipfile.ZipFile(path) as archive:
        told = json.loads(archive.read("metadata.json")) if "metadata.json" in archive.namelist() else {}
    return str(told.get("keras_version") or "3")
