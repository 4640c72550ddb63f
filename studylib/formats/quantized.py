"""What must be true of a file before it is quantized: it is not yet, and holds an operator that gains from it."""

from collections import Counter
from pathlib import Path

from studylib.errors import RefusedError

# Operators that multiply by weights; all others are quantized only to stay between two of these.
ONNX_OPERATORS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
ONNX_RECURRENT = ("LSTM", "GRU", "RNN")
LITERT_OPERATORS = (
    "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "CONV_3D", "CONV_3D_TRANSPOSE", "BATCH_MATMUL",
    "EMBEDDING_LOOKUP", "GATHER", "LSTM", "UNIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_LSTM",
    "UNIDIRECTIONAL_SEQUENCE_RNN", "BIDIRECTIONAL_SEQUENCE_RNN", "RNN", "SVDF",
)  # fmt: skip
_ONNX_QUANTIZED = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger", "MatMulNBits")
_LITERT_INTEGERS = ("INT8", "UINT8", "INT16", "INT4", "INT2")


def require_float_onnx(path: Path, wanted: tuple[str, ...] = ()) -> None:
    """Raise `RefusedError` when the ONNX file is quantized already, or when ``wanted`` names operators and it has none of them."""
    import onnx

    found = Counter(node.op_type for node in _onnx_nodes(onnx.load(path, load_external_data=False).graph))
    done = {name: count for name, count in found.items() if name in _ONNX_QUANTIZED or name.startswith("QLinear")}
    if done:
        raise RefusedError(f"{path.name} is already quantized ({told(done)}); start from its float version")
    _require(path.name, wanted, found)


def onnx_products(path: Path) -> list[str]:
    """The names of the nodes that multiply by constant weights."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    constants = {tensor.name for tensor in graph.initializer}
    return [node.name for node in graph.node if node.op_type in ONNX_OPERATORS and constants & set(node.input[:2])]


def _onnx_nodes(graph):
    """The nodes of a graph and of the graphs inside them: bodies of loops, branches."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _onnx_nodes(inner)


def require_float_litert(content: bytes, name: str, wanted: tuple[str, ...] = ()) -> None:
    """The same for the bytes of a LiteRT file; ``name`` tells it in the message."""
    from ai_edge_litert import schema_py_generated as schema

    model = _parsed(content, name)
    types = {number: kind for kind, number in vars(schema.TensorType).items()}
    tensors = [tensor for graph in model.subgraphs for tensor in graph.tensors]
    # An integer without a scale is an index or a size.
    scaled = [tensor for tensor in tensors if tensor.quantization is not None and len(_listed(tensor.quantization.scale))]
    done = Counter(types[tensor.type].lower() for tensor in scaled if types[tensor.type] in _LITERT_INTEGERS)
    if done:
        raise RefusedError(f"{name} is already quantized (tensors: {told(done)}); start from its float version")
    _require(name, wanted, Counter(_litert_operators(model)))


def require_operators(content: bytes, name: str, wanted: tuple[str, ...]) -> None:
    """Raise `RefusedError` when ``wanted`` names operators and the LiteRT file, of any precision, has none of them."""
    _require(name, wanted, Counter(_litert_operators(_parsed(content, name))))


def litert_operator_names(content: bytes, name: str) -> list[str]:
    """The operators of the bytes of a LiteRT file, all its graphs together; ``name`` tells it in messages."""
    return _litert_operators(_parsed(content, name))


def litert_weights(content: bytes) -> dict[str, int]:
    """How many constants of two or more axes a LiteRT file holds, by their type, such as ``int4`` (the interpreter shows int8)."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content)
    names = {number: kind.lower() for kind, number in vars(schema.TensorType).items()}
    filled = [bool(buffer.size or len(_listed(buffer.data))) for buffer in model.buffers]
    tensors = [tensor for graph in model.subgraphs for tensor in graph.tensors if filled[tensor.buffer]]
    return Counter(names[tensor.type] for tensor in tensors if len(_listed(tensor.shape)) > 1)


def require_change(weights: dict[str, int], name: str, by: str) -> None:
    """Raise `RefusedError` when ``by`` left every one of the ``weights`` of ``name`` as it was."""
    if not set(weights) - {"float32", "int32", "int64"}:
        raise RefusedError(
            f"{by} quantized none of the {sum(weights.values())} weights of {name}: it would be the same file. Keep it in float"
        )


def _listed(values):
    """Numbers of a parsed file, where it has None for an absent list."""
    return () if values is None else values


def _parsed(content: bytes, name: str):
    from ai_edge_litert import schema_py_generated as schema

    if content[4:8] != b"TFL3":
        raise RefusedError(f"{name} is no LiteRT file: its magic is {content[4:8]!r}, not b'TFL3'")
    return schema.ModelT.InitFromPackedBuf(content)


def _litert_operators(model) -> list[str]:
    """The operators of a parsed LiteRT file, all its graphs together, custom ones by their own name."""
    from ai_edge_litert import schema_py_generated as schema

    names = {number: name for name, number in vars(schema.BuiltinOperator).items()}
    codes = [code.customCode or names[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in model.operatorCodes]
    return [str(codes[operator.opcodeIndex]) for graph in model.subgraphs for operator in graph.operators or ()]


def _require(name: str, wanted: tuple[str, ...], found: Counter) -> None:
    if wanted and not set(wanted) & set(found):
        known = ", ".join(wanted[:4]) + (", …" if len(wanted) > 4 else "")
        raise RefusedError(
            f"no operator of {name} that integers can be used for ({known}); found {told(found)}. "
            "It computes nothing with weights: keep it in float"
        )


def told(counts: dict[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    return ", ".join(f"{count} {name}" for name, count in ordered[:6]) + (", …" if len(ordered) > 6 else "")
