"""Keras files, ``.keras`` and ``.h5``. What can be read is read without Keras; only MACs need the model, loaded in safe mode."""

import io
import json
import math
import zipfile
from collections import Counter
from pathlib import Path

from studylib.errors import ArtifactError, RefusedError
from studylib.formats.inside import counting
from studylib.formats.inside.tensorflow_macs import graph_counts
from studylib.formats.keras_files import load_keras
from studylib.formats.keras_signature import Signature, Tensor, library_of, signature_of

_MODELS = ("Functional", "Sequential", "Model")
_OWN = ("keras", "tf_keras", "tensorflow.keras", "tensorflow.python.keras")


def look(path: Path, shapes: dict | None, trust: bool = False) -> dict:
    config, version, weights = _zipped(path) if zipfile.is_zipfile(path) else _hdf5(path)
    layers = list(_layers(config))
    custom = dict.fromkeys(layer["class_name"] for layer in layers if _is_custom(layer))
    found = {
        "operators": dict(Counter(layer["class_name"] for layer in layers).most_common()),
        "parameters": sum(math.prod(shape) for shape, _ in weights),
        "weight_bytes": _bytes(weights),
        "opset": {"keras": version},
        "custom_operators": list(custom),
        "consequences": [_consequence(name) for name in custom],
    }
    return found | _loaded(path, shapes, trust, "Lambda" in custom and not trust)


def _zipped(path: Path) -> tuple[dict, str, list]:
    """(config, Keras version, weights) of a ``.keras`` file."""
    with zipfile.ZipFile(path) as archive:
        missing = {"config.json", "metadata.json", "model.weights.h5"} - set(archive.namelist())
        if missing:
            raise ArtifactError(
                f"{path.name} cannot be read as keras: the archive has no {', '.join(sorted(missing))}. Save the model again."
            )
        config = json.loads(archive.read("config.json"))
        version = json.loads(archive.read("metadata.json")).get("keras_version", "")
        return config, version, _datasets(io.BytesIO(archive.read("model.weights.h5")))


def _hdf5(path: Path) -> tuple[dict, str, list]:
    """(config, Keras version, weights) of a ``.h5`` file."""
    import h5py

    if not h5py.is_hdf5(path):
        raise ArtifactError(f"{path.name} cannot be read as keras: it is neither a zip archive nor HDF5. Give a `.keras` or `.h5` model.")
    with h5py.File(path, "r") as file:
        if "model_config" not in file.attrs:
            raise ArtifactError(
                f"{path.name} holds weights without a model (no `model_config`); save the whole model, not its weights alone."
            )
        version = file.attrs.get("keras_version", "")
        config = json.loads(file.attrs["model_config"])
        version = version.decode() if isinstance(version, bytes) else str(version)
    return config, version, _datasets(path)


def _datasets(source) -> list[tuple[tuple, str]]:
    """(shape, dtype) of every weight in an HDF5 file; the optimizer's and the seeds' states are none."""
    import h5py

    found = []

    def visit(name: str, item) -> None:
        if isinstance(item, h5py.Dataset) and not name.startswith("optimizer") and "seed_generator" not in name:
            found.append((item.shape, item.dtype.name))

    with h5py.File(source, "r") as file:
        file.visititems(visit)
    return found


def _bytes(weights) -> dict[str, int]:
    import numpy as np

    total: Counter = Counter()
    for shape, dtype in weights:
        total[dtype] += math.prod(shape) * np.dtype(dtype).itemsize
    return dict(total)


def _layers(config: dict):
    """Every layer's config, those of models inside models in place of the model; inputs are no layers."""
    inner = config.get("config", {})
    layers = inner.get("layers", []) if isinstance(inner, dict) else inner
    if not layers and config.get("class_name") not in _MODELS:
        if config.get("class_name") != "InputLayer":
            yield config
        return
    for layer in layers:
        yield from _layers(layer)


def _is_custom(layer: dict) -> bool:
    module = layer.get("module") or "keras"
    return layer["class_name"] == "Lambda" or not module.startswith(_OWN)


def _consequence(name: str) -> str:
    if name == "Lambda":
        return "Lambda holds Python code that loading would run: the file is opened only with TRUST=1; rewrite the layer with keras.ops."
    return f"{name} is a layer that Keras does not know: register its class before loading, or export the model where it is."


def _loaded(path: Path, shapes: dict | None, trust: bool, code: bool) -> dict:
    """Inputs, outputs and MACs, which need the model itself; in words why not where it cannot be loaded."""
    if code:
        return _unknown("the file holds a Lambda layer, whose code is not run")
    try:
        model = load_keras(path, trust)
        signature = signature_of(model)
    except RefusedError as error:  # the rest of the file was read all the same
        return _unknown(str(error))
    macs, why = _macs(model, signature, shapes)
    return {"macs": macs, "macs_why": why} | {side: list(map(_described, getattr(signature, side))) for side in ("inputs", "outputs")}


def _unknown(why: str) -> dict:
    return {"macs": None, "macs_why": why, "inputs": [], "outputs": []}


def _macs(model, signature: Signature, shapes: dict | None) -> tuple[int | None, str | None]:
    """Counted on the graph that TensorFlow traces from the model; tracing computes nothing."""
    import tensorflow as tf

    wanted = [tf.TensorSpec(counting.concrete(one.name, one.shape, shapes), one.dtype) for one in signature.inputs]
    flat = library_of(model).Model(model.inputs, model.outputs)  # takes a list, however the model's own inputs are structured
    traced = tf.function(lambda *values: flat(list(values), training=False))
    return counting.add_up(graph_counts(traced.get_concrete_function(*wanted).graph))


def _described(tensor: Tensor) -> dict:
    return {"name": tensor.name, "shape": list(tensor.shape), "dtype": tensor.dtype}
