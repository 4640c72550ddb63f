"""Whether a model file is whole, as far as that is seen without opening it as a model: in a second, and with no framework.

Directories, checksums and lengths are read, as each format keeps them. What they cannot tell is said when the file is taken in.
"""

import json
import mmap
import struct
import zipfile
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from studylib.errors import InputError

# Beyond these, only lengths are looked at: checksums and a full decoding would take longer than a second.
_CHECKED_BYTES = 200 * 10**6
_UNPACKED_BYTES = 10**9
_GRAPH_OF_ONNX, _META_GRAPH = 7, 2


def why_damaged(path: Path, format: str) -> str | None:
    """What is missing or broken in the file or folder, in words, or None."""
    file = path / "saved_model.pb" if path.is_dir() else path
    facts = file.stat()
    return _why_damaged(path, format, facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=64)
def _why_damaged(path: Path, format: str, size: int, changed_ns: int) -> str | None:
    """``changed_ns`` is there so that a file that was corrected in place is looked at again."""
    checks = {"keras": _keras, "torch": _archive, "keras_h5": _hdf5, "onnx": _onnx, "tflite": _litert, "saved_model": _saved_model}
    check = checks.get(format)
    return check(path, size) if check else None


def _archive(path: Path, size: int) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
            broken = archive.testzip() if size <= _CHECKED_BYTES and unpacked <= _UNPACKED_BYTES else None
    except zipfile.BadZipFile:
        return "its archive has no directory, which stands at the end"
    except (zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        return f"its archive cannot be unpacked ({error})"
    return f"the part {broken} of its archive is not what was written" if broken else None


def _keras(path: Path, size: int) -> str | None:
    reason = _archive(path, size)
    if reason:
        return reason
    with zipfile.ZipFile(path) as archive:
        if "config.json" not in archive.namelist():
            return "its archive has no config.json, so it is no Keras model"
        try:
            json.loads(archive.read("config.json"))
        except (ValueError, RecursionError):
            return "its config.json is no JSON"
    return None


def _hdf5(path: Path, size: int) -> str | None:
    import h5py

    try:
        with h5py.File(path, "r", locking=False) as file:
            list(file)
    except (OSError, RuntimeError, KeyError) as error:
        said = str(error)
        return f"HDF5 says: {said[said.find('(') + 1 :].rstrip(')')}"
    return None


def _onnx(path: Path, size: int) -> str | None:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            numbers = [number for number, _, _ in _fields(content, 0, size)]
    except ValueError as error:
        return f"it does not decode as ONNX ({error})"
    if _GRAPH_OF_ONNX not in numbers:
        return "it does not decode as ONNX (it holds no graph)"
    return _onnx_inside(path) if size <= _CHECKED_BYTES else None


def _onnx_inside(path: Path) -> str | None:
    import onnx
    from google.protobuf.message import DecodeError
    from onnx.external_data_helper import ExternalDataInfo, _get_all_tensors, uses_external_data

    try:
        model = onnx.load(path, load_external_data=False)
    except DecodeError:
        return "it does not decode as ONNX"
    for tensor in _get_all_tensors(model):
        if uses_external_data(tensor):
            kept = ExternalDataInfo(tensor)
            beside = path.parent / kept.location
            if not beside.is_file():
                raise InputError(
                    f"MODEL {path}: it keeps its weights in other files, and {kept.location} is not beside it. Copy that file there too."
                )
            if (kept.offset or 0) + (kept.length or 0) > beside.stat().st_size:
                return f"it keeps its weights in other files, and {kept.location} ends before they do"
    return None


def _litert(path: Path, size: int) -> str | None:
    from ai_edge_litert import schema_py_generated as schema

    content = path.read_bytes() if size <= _CHECKED_BYTES else None
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            # Arrays that numpy makes of a mapping keep it open, so only its lengths are looked at.
            return _litert_parts(schema.Model.GetRootAs(content or mapped, 0), schema, size, content is not None)
    except (struct.error, ValueError, IndexError, TypeError, OverflowError, MemoryError):
        return "its parts lie beyond its end"


def _litert_parts(model, schema, size: int, whole: bool) -> str | None:
    for index in range(model.BuffersLength()):
        buffer = model.Buffers(index)
        if whole and not buffer.DataIsNone():
            buffer.DataAsNumpy()  # raises where the array ends beyond the file
        if buffer.Offset() > 1 and buffer.Offset() + buffer.Size() > size:
            return f"weights end at byte {buffer.Offset() + buffer.Size()} of {size}"
    for index in range(model.SubgraphsLength() if whole else 0):
        schema.SubGraphT.InitFromObj(model.Subgraphs(index))
    for index in range(model.OperatorCodesLength()):
        schema.OperatorCodeT.InitFromObj(model.OperatorCodes(index))
    return None


def _saved_model(path: Path, size: int) -> str | None:
    if size == 0:
        return "saved_model.pb is empty"
    try:
        with (path / "saved_model.pb").open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            graphs = [(start, end) for number, start, end in _fields(content, 0, size) if number == _META_GRAPH]
            for start, end in graphs:
                list(_fields(content, start, end))
    except ValueError as error:
        return f"saved_model.pb does not decode ({error})"
    if not graphs:
        return "saved_model.pb holds no graph"
    index = path / "variables" / "variables.index"
    shards = list(index.parent.glob("variables.data-*-of-*"))
    wanted = int(shards[0].name.rsplit("-", 1)[1]) if shards else 1
    if index.exists() and len(shards) < wanted:
        return f"{len(shards)} of its {wanted} files variables/variables.data-… are there"
    return None


def _fields(content, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(number, first byte, end) of each field of the protobuf message between two bytes. Raises `ValueError` where it breaks off."""
    while start < end:
        tag, start = _varint(content, start, end)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            _, after = _varint(content, start, end)
        elif kind == 2:
            length, start = _varint(content, start, end)
            after = start + length
        elif kind in (1, 5):
            after = start + (8 if kind == 1 else 4)
        else:
            raise ValueError(f"byte {start} begins no field")
        if number == 0 or after > end:
            raise ValueError(f"a field ends at byte {after} of {end}" if number else f"byte {start} begins no field")
        yield number, start, after
        start = after


def _varint(content, start: int, end: int) -> tuple[int, int]:
    value = 0
    for place in range(10):
        if start + place >= end:
            raise ValueError(f"it breaks off at byte {end}")
        byte = content[start + place]
        value |= (byte & 127) << (7 * place)
        if byte < 128:
            return value, start + place + 1
    raise ValueError(f"byte {start} begins no number")
