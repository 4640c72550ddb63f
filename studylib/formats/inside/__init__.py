"""What is inside a model file: operators, weights, multiply-accumulates, inputs and outputs, what may not run."""

import importlib
from pathlib import Path

from studylib.errors import ArtifactError, StudyError, lookup, said

_READERS = {
    "keras": "keras",
    "keras_h5": "keras",
    "onnx": "onnx",
    "openvino": "openvino",
    "saved_model": "saved_model",
    "tflite": "litert",
    "torch": "torch",
}
FORMATS = tuple(_READERS)
# What reads them, imported where a file of theirs is looked into.
MODULES = tuple(f"{__name__}.{reader}" for reader in dict.fromkeys(_READERS.values()))
_INNER = {"openvino": "model.xml", "onnx": "model.onnx"}
_WANTED = {
    "keras": "a `.keras` or `.h5` file that Keras saved",
    "keras_h5": "a `.keras` or `.h5` file that Keras saved",
    "onnx": "an ONNX model file",
    "openvino": "an OpenVINO IR `.xml` with its `.bin` beside it",
    "saved_model": "a folder with `saved_model.pb` and a serving signature",
    "tflite": "a LiteRT flatbuffer (`TFL3`)",
    "torch": "a `.pt2` file that torch.export.save wrote",
}
_NOTHING = {
    "macs_why": None,
    "opset": {},
    "custom_operators": [],
    "select_tf_operators": [],
    "consequences": [],
    "float_islands": None,
}


def look(path: Path, format: str, shapes: dict[str, tuple] | None = None, trust: bool = False) -> dict:
    """What the model file at ``path`` holds, as plain JSON.

    ``operators`` {type: count}; ``parameters``, the number of weight values (constants of at least one axis that are computed with:
    no shapes, axes, scales or zero points); ``weight_bytes`` by dtype; ``macs`` at the file's shapes, a dynamic first axis being a batch
    of 1, other dynamic axes as ``shapes`` (input name to shape) says, or None with ``macs_why`` (FLOPs are twice the MACs);
    ``opset``; ``inputs`` and ``outputs`` (name, shape with None for dynamic axes, dtype); ``custom_operators`` and
    ``select_tf_operators`` with ``consequences`` in words; ``float_islands`` of quantized graphs (see `islands.find`), else None.
    ``trust``: code inside a Keras file may run. Raises `ArtifactError` when the file cannot be read as ``format`` and
    `UnknownNameError` for a format that is not known.
    """
    path, reader = Path(path), lookup(_READERS, "format", format)
    # Formats of several files lie in a folder of their own, under a fixed name.
    path = path / _INNER[format] if format in _INNER and path.is_dir() else path
    if not path.exists():
        raise ArtifactError(f"{path.name} does not exist; a {format} model is {_WANTED[format]}")
    try:
        found = importlib.import_module(f"{__name__}.{reader}").look(path, shapes, **({"trust": trust} if reader == "keras" else {}))
    except (StudyError, ImportError, MemoryError):
        raise
    except Exception as error:
        # Each library reports a broken file by exceptions of its own, down to IndexError from a truncated flatbuffer.
        raise ArtifactError(f"{path.name} cannot be read as {format}: {said(error)}. Give {_WANTED[format]}.") from error
    _check_names(shapes, found["inputs"])
    return _NOTHING | found


def _check_names(shapes: dict[str, tuple] | None, inputs: list[dict]) -> None:
    known = [tensor["name"] for tensor in inputs]
    for name in shapes or {}:
        if name not in known:
            raise ArtifactError(f"shapes names the input '{name}'; the file's inputs are {', '.join(known)}")
