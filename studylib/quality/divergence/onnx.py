"""ONNX files for the search: one tensor is read by cutting the graph behind it and running it without optimizations."""

import re
from collections import Counter
from pathlib import Path

import numpy as np

from studylib.formats.inside.onnx import inferred, read
from studylib.quality.divergence.opened import Opened, Tensor, arrange, natural, paths
from studylib.runtimes.onnxruntime import EXACT_SUMS


def opened(path: Path, inputs: dict[str, np.ndarray]) -> Opened:
    model = read(path)
    constants = {tensor.name for tensor in model.graph.initializer} | {""}
    names = [value.name for value in model.graph.input if value.name not in constants]
    fed = dict(zip(names, arrange(inputs, names), strict=True))
    model = inferred(model, {name: values.shape for name, values in fed.items()})
    tensors = _tensors(model.graph, constants)
    outputs = sorted((value.name for value in model.graph.output), key=natural)
    return Opened("onnx", tensors, outputs, lambda name: _read(model, name, fed))


def _tensors(graph, constants: set[str]) -> list[Tensor]:
    shapes = _float_shapes(graph)
    readers = Counter(name for node in graph.node for name in node.input)
    found = []
    for node in graph.node:
        if all(name in constants for name in node.input):
            constants.update(node.output)
            continue
        own, reads = _own(node), tuple(name for name in node.input if name not in constants)
        labels = own or _by_weights(node, constants, readers)
        found += [Tensor(name, shapes.get(name, ()), labels, reads) for name in node.output if name]
    return found


def _own(node) -> frozenset[str]:
    """The layers in the node's name. A name that tf2onnx numbered (``…__53``) is of a node it put in, often beside another layer."""
    return frozenset() if re.search(r"__\d+(:\d+)?$", node.name) else paths(node.name, *node.output)


def _by_weights(node, constants: set[str], readers: Counter) -> frozenset[str]:
    """The layers that the weights of a nameless node come from; unknown where the converter merged equal weights of several layers."""
    weights = [name for name in node.input if name in constants and name]
    return frozenset() if any(readers[name] > 1 for name in weights) else paths(*weights)


def _float_shapes(graph) -> dict[str, tuple[int, ...]]:
    from onnx import TensorProto

    floats = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
    known = {}
    for value in (*graph.value_info, *graph.output):
        kind = value.type.tensor_type
        if (
            kind.elem_type in floats
            and kind.HasField("shape")
            and all(axis.HasField("dim_value") and axis.dim_value >= 0 for axis in kind.shape.dim)
        ):
            known[value.name] = tuple(axis.dim_value for axis in kind.shape.dim)
    return known


def _read(model, name: str, fed: dict[str, np.ndarray]) -> np.ndarray:
    import onnx
    import onnxruntime

    cut = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    needed, nodes = {name}, []
    for node in reversed(model.graph.node):
        if needed & set(node.output):
            nodes.append(node)
            needed.update(_reads(node))
    cut.graph.name = "cut"
    cut.graph.node.extend(reversed(nodes))
    cut.graph.initializer.extend(tensor for tensor in model.graph.initializer if tensor.name in needed)
    cut.graph.input.extend(value for value in model.graph.input if value.name in needed)
    cut.graph.output.append(onnx.ValueInfoProto(name=name))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    options.add_session_config_entry(*EXACT_SUMS)
    session = onnxruntime.InferenceSession(cut.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run([name], {value.name: fed[value.name] for value in cut.graph.input if value.name in fed})[0]


def _reads(node) -> set[str]:
    """What a node reads, the values its loops and branches take from outside included."""
    inner = [name for attribute in node.attribute if attribute.HasField("g") for below in attribute.g.node for name in _reads(below)]
    return {*node.input, *inner}
