"""Multiply-accumulates of one ONNX node from the shapes of its inputs and outputs."""

from studylib.formats.inside.counting import Count, convolution, einsum, matrix_product, product, recurrent

_CONV = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3, "FusedConv": 1, "NhwcFusedConv": 1, "DeformConv": 1}
_MATMUL = ("MatMul", "MatMulInteger", "QLinearMatMul", "MatMulIntegerToFloat", "DynamicQuantizeMatMul")
_GEMM = {"Gemm": ("transA", 0), "FusedGemm": ("transA", 0), "QGemm": ("transA", 0), "FusedMatMul": ("transA", 0)}
_RECURRENT = ("LSTM", "GRU", "RNN", "DynamicQuantizeLSTM")
_STANDARD = ("", "ai.onnx", "ai.onnx.ml")
# Operators of ONNX Runtime that multiply nothing worth counting, or only elementwise.
_LIGHT = {
    "BiasGelu", "FastGelu", "Gelu", "QuickGelu", "LayerNormalization", "SkipLayerNormalization", "SimplifiedLayerNormalization",
    "EmbedLayerNormalization", "QLinearAdd", "QLinearMul", "QLinearSigmoid", "QLinearLeakyRelu", "QLinearAveragePool", "QLinearSoftmax",
    "QLinearGlobalAveragePool", "QLinearConcat", "QLinearReduceMean", "QuantizeLinear", "DequantizeLinear", "RotaryEmbedding",
}  # fmt: skip


def node_macs(node, known: dict) -> Count:
    """MACs of ``node``; ``known`` maps value names to shapes. 0 for operators without multiply-accumulates."""
    what, attributes = f"{node.op_type} '{node.name or node.output[0]}'", {a.name: a for a in node.attribute}
    inputs, output = [known.get(name) for name in node.input], known.get(node.output[0])
    if node.op_type in _CONV:
        weights = inputs[_CONV[node.op_type]]
        return convolution(what, output, weights, weights[0] if weights else None)
    if node.op_type == "ConvTranspose":
        return convolution(what, inputs[0], inputs[1], inputs[1][0] if inputs[1] else None)
    if node.op_type in _MATMUL:
        return matrix_product(what, output, inputs[0][-1] if inputs[0] else None)
    if node.op_type in _GEMM:
        name, default = _GEMM[node.op_type]
        transposed = attributes[name].i if name in attributes else default
        return matrix_product(what, output, inputs[0][-2 if transposed else -1] if inputs[0] else None)
    if node.op_type == "MatMulNBits":
        return matrix_product(what, output, attributes["K"].i)
    if node.op_type == "Einsum":
        return einsum(what, attributes["equation"].s.decode(), inputs)
    if node.op_type in _RECURRENT:
        return _recurrent(what, inputs, attributes)
    return _other(what, node)


def _recurrent(what: str, inputs: list, attributes: dict) -> Count:
    """W and R are (directions, gates x hidden, inputs): every direction passes over the whole sequence."""
    if inputs[0] is None:
        return product(what, None)
    batch_first = "layout" in attributes and attributes["layout"].i == 1
    steps, batch = (inputs[0][1], inputs[0][0]) if batch_first else inputs[0][:2]
    return recurrent(what, steps, batch, inputs[1:3])


def _other(what: str, node) -> Count:
    if node.op_type in ("Attention", "FlexAttention") or (node.domain not in _STANDARD and node.op_type not in _LIGHT):
        return f"how many multiply-accumulates {what} makes is not known here"
    return 0
