"""Makes an ONNX graph with fake-quantization one that ONNX Runtime computes in int8.

tf2onnx writes QuantizeLinear/DequantizeLinear pairs for activations, but folds those of weights into float numbers, and
leaves clipping that quantization does anyway. The steps of weights are found again in the numbers, so nothing is rounded a
second time. With either of the two left, ONNX Runtime computes in float.
"""

import numpy as np

_STEPS = 127
# A bias counts in steps of input times weight and must fit into 32 bits, with room for the sum it is added to.
_MOST_BIAS_STEPS = 2**30
# How far from whole steps numbers may lie that were once whole steps, after batch normalization was folded into them.
_WHOLE = 0.02


def quantize_weights(model) -> dict:
    """Change ``model`` in place; returns notes: how many weights became int8, and the layers whose weights did not.

    Convolutions get one scale for each output channel, and a bias as int32; multiplications one scale.
    """
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    makers = {output: node for node in graph.node for output in node.output}
    done, left = [], []
    for node in [node for node in graph.node if node.op_type in ("Conv", "ConvTranspose", "MatMul", "Gemm")]:
        scale = _input_scale(node.input[0], makers, weights)
        if scale is None or node.input[1] not in weights:
            left.append(node.name)
            continue
        _quantize_node(graph, node, weights, scale)
        done.append(node.name)
    _drop_unused(graph)
    return {"int8_weights": len(done), "float_weights": left}


def drop_clips(model) -> int:
    """Remove ``Relu`` and ``Clip`` before a QuantizeLinear that saturates at the same ends; returns how many there were."""
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    readers: dict[str, list] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    outputs = {output.name for output in graph.output}
    dropped = []
    for node in [node for node in graph.node if node.op_type in ("Relu", "Clip")]:
        after = readers.get(node.output[0], [])
        quantizing = all(reader.op_type == "QuantizeLinear" and _saturates(reader, node, weights) for reader in after)
        if after and quantizing and node.output[0] not in outputs:
            for reader in after:
                reader.input[0] = node.input[0]
            dropped.append(node)
    for node in dropped:
        graph.node.remove(node)
    return len(dropped)


def _saturates(quantizing, clip, weights: dict) -> bool:
    """Whether what ``clip`` cuts off is cut off by ``quantizing`` too, to within half a step."""
    from onnx import numpy_helper

    if any(name not in weights for name in quantizing.input[1:]) or len(quantizing.input) < 3:
        return False
    scale, zero = (numpy_helper.to_array(weights[name]) for name in quantizing.input[1:3])
    if scale.size != 1 or any(name and name not in weights for name in clip.input[1:]):
        return False
    ends = [numpy_helper.to_array(weights[name]).item() if name else None for name in clip.input[1:]]
    low, high = (0.0, None) if clip.op_type == "Relu" else (*ends, None, None)[:2]
    limits = np.iinfo(zero.dtype)
    least, most = ((limit - zero.item()) * scale.item() for limit in (limits.min, limits.max))
    return (low is None or least > low - scale / 2) and (high is None or most < high + scale / 2)


def _quantize_node(graph, node, weights: dict, input_scale: float) -> None:
    from onnx import numpy_helper

    values = numpy_helper.to_array(weights[node.input[1]])
    axis = _channel_axis(node)
    biased = len(node.input) > 2 and node.input[2] in weights
    bias = numpy_helper.to_array(weights[node.input[2]]) if biased else None
    scales = steps_of(values, axis)
    if bias is not None:
        scales = np.maximum(scales, np.abs(bias) / (input_scale * _MOST_BIAS_STEPS)) if axis is not None else scales
    node.input[1] = _dequantized(graph, node, f"{node.name}/weight", _rounded(values, scales, axis, np.int8), scales, axis)
    if bias is not None:
        bias_scales = scales * np.float32(input_scale)
        whole = _rounded(bias, bias_scales, 0 if axis is not None else None, np.int32)
        node.input[2] = _dequantized(graph, node, f"{node.name}/bias", whole, bias_scales, 0 if axis is not None else None)


def _channel_axis(node) -> int | None:
    """The axis of output channels of a kernel, None where one scale serves all."""
    groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
    if node.op_type == "Conv":
        return 0
    return 1 if node.op_type == "ConvTranspose" and groups == 1 else None


def steps_of(values: np.ndarray, axis: int | None) -> np.ndarray:
    """The size of a step for each channel along ``axis`` (float32, shape (channels,)), or one for all (shape ()).

    The largest weight need not be the last step: the range was learned a moment before the weight. So the number of steps
    it stands for is looked for, from 127 downwards, until all weights are whole; if none are, it stands for 127.
    """
    rows = values.reshape(1, -1) if axis is None else np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
    rows = np.abs(rows).astype(np.float64)
    largest = rows.max(1)
    scales, open_rows = largest / _STEPS, np.flatnonzero(largest)
    for steps in range(_STEPS, _STEPS // 2, -1):
        scaled = rows[open_rows] / (largest[open_rows] / steps)[:, None]
        whole = np.abs(scaled - np.round(scaled)).max(1) < _WHOLE
        scales[open_rows[whole]] = largest[open_rows[whole]] / steps
        open_rows = open_rows[~whole]
        if not len(open_rows):
            break
    # A channel of zeros has no step of its own; its bias needs one.
    scales[scales == 0] = scales.max() or 1 / _STEPS
    return scales.astype(np.float32) if axis is not None else np.float32(scales[0])


def _rounded(values: np.ndarray, scales: np.ndarray, axis: int | None, kind) -> np.ndarray:
    if axis is not None:
        scales = scales.reshape([-1 if index == axis else 1 for index in range(values.ndim)])
    limits = np.iinfo(kind)
    return np.clip(np.round(values / scales.astype(np.float64)), limits.min, limits.max).astype(kind)


def _dequantized(graph, node, name: str, values: np.ndarray, scales: np.ndarray, axis: int | None) -> str:
    """Add integer weights and the node that gives them their scale, in front of ``node``; returns the tensor's name."""
    from onnx import helper, numpy_helper

    zero = np.zeros(np.shape(scales), values.dtype)
    arrays = {f"{name}/steps": values, f"{name}/scale": np.asarray(scales, np.float32), f"{name}/zero": zero}
    graph.initializer.extend(numpy_helper.from_array(array, key) for key, array in arrays.items())
    attributes = {} if axis is None else {"axis": axis}
    made = helper.make_node("DequantizeLinear", list(arrays), [name], name=f"{name}/dequantize", **attributes)
    graph.node.insert(list(graph.node).index(node), made)
    return name


def _input_scale(tensor: str, makers: dict, weights: dict) -> float | None:
    """The scale that the int8 tensor behind ``tensor`` has, looked for through nodes that only move numbers."""
    from onnx import numpy_helper

    node = makers.get(tensor)
    while node is not None and node.op_type in ("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "MaxPool", "Identity"):
        node = makers.get(node.input[0])
    if node is None or node.op_type != "DequantizeLinear" or node.input[1] not in weights:
        return None
    scale = numpy_helper.to_array(weights[node.input[1]])
    return scale.item() if scale.size == 1 else None


def _drop_unused(graph) -> None:
    used = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
