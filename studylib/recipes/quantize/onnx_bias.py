"""Bias correction of ONNX files: rounding its weights moves the mean of a layer's outputs, and its bias takes that back.

Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (2019), the means of a layer's inputs
measured on calibration samples (docs/decisions/0050).
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from studylib.formats.onnx_versions import opset_of
from studylib.models.zoo import Samples
from studylib.recipes.convert.onnx_opening import opened

Means = dict[str, np.ndarray]
# Where an operator has its weights, their scale and zero point, and its bias: integer operators, as ONNX Runtime writes them.
_INTEGER = {"QLinearConv": (3, 4, 5, 8), "QGemm": (3, 4, 5, 6)}


@dataclass(frozen=True)
class _Rounded:
    """The weights of a layer as the quantized file has them, in real units, its bias in the file and the scales of that."""

    weights: np.ndarray
    bias: object
    scales: np.ndarray


def input_means(model: Path, samples: Samples) -> Means:
    """The mean over ``samples`` of each channel that a convolution or product with bias takes in, by the tensor's name.

    ``model``: a file that was prepared for quantization. One sample at a time is in memory; the graph itself takes the means.
    """
    import onnx
    from onnx import helper

    graph = onnx.load(model)
    wanted, ranks, names = dict.fromkeys(node.input[0] for node in _layers(graph)), _ranks(graph), {}
    if not wanted:
        return {}
    for name in wanted:
        axes = [axis for axis in range(ranks.get(name, 0)) if axis != 1]
        if axes and ranks[name] > 1:
            names[name] = f"{name}:mean"
            graph.graph.initializer.append(onnx.numpy_helper.from_array(np.array(axes, np.int64), f"{name}:axes"))
            inputs, told = ([name, f"{name}:axes"], {}) if opset_of(graph) >= 18 else ([name], {"axes": axes})
            graph.graph.node.append(helper.make_node("ReduceMean", inputs, [names[name]], keepdims=0, **told))
            graph.graph.output.append(onnx.ValueInfoProto(name=names[name]))
    with tempfile.TemporaryDirectory(prefix="means-") as folder:
        path = Path(folder) / "means.onnx"
        onnx.save(graph, path)
        session = opened(path, "the calibration graph")
        sums = dict.fromkeys(names, 0.0)
        for index in range(len(samples)):
            for name, values in zip(names, session.run(list(names.values()), samples.batch(index, 1)), strict=True):
                sums[name] = sums[name] + values.astype(np.float64)
    return {name: total / len(samples) for name, total in sums.items()}


def correct(source: Path, target: Path, means: Means) -> int:
    """Move the biases of ``target``, which was made of ``source``, so that the means of outputs stay; how many layers.

    Left alone is a layer without bias, one whose weights are computed, and a bias that several layers share.
    """
    import onnx
    from onnx import numpy_helper

    before, after = onnx.load(source), onnx.load(target)
    floats = {tensor.name: tensor for tensor in before.graph.initializer}
    rounded = _rounded(after)
    changed = 0
    for node in _layers(before):
        found, mean = rounded.get(node.name), means.get(node.input[0])
        if found is None or mean is None or node.input[1] not in floats:
            continue
        moved = _moved(node, found.weights - numpy_helper.to_array(floats[node.input[1]]), mean)
        if moved is None or not np.isfinite(moved).all():
            continue
        values = np.rint(numpy_helper.to_array(found.bias) - moved / found.scales)
        limits = np.iinfo(np.int32)
        found.bias.CopyFrom(numpy_helper.from_array(values.clip(limits.min, limits.max).astype(np.int32), found.bias.name))
        changed += 1
    if changed:
        onnx.save(after, target)
    return changed


def _layers(model) -> list:
    """Convolutions and products that have a bias; a product that scales its parts is none."""
    plain = {"alpha": 1.0, "beta": 1.0, "transA": 0}
    found = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm") and len(node.input) > 2 and node.input[2]]
    return [node for node in found if all(_attribute(node, name, usual) == usual for name, usual in plain.items())]


def _moved(node, errors: np.ndarray, mean: np.ndarray) -> np.ndarray | None:
    """How far the mean of each output moves by ``errors`` of the weights where the inputs have this ``mean``; None if shapes differ."""
    if node.op_type == "Gemm":
        errors = errors if _attribute(node, "transB", 0) else errors.T
        return errors @ mean if errors.shape[1:] == mean.shape else None
    groups = _attribute(node, "group", 1)
    by_channel = errors.reshape(*errors.shape[:2], -1).sum(-1)
    if by_channel.shape[1] * groups != len(mean):
        return None
    return np.einsum("goi,gi->go", by_channel.reshape(groups, -1, by_channel.shape[1]), mean.reshape(groups, -1)).reshape(-1)


def _rounded(model) -> dict[str, _Rounded]:
    """Each quantized layer of a file with a bias of its own, by the name of the float layer."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    made_by = {node.output[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear"}
    uses: dict[str, int] = {}
    for node in model.graph.node:
        for name in node.input:
            uses[name] = uses.get(name, 0) + 1
    found = {}
    for node in model.graph.node:
        facts = _of_integers(node, constants) if node.op_type in _INTEGER else _of_pairs(node, constants, made_by)
        own = facts and uses[facts.bias.name] == 1
        # Between a float operator and its bias stands a DequantizeLinear, which several may share as well.
        if own and (node.op_type in _INTEGER or uses[node.input[2]] == 1):
            found[node.name.removesuffix("_quant")] = facts
    return found


def _of_pairs(node, constants: dict, made_by: dict) -> _Rounded | None:
    """A float operator between QuantizeLinear and DequantizeLinear."""
    if node.op_type not in ("Conv", "Gemm") or len(node.input) < 3 or not {node.input[1], node.input[2]} <= set(made_by):
        return None
    weights, bias = made_by[node.input[1]], made_by[node.input[2]]
    if not {*weights.input, *bias.input} <= set(constants):
        return None
    zero = constants[weights.input[2]] if len(weights.input) > 2 else None
    real = _real(constants[weights.input[0]], constants[weights.input[1]], zero, _attribute(weights, "axis", 1))
    return _with_bias(real, constants[bias.input[0]], _array(constants[bias.input[1]]))


def _of_integers(node, constants: dict) -> _Rounded | None:
    """An operator of integers: its bias is in units of the inputs' scale times the weights'."""
    places = _INTEGER[node.op_type]
    if len(node.input) <= places[-1] or not all(node.input[place] in constants for place in (1, *places)):
        return None
    weights, scale, zero, bias = (constants[node.input[place]] for place in places)
    axis = 0 if node.op_type == "QLinearConv" or _attribute(node, "transB", 0) else 1
    return _with_bias(_real(weights, scale, zero, axis), bias, _array(constants[node.input[1]]) * _array(scale))


def _with_bias(weights: np.ndarray, bias, scales: np.ndarray) -> _Rounded | None:
    from onnx import TensorProto

    return _Rounded(weights, bias, scales.astype(np.float64)) if bias.data_type == TensorProto.INT32 and (scales > 0).all() else None


def _real(weights, scale, zero, axis: int) -> np.ndarray:
    """Integer weights in real units, by one scale or one for each index of ``axis``."""
    values, scales = _array(weights).astype(np.float64), _array(scale).astype(np.float64)
    zeros = np.zeros(1) if zero is None else _array(zero).astype(np.float64)
    shape = [-1 if index == axis else 1 for index in range(values.ndim)]
    return (values - (zeros.reshape(shape) if zeros.size > 1 else zeros)) * (scales.reshape(shape) if scales.size > 1 else scales)


def _array(tensor) -> np.ndarray:
    from onnx import numpy_helper

    return numpy_helper.to_array(tensor)


def _attribute(node, name: str, usual):
    from onnx import helper

    return next((helper.get_attribute_value(attribute) for attribute in node.attribute if attribute.name == name), usual)


def _ranks(model) -> dict[str, int]:
    """How many axes each tensor has, where that is known."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(model).graph
    return {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.value_info)
        if value.type.tensor_type.HasField("shape")
    }
