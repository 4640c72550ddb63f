"""Writing ONNX files: one file, or above a limit one with its weights beside it."""

import math
from pathlib import Path

from studylib.formats import rewrites

# A protobuf message ends at 2 GB; the graph and what writers add must fit as well.
LIMIT_BYTES = 1_800_000_000


def _weight_bytes(model) -> int:
    from onnx import helper

    tensors = [tensor for graph in rewrites.graphs(model.graph) for tensor in graph.initializer]
    return sum(math.prod(tensor.dims) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize for tensor in tensors)


def save(model, folder: Path, limit_bytes: int = LIMIT_BYTES) -> Path:
    """Write ``folder/model.onnx``, or above ``limit_bytes`` the same inside a folder ``model`` with its weights beside it."""
    import onnx

    if _weight_bytes(model) <= limit_bytes:
        onnx.save(model, folder / "model.onnx")
        return folder / "model.onnx"
    path = folder / "model" / "model.onnx"
    path.parent.mkdir()
    onnx.save(model, path, save_as_external_data=True, all_tensors_to_one_file=True, location="model.onnx.data", size_threshold=1024)
    return path
