"""The names of a model file's inputs, read without its framework: enough to tell an input from an array of labels."""

import json
import zipfile
from pathlib import Path

from studylib.errors import StudyError


def input_names(path: Path, format: str) -> list[str] | None:
    """Names of the inputs; None where the file does not tell them plainly, damaged files included (opening it says what is wrong)."""
    reader = _READERS.get(format)
    if reader is None:
        return None
    try:
        return reader(path)
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, zipfile.BadZipFile, StudyError):
        return None


def _onnx(path: Path) -> list[str]:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        graph = onnx.load(path, load_external_data=False).graph
    except DecodeError as error:
        raise ValueError(str(error)) from None
    constants = {tensor.name for tensor in graph.initializer}
    return [value.name for value in graph.input if value.name not in constants]


def _keras(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return _input_layers(json.loads(archive.read("config.json")))


def _keras_h5(path: Path) -> list[str]:
    import h5py

    with h5py.File(path, "r") as file:
        return _input_layers(json.loads(file.attrs["model_config"]))


def _input_layers(config: dict) -> list[str]:
    layers = config["config"]["layers"]
    return [layer["config"]["name"] for layer in layers if layer["class_name"] == "InputLayer"]


def _tflite(path: Path) -> list[str]:
    from studylib.formats.inside.litert import File, ends

    return [name for name, _ in ends(File(path), "inputs")]


def _saved_model(path: Path) -> list[str]:
    """The inputs of all signatures: SavedModel.meta_graphs (2), MetaGraphDef.signature_def (5), SignatureDef.inputs (1), their keys (1)."""
    content = (path / "saved_model.pb").read_bytes()
    signatures = [entry for meta in _fields(content, 2) for entry in _fields(meta, 5)]
    values = [value for entry in signatures for value in _fields(entry, 2)]
    return [key.decode() for value in values for entry in _fields(value, 1) for key in _fields(entry, 1)]


def _fields(content: bytes, wanted: int) -> list[bytes]:
    """The parts of a protocol buffer message under the number ``wanted`` that are strings or messages."""
    position, found = 0, []
    while position < len(content):
        tag, position = _varint(content, position)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            _, position = _varint(content, position)
        elif wire in (1, 5):
            position += 8 if wire == 1 else 4
        elif wire == 2:
            length, position = _varint(content, position)
            found += [content[position : position + length]] if number == wanted else []
            position += length
        else:
            raise ValueError(f"wire type {wire}")
    return found


def _varint(content: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[position]
        value, shift, position = value | (byte & 127) << shift, shift + 7, position + 1
        if not byte & 128:
            return value, position


_READERS = {"onnx": _onnx, "keras": _keras, "keras_h5": _keras_h5, "tflite": _tflite, "saved_model": _saved_model}
