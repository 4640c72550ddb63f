"""Weights of ONNX files in integers, arithmetic in float: smaller on disk, and where the runtime can, in memory."""

import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from studylib.errors import RefusedError
from studylib.formats import quantized
from studylib.formats.rewrites import graphs
from studylib.models.zoo import Samples
from studylib.recipes import root_logging
from studylib.recipes.quantize.onnx import OnnxRecipe
from studylib.recipes.quantize.onnx_preparation import prepared
from studylib.recipes.quantize.onnx_tidied import folded

# Which inputs of an operator are weights, and along which axis their channels lie.
_WEIGHTS = {
    "Conv": {1: 0}, "ConvTranspose": {1: 1}, "MatMul": {1: -1, 0: -2}, "Gemm": {1: -1}, "Gather": {0: 0},
    "LSTM": {1: 1, 2: 1}, "GRU": {1: 1, 2: 1}, "RNN": {1: 1, 2: 1},
}  # fmt: skip


@dataclass(frozen=True)
class WeightOnly8(OnnxRecipe):
    """Weights int8 with one scale a channel, made float again by DequantizeLinear; nothing needs calibration."""

    name: ClassVar[str] = "weight_only_wi8_afp32"
    operators: ClassVar[tuple[str, ...]] = tuple(_WEIGHTS)
    computes_in_integers: ClassVar[bool] = False

    def quantize(self, source: Path, target: Path, scratch: Path, samples: Samples | None) -> dict:
        import onnx

        model = onnx.load(prepared(source, scratch))
        _require_opset(model)
        count = sum(_in_int8(graph) for graph in list(graphs(model.graph)))
        if not count:
            raise RefusedError(f"no operator of {source.name} has constant weights of two or more axes")
        onnx.save(model, target)
        return {"weights": f"{count} tensors in int8"}


def _in_int8(graph) -> int:
    """Quantize the weights of one graph, branches and bodies of loops having their own; how many."""
    from onnx import TensorProto

    folded(graph)
    constants = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}
    # Branches and bodies of loops read the constants of the graphs around them.
    nodes = [node for part in graphs(graph) for node in part.node]
    channels = {name: axis for node in nodes for name, axis in _weights(node).items() if name in constants}
    chosen = {name: axis for name, axis in channels.items() if len(constants[name].dims) > 1}
    for name, axis in chosen.items():
        _dequantized(graph, constants[name], axis % len(constants[name].dims))
    return len(chosen)


def _weights(node) -> dict[str, int]:
    """Name and channel axis of the inputs of a node that may be weights."""
    axes = dict(_WEIGHTS.get(node.op_type, {}))
    if node.op_type == "Gemm" and any(one.name == "transB" and one.i for one in node.attribute):
        axes[1] = 0
    return {node.input[index]: axis for index, axis in axes.items() if index < len(node.input) and node.domain in ("", "ai.onnx")}


def _dequantized(graph, tensor, axis: int) -> None:
    """Replace a float constant by an int8 one and the node that makes floats of it, which keeps the constant's name."""
    from onnx import helper, numpy_helper

    name, values = tensor.name, numpy_helper.to_array(tensor)
    largest = np.abs(values).max(axis=tuple(one for one in range(values.ndim) if one != axis), keepdims=True)
    scales = np.where(largest, largest / 127, 1).astype(np.float32)
    tensor.CopyFrom(numpy_helper.from_array(np.rint(values / scales).astype(np.int8), f"{name}_quantized"))
    graph.initializer.append(numpy_helper.from_array(scales.ravel(), f"{name}_scale"))
    node = helper.make_node("DequantizeLinear", [f"{name}_quantized", f"{name}_scale"], [name], name=f"{name}_dequantize", axis=axis)
    graph.node.insert(0, node)


def _require_opset(model) -> None:
    """DequantizeLinear has scales a channel since opset 13."""
    version = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if version < 13:
        raise RefusedError(f"the file has opset {version}, scales for each channel need 13, and onnx's converter could not raise it")


@dataclass(frozen=True)
class WeightOnly4(OnnxRecipe):
    """Weights of matrix products in 4 bits, one scale for every ``block_size`` of them (MatMulNBits); all else stays float."""

    name: ClassVar[str] = "weight_only_wi4_afp32"
    packages: ClassVar[tuple[str, ...]] = (*OnnxRecipe.packages, "onnx-ir")
    operators: ClassVar[tuple[str, ...]] = ("MatMul", "Gemm")
    computes_in_integers: ClassVar[bool] = False

    block_size: int = 32

    def quantize(self, source: Path, target: Path, scratch: Path, samples: Samples | None) -> dict:
        import onnx
        from onnxruntime.quantization.onnx_model import ONNXModel

        model = ONNXModel(onnx.load(prepared(source, scratch)))
        model.replace_gemm_with_matmul()
        with root_logging.kept():  # the import sets them
            from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

            logging.getLogger("onnxruntime.quantization.matmul_nbits_quantizer").setLevel(logging.WARNING)
            quantizer = MatMulNBitsQuantizer(model.model, bits=4, block_size=self.block_size, is_symmetric=True)
            quantizer.process()
        found = Counter(node.op_type for node in quantizer.model.model.graph.node)
        if not found["MatMulNBits"]:
            raise RefusedError(f"no MatMul or Gemm of {source.name} has constant weights; 4 bits are for these")
        onnx.save(quantizer.model.model, target)
        left = {name: found[name] for name in (*quantized.ONNX_OPERATORS, *quantized.ONNX_RECURRENT, "Gather") if found[name]}
        float_ones = {"float": ", ".join(f"{count} {name}" for name, count in left.items())} if left else {}
        return {"weights": f"{found['MatMulNBits']} matrices in 4 bits, blocks of {self.block_size}"} | float_ones
