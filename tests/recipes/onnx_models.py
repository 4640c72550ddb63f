"""Small ONNX files that tests quantize: random weights, real operators."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from studylib.models.zoo import Samples
from studylib.runtimes.onnxruntime import EXACT_SUMS


def save(path: Path, nodes: list, weights: dict[str, np.ndarray], shape=("batch", 3, 8, 8), opset: int = 18) -> Path:
    """A file with the input ``x`` and the output ``y``."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes) for name, sizes in (("x", shape), ("y", None))]
    constants = [numpy_helper.from_array(values, name) for name, values in weights.items()]
    graph = helper.make_graph([helper.make_node(*node[:3], **node[3]) for node in nodes], "graph", ends[:1], ends[1:], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9), path)
    return path


def convolutional(path: Path) -> Path:
    """A convolution, a depthwise one whose channels differ a thousandfold, and a matrix product; no node has a name."""
    rng = np.random.default_rng(0)
    uneven = rng.normal(size=(16, 1, 3, 3)) * np.logspace(0, -3, 16).reshape(-1, 1, 1, 1)
    weights = {"w0": rng.normal(size=(16, 3, 3, 3)), "w1": uneven, "w2": rng.normal(size=(16, 32)), "b2": rng.normal(size=32)}
    # Each channel is brought back to the same size, so that the small ones matter as much.
    weights["back"] = np.logspace(0, 3, 16).reshape(1, -1, 1, 1)
    nodes = [
        ("Conv", ["x", "w0"], ["c0"], {"pads": [1, 1, 1, 1]}),
        ("Relu", ["c0"], ["r0"], {}),
        ("Conv", ["r0", "w1"], ["c1"], {"group": 16}),
        ("Mul", ["c1", "back"], ["m1"], {}),
        ("Relu", ["m1"], ["r1"], {}),
        ("GlobalAveragePool", ["r1"], ["g"], {}),
        ("Flatten", ["g"], ["f"], {}),
        ("Gemm", ["f", "w2", "b2"], ["y"], {}),
    ]
    return save(path, nodes, {name: values.astype(np.float32) for name, values in weights.items()})


def without_weights(path: Path) -> Path:
    return save(path, [("Add", ["x", "x"], ["a"], {}), ("Relu", ["a"], ["y"], {})], {})


def samples(n: int = 16, seed: int = 1) -> Samples:
    return Samples({"x": np.random.default_rng(seed).normal(size=(n, 3, 8, 8)).astype(np.float32)}, None)


def answers(path: Path, given: Samples) -> np.ndarray:
    """The output for every sample, one query each, without sums that saturate.

    Some float weights ONNX Runtime takes for int8 ones then, and fails: those files it opens as usual.
    """
    try:
        return _answers(path, given, EXACT_SUMS)
    except onnxruntime.capi.onnxruntime_pybind11_state.Fail:
        return _answers(path, given, None)


def _answers(path: Path, given: Samples, entry: tuple[str, str] | None) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if entry:
        options.add_session_config_entry(*entry)
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, given.batch(index, 1))[0] for index in range(len(given))])


def sqnr_db(path: Path, reference: Path) -> float:
    """How near a file's answers are to another's, in dB, on samples that nobody calibrated with."""
    found, wanted = answers(path, samples(seed=2)), answers(reference, samples(seed=2))
    return float(10 * np.log10((wanted**2).sum() / ((found - wanted) ** 2).sum()))


def operators(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


def types(path: Path) -> set[str]:
    """The element types of the constants."""
    return {TensorProto.DataType.Name(tensor.data_type) for tensor in onnx.load(path).graph.initializer}
