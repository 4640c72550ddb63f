"""Reading the model that a training starts from."""

import json
import zipfile
from pathlib import Path

from studylib.errors import RefusedError


def read_model(path: Path):
    """The Keras 3 model in a file, `keras.Sequential` laid open. Raises `RefusedError` when it cannot be read or trained."""
    import keras

    older = _older_version(path)
    if older:
        raise RefusedError(
            f"{path.name} was written by Keras {older}, and what trains here works on models of Keras 3; "
            "build the model there, load these weights into it and save it again"
        )
    try:
        return laid_open(keras, keras.models.load_model(path, compile=False))
    except (ValueError, TypeError, KeyError, AttributeError, OSError, NotImplementedError) as error:
        raise RefusedError(f"{path.name} cannot be read by Keras {keras.__version__}: {' '.join(str(error).split())[:300]}") from None


def laid_open(library, model):
    """A Sequential model of ``library`` (`keras` or `tf_keras`) as a functional one with the same weights; any other as it is.

    Its layers were called again and again while it was built, and its batch may be the one it was first called with: in the
    functional one each layer is called once, on a batch of any size, unless a layer keeps a state for each sample.
    Raises `RefusedError` for one that was never called.
    """
    if not isinstance(model, library.Sequential):
        return model
    if not model.built or not getattr(model, "inputs", None):
        raise RefusedError(
            f"the model '{model.name}' was saved before it was ever called, so nothing says what shape its input has; "
            "begin it with keras.Input(shape), or call it once on a batch, and save it again"
        )
    (tensor,) = model.inputs
    kept = tuple(tensor.shape) if any(getattr(layer, "stateful", False) for layer in model.layers) else (None, *tensor.shape[1:])
    begin = library.Input(batch_shape=kept, dtype=tensor.dtype, name=tensor.name.split(":")[0])
    opened = library.models.clone_model(library.Model(model.inputs, model.outputs, name=model.name), input_tensors=[begin])
    opened.set_weights(model.get_weights())
    return opened


def _older_version(path: Path) -> str:
    """The version of Keras that wrote a ``.keras`` file, where it is older than 3."""
    if path.suffix != ".keras" or not zipfile.is_zipfile(path):
        return ""
    with zipfile.ZipFile(path) as archive:
        told = json.loads(archive.read("metadata.json")) if "metadata.json" in archive.namelist() else {}
    version = str(told.get("keras_version") or "3")
    return "" if version.partition(".")[0] not in ("0", "1", "2") else version
