"""Versions of ONNX: what ONNX Runtime opens here, and files that are raised or lowered to it.

``IR version`` is the version of the file, ``opset`` that of its operators. Source: onnx, "Versioning"; its version converter.
"""

import functools
from collections import Counter

from studylib.errors import RefusedError, said
from studylib.formats.rewrites import graphs

# The IR version before which weights had to be inputs of the graph as well.
SEPARATE_WEIGHTS = 4
# Element types by the IR version that brought them; all others are older than what anybody opens.
_TYPES = {
    "FLOAT8E4M3FN": 9, "FLOAT8E4M3FNUZ": 9, "FLOAT8E5M2": 9, "FLOAT8E5M2FNUZ": 9, "UINT4": 10, "INT4": 10, "FLOAT4E2M1": 11,
    "FLOAT8E8M0": 12, "UINT2": 13, "INT2": 13, "FLOAT6E2M3": 14, "FLOAT6E3M2": 14,
}  # fmt: skip
_PROTOBUF_BYTES = 1_800_000_000


@functools.cache
def newest() -> tuple[int, int]:
    """The newest IR version and the newest opset that ONNX Runtime opens here, found by asking it."""
    import onnx

    opset = next(version for version in range(onnx.defs.onnx_opset_version(), 6, -1) if _opens(8, version))
    ir = next(version for version in range(max(onnx.IR_VERSION, 20), 2, -1) if _opens(version, opset))
    return ir, opset


@functools.cache
def newest_quantized() -> int:
    """The newest opset in which ONNX Runtime also has kernels for what quantizers write; older than what it opens, at times."""
    return next(version for version in range(newest()[1], 9, -1) if _opens(8, version, quantized=True))


def _opens(ir: int, opset: int, quantized: bool = False) -> bool:
    import numpy as np
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    grid = [numpy_helper.from_array(np.float32(1), "scale"), numpy_helper.from_array(np.uint8(0), "zero")] if quantized else []
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    if quantized:
        nodes = [helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"])]
        nodes += [helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"])]
    graph = helper.make_graph(nodes, "probe", ends[:1], ends[1:], grid)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    try:
        onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    except Exception:  # of its own classes, which derive from nothing else; that it refuses is the answer
        return False
    return True


def opset_of(model) -> int | None:
    """The version of the standard operators, or None of a file that uses none."""
    return next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), None)


def raised(model, least: int):
    """``model`` with opset ``least`` or newer, by onnx's converter. Raises `RefusedError` with the operator it stops at."""
    version = opset_of(model)
    if version is None or version >= least:
        return model
    if model.ByteSize() > _PROTOBUF_BYTES:
        raise RefusedError(f"the file has opset {version}, {least} is needed, and the converter takes no file above 2 GB. Export it again")
    return _converted(model, least)


def quantizable(model, least: int):
    """``model`` with an opset between ``least`` and `newest_quantized`. Raises `RefusedError` with what stands in the way."""
    model, newest_here = raised(model, least), newest_quantized()
    version = opset_of(model)
    if version is None or version <= newest_here:
        return model
    if _changed_since(model, newest_here, version):
        return _converted(model, newest_here)
    _declare(model, newest_here)
    return model


def lowered(model, name: str):
    """``model`` as ONNX Runtime opens it, and what was changed, in words; unchanged where it is not too new.

    Only the numbers are lowered where the file uses nothing that came with the newer ones; otherwise onnx's converter lowers the
    operators. Raises `RefusedError` with versions and remedy where neither can be.
    """
    ir, opset = newest()
    had, changes = (model.ir_version, opset_of(model)), []
    if had[1] is not None and had[1] > opset:
        changed = _changed_since(model, opset, had[1])
        if changed:
            model = _lowered_operators(model, name, had[1], opset, changed)
        else:
            _declare(model, opset)
        changes.append(f"opset {had[1]} was lowered to {opset}, the newest that ONNX Runtime opens here")
    if had[0] > ir:
        used = _newer_than(model, ir)
        if used:
            raise RefusedError(_too_new(name, f"IR version {had[0]}", f"IR version {ir}", f"it uses {used}, which came later"))
        model.ir_version = ir
        changes.append(f"IR version {had[0]} was lowered to {ir}, since nothing of the newer one is used")
    return model, changes


def _too_new(name: str, has: str, opens: str, why: str) -> str:
    import onnxruntime

    return (
        f"{name} has {has}; ONNX Runtime {onnxruntime.__version__} opens up to {opens}, and it cannot be lowered: {why}. "
        f"Export it with opset {newest()[1]} or older (`opset_version=` of torch.onnx.export, `opset_imports=` and `ir_version=` of "
        "onnx.helper.make_model), or take a newer ONNX Runtime"
    )


def _changed_since(model, opset: int, declared: int) -> list[str]:
    """The operators of the standard domain whose definition changed between ``opset`` and ``declared``."""
    import onnx

    found = Counter()
    for node in (node for graph in graphs(model.graph) for node in graph.node if node.domain in ("", "ai.onnx")):
        try:
            versions = [onnx.defs.get_schema(node.op_type, min(version, onnx.defs.onnx_opset_version())) for version in (opset, declared)]
        except onnx.defs.SchemaError:
            found[node.op_type] += 1
            continue
        found[node.op_type] += versions[0].since_version != versions[1].since_version
    # A number beyond what the installed onnx knows may have changed anything.
    unknown = declared > onnx.defs.onnx_opset_version()
    return sorted(name for name, count in found.items() if count or unknown)


def _lowered_operators(model, name: str, declared: int, opset: int, changed: list[str]):
    try:
        return _converted(model, opset)
    except RefusedError as error:
        why = f"{', '.join(changed[:3])} changed since ({error})"
        raise RefusedError(_too_new(name, f"opset {declared}", f"opset {opset}", why)) from None


def _converted(model, opset: int):
    import onnx

    had = opset_of(model)
    try:
        found = onnx.version_converter.convert_version(model, opset)
        onnx.checker.check_model(found)
    except Exception as error:  # RuntimeError, IndexError, ConvertError, ValidationError: it raises what its C++ raises
        raise RefusedError(said(error, f"onnx's converter cannot bring opset {had} to {opset}")) from None
    if opset_of(found) != opset:
        raise RefusedError(f"onnx's converter left opset {opset_of(found)} where {opset} was asked for")
    found.metadata_props.extend(entry for entry in model.metadata_props if entry.key not in {one.key for one in found.metadata_props})
    return found


def _declare(model, opset: int) -> None:
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = opset


def _newer_than(model, ir: int) -> str:
    """What of a newer IR version the file uses, in words, or nothing."""
    from google.protobuf.unknown_fields import UnknownFieldSet
    from onnx import TensorProto

    known = set(TensorProto.DataType.keys())
    newer = {TensorProto.DataType.Value(name): name for name, since in _TYPES.items() if since > ir and name in known}
    for graph in graphs(model.graph):
        for tensor in graph.initializer:
            if tensor.data_type in newer:
                return f"the element type {newer[tensor.data_type]}"
        for value in (*graph.input, *graph.output, *graph.value_info):
            if value.type.tensor_type.elem_type in newer:
                return f"the element type {newer[value.type.tensor_type.elem_type]}"
    parts = [model, model.graph, *(node for graph in graphs(model.graph) for node in graph.node)]
    if any(len(UnknownFieldSet(part)) for part in parts):
        return "fields that this version of onnx does not know"
    return ""
