"""Which ONNX nodes compute in integers: quantized operators, and operators between dequantizers and quantizers, which runtimes fuse."""

from studylib.formats.inside import islands

_INTEGER = ("ConvInteger", "MatMulInteger", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "MatMulNBits", "QAttention", "QGemm")
_ACTIVATIONS = ("Relu", "Clip", "LeakyRelu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh")
_METADATA = ("Shape", "Constant", "ConstantOfShape", "Identity", "Size", "Range", "Unsqueeze", "Squeeze", "Cast", "Reshape", "Flatten")


def onnx_steps(graph, constants: set[str]) -> list[islands.Operation]:
    """The graph as the search for float islands sees it; conversions and arithmetic of ``constants`` are left out."""
    producers = {name: node for node in graph.node for name in node.output}
    consumers: dict[str, list] = {}
    for node in graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    steps = []
    for node in graph.node:
        if node.op_type in ("Shape", "Size") or all(name in constants or not name for name in node.input):
            constants.update(node.output)  # a weight that is stored in integers, or arithmetic on scales and shapes
            continue
        if node.op_type == "DynamicQuantizeLinear":
            constants.update(node.output[1:])
        kind = _kind(node, constants, producers, consumers)
        steps.append(islands.Operation(node.op_type, node.name, kind, tuple(node.input), tuple(node.output)))
    return steps


def _kind(node, constants: set, producers: dict, consumers: dict) -> str:
    if node.op_type in ("QuantizeLinear", "DynamicQuantizeLinear"):
        return "quantize"
    if node.op_type == "DequantizeLinear":
        return "dequantize"
    if node.op_type.startswith("QLinear") or node.op_type in _INTEGER:
        return "integer"
    fed = [producers[name].op_type for name in node.input if name in producers and name not in constants]
    reads_integers = bool(fed) and all(kind == "DequantizeLinear" for kind in fed)
    if _ends_quantized(node, consumers) and (reads_integers or _closes(node, producers)):
        return "integer"
    return "neutral" if node.op_type in _METADATA else "float"


def _ends_quantized(node, consumers: dict) -> bool:
    """Whether everything that reads the node is a quantizer, possibly behind one activation that runtimes fuse."""
    readers = [reader for name in node.output for reader in consumers.get(name, [])]
    return bool(readers) and all(
        r.op_type == "QuantizeLinear" or (r.op_type in _ACTIVATIONS and node.op_type not in _ACTIVATIONS and _ends_quantized(r, consumers))
        for r in readers
    )


def _closes(node, producers: dict) -> bool:
    """Whether the node is the activation behind an operator that reads dequantized values."""
    before = producers.get(node.input[0]) if node.op_type in _ACTIVATIONS else None
    return before is not None and any(name in producers and producers[name].op_type == "DequantizeLinear" for name in before.input)
