"""What a model file computes in, read from the file: float32, or what somebody made of it before it came here."""

from collections import Counter
from pathlib import Path

FLOAT32 = "float32"
# Of all there are: weights and activations in whole numbers with fixed scales; scales found while running; weights alone.
KINDS = (FLOAT32, "float16", "bfloat16", "int8", "int16", "int8 dynamic", "int8 weights", "int4 weights", "int2 weights")
# These cannot be quantized again.
WHOLE = tuple(kind for kind in KINDS if kind.startswith("int"))
HALVES = ("float16", "bfloat16")
_SMALL = ("INT8", "UINT8", "INT16", "INT4", "INT2")
_HALF = {"FLOAT16": "float16", "BFLOAT16": "bfloat16"}


def precision(path: Path, format: str) -> str:
    """One of `KINDS`; float32 for formats that are not looked into."""
    reader = {"tflite": _litert, "onnx": _onnx}.get(format)
    return reader(Path(path)) if reader else FLOAT32


def _litert(path: Path) -> str:
    from studylib.formats.inside.litert import File, dtype

    file = File(path)
    weights: Counter = Counter()
    for graph in file.graphs:
        computed = {int(index) for operator in graph.operators or [] for index in operator.outputs} | {int(index) for index in graph.inputs}
        flowing = {dtype(graph.tensors[index]) for index in computed if _scaled(graph.tensors[index])}
        if flowing & {"INT16"}:
            return "int16"
        if flowing & {"INT8", "UINT8"}:
            return "int8"
        held = [tensor for tensor in graph.tensors if file.is_constant(tensor) and tensor.shape is not None and len(tensor.shape) > 1]
        weights.update(dtype(tensor) for tensor in held if dtype(tensor) in (*_HALF, "FLOAT32") or _scaled(tensor))
        direct = {int(index) for operator in graph.operators or [] if file.type(operator) != "DEQUANTIZE" for index in operator.inputs}
        if any(index in direct and dtype(tensor) in _SMALL and _scaled(tensor) for index, tensor in enumerate(graph.tensors)):
            weights["dynamic"] += 1
    return _of_weights(weights)


def _scaled(tensor) -> bool:
    found = tensor.quantization
    from studylib.formats.inside.litert import dtype

    return dtype(tensor) in _SMALL and found is not None and found.scale is not None and len(found.scale) > 0


def _of_weights(weights: Counter) -> str:
    """By what the weights are stored in; ``dynamic`` counts those that are multiplied by as they are, without becoming float first."""
    whole = [name for name in ("INT2", "INT4", "INT8", "UINT8") if weights[name]]
    if whole:
        return "int8 dynamic" if weights["dynamic"] else f"{whole[0].lower().removeprefix('u')} weights"
    half = max(_HALF, key=lambda name: weights[name])
    return _HALF[half] if weights[half] > weights["FLOAT32"] else FLOAT32


def _onnx(path: Path) -> str:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path / "model.onnx" if path.is_dir() else path, load_external_data=False)
    except DecodeError:
        return FLOAT32  # whoever opens it says what is wrong with it
    nodes = list(_nodes(model.graph))
    kinds = Counter(node.op_type for node in nodes)
    if kinds["QuantizeLinear"] or any(kind.startswith("QLinear") or kind == "QGemm" for kind in kinds):
        return "int16" if _sixteen(model, nodes) else "int8"
    if any(
        kinds[kind] for kind in ("DynamicQuantizeLinear", "ConvInteger", "MatMulInteger", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM")
    ):
        return "int8 dynamic"
    types = {tensor.name: onnx.TensorProto.DataType.Name(tensor.data_type) for tensor in model.graph.initializer}
    stored = {types.get(node.input[0]) for node in nodes if node.op_type == "DequantizeLinear"}
    if kinds["MatMulNBits"] or stored & {"INT4", "UINT4"}:
        return "int4 weights"
    if stored & {"INT8", "UINT8"}:
        return "int8 weights"
    weights = Counter(types[tensor.name] for tensor in model.graph.initializer if len(tensor.dims) > 1)
    half = max(_HALF, key=lambda name: weights[name])
    return _HALF[half] if weights[half] > weights["FLOAT"] else FLOAT32


def _sixteen(model, nodes) -> bool:
    """Whether activations are stored in 16 bits: the zero points of QuantizeLinear say so."""
    import onnx

    zeros = {node.input[2] for node in nodes if node.op_type == "QuantizeLinear" and len(node.input) > 2}
    types = Counter(onnx.TensorProto.DataType.Name(tensor.data_type) for tensor in model.graph.initializer if tensor.name in zeros)
    return types["INT16"] + types["UINT16"] > types["INT8"] + types["UINT8"]


def _nodes(graph):
    """The nodes of a graph and of the bodies inside it."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)
