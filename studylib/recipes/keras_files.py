"""Opens Keras files of any version: ``.keras`` and HDF5 files of Keras 3 by Keras 3, older ones by tf_keras."""

from pathlib import Path

from studylib.artifact import package_version
from studylib.errors import RefusedError
from studylib.recipes.keras_safety import h5_attributes, why_unsafe

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
        detail = " ".join(str(error).split())[:300]
        raise RefusedError(f"{path.name}, written by Keras {written_by(path)}, cannot be read by {reader_of(path)}: {detail}") from None


def library_of(path: Path) -> str:
    """``keras`` or ``tf_keras``, the last Keras 2: which of the two reads the file."""
    return "keras" if path.suffix == ".keras" or written_by(path).startswith("3") else "tf_keras"


def reader_of(path: Path) -> str:
    """The library that reads the file, with its version."""
    return f"{library_of(path)} {package_version(library_of(path).replace('_', '-'))}"


def written_by(path: Path) -> str:
    """The version of Keras that wrote the file, as far as it says."""
    return "3" if path.suffix == ".keras" else h5_attributes(path).get("keras_version", "1 or older")
