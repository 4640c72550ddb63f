"""Reading the model that a training starts from."""

from pathlib import Path

from studylib.errors import RefusedError


def read_model(path: Path):
    """The Keras model in a file. Raises `RefusedError` when it cannot be read."""
    import keras

    try:
        return keras.models.load_model(path, compile=False)
    except (ValueError, TypeError, KeyError, AttributeError, OSError, NotImplementedError) as error:
        raise RefusedError(f"{path.name} cannot be read by Keras {keras.__version__}: {' '.join(str(error).split())[:300]}") from None
