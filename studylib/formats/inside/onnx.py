"""ONNX files. Shapes come from ``onnx.shape_inference`` with concrete inputs; weights are the initializers that are computed with."""

import math
from collections import Counter
from pathlib import Path

from studylib.errors import ArtifactError, said
from studylib.formats.inside import counting, islands
from studylib.formats.inside.onnx_islands import onnx_steps
from studylib.formats.inside.onnx_macs import node_macs

_STANDARD = ("", "ai.onnx", "ai.onnx.ml")
_RUNTIME_DOMAINS = ("com.microsoft", "com.microsoft.nchwc", "com.microsoft.experimental")
# Inputs from this position on are settings of the operator (scales, zero points, shapes, limits), not weights.
_SETTINGS_FROM = {"QuantizeLinear": 0, "DequantizeLinear": 1, "Clip": 1, "Reshape": 1, "Resize": 1, "Pad": 1, "Slice": 1, "Tile": 1}
_SETTINGS_FROM |= {"DynamicQuantizeLSTM": 7, "Expand": 1, "ConvInteger": 2, "MatMulInteger": 2}
_SETTINGS_AT = {"QLinearConv": (1, 2, 4, 5, 6, 7), "QLinearMatMul": (1, 2, 4, 5, 6, 7), "QLinearAdd": (1, 2, 4, 5, 6, 7)}


def look(path: Path, shapes: dict | None) -> dict:
    model = read(path)
    graph, opset = model.graph, _opset(model)
    weights = _weights(graph)
    nodes = list(_nodes(graph))
    macs, why = _macs(model, shapes)
    names = {tensor.name for tensor in graph.initializer}
    custom = _custom(nodes, opset)
    return {
        "operators": dict(Counter(_type(node) for node in nodes).most_common()),
        "parameters": sum(math.prod(shape) for _, shape, _ in weights),
        "weight_bytes": _bytes(weights),
        "macs": macs,
        "macs_why": why,
        "opset": opset,
        "inputs": [_tensor(value) for value in graph.input if value.name not in names],
        "outputs": [_tensor(value) for value in graph.output],
        "custom_operators": list(custom),
        "consequences": list(custom.values()),
        "float_islands": islands.find(onnx_steps(graph, {name for name, _ in _constants(graph)})),
    }


def read(path: Path):
    """The model with its local functions inlined and its nodes in topological order."""
    import onnx.inliner

    model = onnx.load(path)
    if not model.graph.node or not model.opset_import:
        raise ArtifactError(f"{path.name} cannot be read as onnx: it holds no operators. Give an ONNX model file.")
    if len(model.functions):
        model = onnx.inliner.inline_local_functions(model)
    sort(model.graph)
    return model


def sort(graph) -> None:
    """Put nodes behind what they read. ONNX asks for it, and ONNX Runtime's float16 converter does not do it."""
    made = {tensor.name for tensor in (*graph.input, *graph.initializer)} | {""}
    inner = {name for node in graph.node for name in node.output}
    waiting, ordered = [(node, read_by(node) & inner) for node in graph.node], []
    while waiting:
        behind = []
        for node, read in waiting:
            if read <= made:
                ordered.append(node)
                made.update(node.output)
            else:
                behind.append((node, read))
        if len(behind) == len(waiting):
            raise ArtifactError(f"the graph has a cycle through the node '{waiting[0][0].name}'; it is no valid ONNX model")
        waiting = behind
    copies = [type(node).FromString(node.SerializeToString()) for node in ordered]
    del graph.node[:]
    graph.node.extend(copies)


def read_by(node) -> set[str]:
    """What a node reads, the values that its loops and branches take from outside included."""
    inner = [read_by(below) for attribute in node.attribute if attribute.HasField("g") for below in attribute.g.node]
    results = [value.name for attribute in node.attribute if attribute.HasField("g") for value in attribute.g.output]
    return {*node.input, *results}.union(*inner)


def _opset(model) -> dict[str, int]:
    """The version of every operator domain that the graph uses."""
    used = {node.domain or "ai.onnx" for node in _nodes(model.graph)}
    versions = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    return {domain: version for domain, version in versions.items() if domain in used}


def _nodes(graph):
    """All nodes, those of loops and branches too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)


def _type(node) -> str:
    return node.op_type if node.domain in _STANDARD else f"{node.domain}.{node.op_type}"


def _graphs(graph):
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graphs(attribute.g)


def _is_setting(node, position: int) -> bool:
    return position >= _SETTINGS_FROM.get(node.op_type, math.inf) or position in _SETTINGS_AT.get(node.op_type, ())


def _weights(graph) -> list[tuple[str, tuple, int]]:
    """(name, shape, ONNX data type) of every constant that is computed with."""
    from onnx import TensorProto

    used = [(name, node, position) for node in _nodes(graph) for position, name in enumerate(node.input)]
    computed = {name for name, node, position in used if not _is_setting(node, position)}
    # A 32-bit integer is a bias where it is dequantized or added by a quantized convolution, and a shape or an index elsewhere.
    biases = {name for name, node, position in used if (node.op_type, position) in (("DequantizeLinear", 0), ("QLinearConv", 8))}
    indices = {TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL, TensorProto.STRING}
    return [
        (name, tuple(tensor.dims), tensor.data_type)
        for name, tensor in _constants(graph)
        if tensor.dims and name in computed and (name in biases or tensor.data_type not in indices)
    ]


def _constants(graph):
    """(name, tensor) of the initializers, of constant nodes, and, without data, of what is filled with one value while loading."""
    for inner in _graphs(graph):
        stored = {tensor.name: tensor for tensor in inner.initializer}
        for node in inner.node:
            value = next((attribute.t for attribute in node.attribute if attribute.name == "value"), None)
            if node.op_type == "Constant" and value is not None:
                stored[node.output[0]] = value
            elif node.op_type == "ConstantOfShape" and node.input[0] in stored:
                stored[node.output[0]] = _filled(stored[node.input[0]], value)
        yield from stored.items()


def _filled(shape, value):
    from onnx import TensorProto, numpy_helper

    return TensorProto(dims=numpy_helper.to_array(shape).tolist(), data_type=value.data_type if value else TensorProto.FLOAT)


def _bytes(weights) -> dict[str, int]:
    import onnx

    total: Counter = Counter()
    for _, shape, kind in weights:
        name = onnx.TensorProto.DataType.Name(kind).lower()
        bits = 4 if name.endswith("int4") or name == "float4e2m1" else 8 * onnx.helper.tensor_dtype_to_np_dtype(kind).itemsize
        total[_plain_dtype(name)] += math.ceil(math.prod(shape) * bits / 8)
    return dict(total)


def _plain_dtype(name: str) -> str:
    return {"float": "float32", "double": "float64"}.get(name, name)


def _tensor(value) -> dict:
    import onnx

    which, kind = value.type.WhichOneof("value"), value.type.tensor_type
    if which not in ("tensor_type", None):
        return {"name": value.name, "shape": None, "dtype": which.removesuffix("_type")}
    name = onnx.TensorProto.DataType.Name(kind.elem_type).lower()
    # What the exporter called its axes says which one is the batch.
    return {
        "name": value.name,
        "shape": _shape(kind),
        "dtype": _plain_dtype(name),
        "axes": [axis.dim_param or None for axis in kind.shape.dim],
    }


def _shape(kind) -> list[int | None] | None:
    if not kind.HasField("shape"):
        return None
    # Some exporters write a dynamic axis as the size -1.
    return [axis.dim_value if axis.HasField("dim_value") and axis.dim_value >= 0 else None for axis in kind.shape.dim]


def inferred(model, shapes: dict | None):
    """The model with concrete input shapes and everything that follows from them."""
    import onnx

    names = {tensor.name for tensor in model.graph.initializer}
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    # Shapes that the exporter wrote down with symbols would win over the ones inferred from concrete inputs.
    del fixed.graph.value_info[:]
    for value in fixed.graph.input:
        kind = value.type.tensor_type
        wanted = None if value.name in names else counting.concrete(value.name, _shape(kind), shapes)
        for axis, size in zip(kind.shape.dim, wanted or (), strict=False):
            if size is not None:
                axis.dim_value = size
    for value in fixed.graph.output:
        value.type.tensor_type.ClearField("shape")
    if fixed.ByteSize() > onnx.checker.MAXIMUM_PROTOBUF:
        raise ArtifactError("models above 2 GiB are not counted; store the weights as external data")
    return onnx.shape_inference.infer_shapes(fixed, data_prop=True)


def _macs(model, shapes: dict | None) -> tuple[int | None, str | None]:
    """Multiply-accumulates, or why they are not known: a graph that shape inference stops at may still run."""
    import onnx

    try:
        found = inferred(model, shapes).graph
    except (onnx.shape_inference.InferenceError, ArtifactError) as error:
        return None, said(error, "its shapes cannot be inferred")
    return counting.add_up(_counts(found, {}))


def _counts(graph, outer: dict) -> list[counting.Count]:
    known = outer | {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        shape = _shape(value.type.tensor_type)
        known[value.name] = tuple(shape) if shape is not None else None
    return [count for node in graph.node for count in _node_counts(node, known)]


def _node_counts(node, known: dict) -> list[counting.Count]:
    if not node.output:
        return []
    inner = [_counts(attribute.g, known) for attribute in node.attribute if attribute.HasField("g")]
    if node.op_type == "If":
        return [counting.branches(f"If '{node.name}'", inner)]
    if node.op_type in ("Loop", "Scan"):
        return [counting.loop(f"{node.op_type} '{node.name}'", [count for body in inner for count in body], None)]
    return [node_macs(node, known)]


def _custom(nodes, opset: dict[str, int]) -> dict[str, str]:
    """Operators outside the ONNX standard, each with what follows from it."""
    import onnx

    found = {}
    for node in nodes:
        if node.domain in _RUNTIME_DOMAINS:
            found[_type(node)] = f"{_type(node)} is an operator of ONNX Runtime: other runtimes refuse this file."
        elif node.domain not in _STANDARD:
            found[_type(node)] = f"{_type(node)} is a custom operator: every runtime needs a library that registers it."
        elif not onnx.defs.has(node.op_type, node.domain.replace("ai.onnx", "") if node.domain == "ai.onnx" else node.domain):
            found[_type(node)] = (
                f"{_type(node)} is not an ONNX operator (opset {opset.get('ai.onnx')}), so no runtime opens this file; "
                "rewrite it with standard operators before saying that the conversion worked."
            )
    return found
