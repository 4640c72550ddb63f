"""An ONNX graph that keeps its weights in other files: which they are, and the whole model in one place."""

from pathlib import Path, PurePosixPath, PureWindowsPath

from studylib.errors import ArtifactError, unpathed


def weight_files(path: Path) -> list[Path]:
    """The files beside an ONNX graph that hold its weights, as the graph names them; none for a file that does not decode."""
    from google.protobuf.message import DecodeError

    try:
        _, stored = _opened(path)
    except DecodeError:
        return []
    names = {info.location for _, info in stored if _is_inside(info.location)}
    return [file for name in sorted(names) if (file := path.parent / name).is_file()]


def whole_model(path: Path):
    """(the model with all its weights, whether some lie in other files).

    Weights are looked for beside ``path`` itself: where that is a link, as in the cache of a hub, beside the link. A link there is
    followed, since the folder holds it; a location that leaves the folder is refused. Raises `ArtifactError`.
    """
    from google.protobuf.message import DecodeError

    try:
        model, stored = _opened(path)
    except DecodeError:
        raise ArtifactError(f"{path.name} is damaged or cut off: it does not decode as ONNX. Copy or export it again.") from None
    try:
        for tensor, info in stored:
            _take_in(tensor, info, path)
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"{path.name} keeps its weights in other files, and they cannot be read: {unpathed(str(error), path.parent)}. "
            "Copy them beside it, under the names that they had when it was exported"
        ) from None
    return model, bool(stored)


def _opened(path: Path):
    """(model without its weights, (tensor, where its values lie) of each tensor that lies in another file)."""
    import onnx
    from onnx.external_data_helper import ExternalDataInfo, _get_all_tensors, uses_external_data

    model = onnx.load(path, load_external_data=False)
    return model, [(tensor, ExternalDataInfo(tensor)) for tensor in _get_all_tensors(model) if uses_external_data(tensor)]


def _take_in(tensor, info, path: Path) -> None:
    """Put the tensor's values into it. onnx's own reader refuses every link, and so every model in the cache of a hub."""
    from onnx import TensorProto

    if not _is_inside(info.location):
        raise ValueError(f"'{tensor.name}' lies in '{info.location}', which leaves the model's folder; put it beside the model")
    with (path.parent / info.location).open("rb") as file:
        size = file.seek(0, 2)
        offset = info.offset or 0
        length = size - offset if info.length is None else info.length
        if offset < 0 or length < 0 or offset + length > size:
            raise ValueError(f"'{tensor.name}' ends at byte {offset + length} of '{info.location}', which has {size}")
        file.seek(offset)
        tensor.raw_data = file.read(length)
    tensor.data_location = TensorProto.DEFAULT
    del tensor.external_data[:]


def _is_inside(location: str) -> bool:
    """Whether the place is named from the model's folder downwards, on any system."""
    paths = PurePosixPath(location), PureWindowsPath(location)
    return bool(location) and not any(one.is_absolute() or one.drive or ".." in one.parts for one in paths)
