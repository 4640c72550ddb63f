"""One scale for each output channel of a ConvInteger, where ``quantize_dynamic`` gives one to the whole tensor.

A depthwise convolution has channels whose weights differ tenfold; with one scale the small ones round to nothing.
"""

from pathlib import Path

import numpy as np


def scale_per_channel(source: Path, target: Path) -> int:
    """Quantize the weights of every ConvInteger in ``target`` anew, from the float weights in ``source``; how many.

    ``source`` is the file that ``target`` was made from. The scales are multiplied in after the integer convolution, where a
    tensor of shape (channels, 1, …) spreads over them as the scalar did.
    """
    import onnx
    from onnx import numpy_helper

    weights = {tensor.name: tensor for tensor in onnx.load(source).graph.initializer}
    model = onnx.load(target)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    changed = [node.input[1] for node in model.graph.node if node.op_type == "ConvInteger" and node.input[1] in constants]
    for name in dict.fromkeys(changed):
        plain = name.removesuffix("_quantized")
        values, scales = _quantized(numpy_helper.to_array(weights[plain]))
        zero = constants[f"{plain}_zero_point"]
        constants[name].CopyFrom(numpy_helper.from_array(values, name))
        constants[f"{plain}_scale"].CopyFrom(numpy_helper.from_array(scales, f"{plain}_scale"))
        zero.CopyFrom(numpy_helper.from_array(np.array(0, np.int8), zero.name))
    onnx.save(model, target)
    return len(changed)


def _quantized(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(int8 weights, scales of shape (channels, 1, …) without the weights' input axis), zero in the middle."""
    largest = np.abs(weights).reshape(len(weights), -1).max(1)
    scales = np.where(largest, largest / 127, 1).astype(np.float32)
    values = np.rint(weights / scales.reshape(-1, *[1] * (weights.ndim - 1)))
    return values.astype(np.int8), scales.reshape(-1, *[1] * (weights.ndim - 2))
