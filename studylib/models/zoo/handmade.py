"""An ONNX graph built node by node: the format in a dozen lines, and a known answer for every runtime that reads ONNX."""

import itertools
from pathlib import Path

import numpy as np

from studylib.models.zoo.base import Model, Samples

WEIGHT = np.array([[1, -1, 0.5], [0, 2, -0.5], [-1, 0.25, 1], [0.5, 0, -2]], np.float32)
BIAS = np.array([0.1, -0.2, 0.3], np.float32)


class Handmade(Model):
    """Four numbers to three: ``scores = relu(x @ WEIGHT + BIAS)``, written with ``onnx.helper`` and computable by hand."""

    name = "handmade"
    task = "other"
    weights = "by hand"
    data = "synthetic"
    inputs = {"x": (4,)}
    packages = ("onnx", "numpy")
    test_samples = 200
    source_format = "onnx"

    def write(self, folder: Path, seed: int) -> Path:
        return save(folder / "model.onnx")

    def samples(self, split: str, n: int, seed: int) -> Samples:
        rng = np.random.default_rng([seed, split == "train"])
        return Samples({"x": rng.standard_normal((n, 4)).astype(np.float32)}, labels=None)


def show_handmade() -> str:
    """The graph in ONNX's own text form, for people to read."""
    import onnx

    return onnx.printer.to_text(graph())


def answer(x: np.ndarray, more: float = 0.0) -> np.ndarray:
    """What the graph must answer, in numpy."""
    return np.maximum(x @ WEIGHT + (BIAS + np.float32(more)), 0)


def save(path: Path, more: float = 0.0) -> Path:
    """Write the model, with ``more`` added to its bias: versions of it whose answers differ."""
    import onnx

    onnx.save(graph(more=more), path)
    return path


def graph(opset: int = 18, more: float = 0.0):
    """The model: inputs and outputs with types and shapes, weights as initializers, nodes in order. Source: ``onnx.helper``."""
    from onnx import TensorProto, checker, helper, numpy_helper

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 3])
    nodes = [
        helper.make_node("MatMul", ["x", "weight"], ["product"], name="product"),
        helper.make_node("Add", ["product", "bias"], ["sum"], name="sum"),
        helper.make_node("Relu", ["sum"], ["scores"], name="scores"),
    ]
    weights = [numpy_helper.from_array(WEIGHT, "weight"), numpy_helper.from_array(BIAS + np.float32(more), "bias")]
    model = helper.make_model(
        helper.make_graph(nodes, "handmade", [x], [scores], weights), opset_imports=[helper.make_opsetid("", opset)], ir_version=10
    )
    checker.check_model(model, full_check=True)
    return model


def save_deep(path: Path, layers: int) -> Path:
    """Write a model that takes its time: 512 numbers, multiplied ``layers`` times by the same 512x512 matrix, a rotation."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rotation, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((512, 512)))
    names = ["x", *(f"turned_{number}" for number in range(1, layers)), "turned"]
    nodes = [helper.make_node("MatMul", [before, "rotation"], [after]) for before, after in itertools.pairwise(names)]
    ends = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 512])] for name in ("x", "turned")]
    made = helper.make_graph(nodes, "deep", *ends, [numpy_helper.from_array(rotation.astype(np.float32), "rotation")])
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    return path


def save_picture(path: Path) -> Path:
    """Write a model that takes pictures of 224x224x3 floats and does next to nothing: the mean of each channel."""
    import onnx
    from onnx import TensorProto, helper

    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 224, 224, 3])
    mean = helper.make_tensor_value_info("mean", TensorProto.FLOAT, ["batch", 3])
    node = helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1, 2], keepdims=0)
    made = helper.make_model(
        helper.make_graph([node], "picture", [image], [mean]), opset_imports=[helper.make_opsetid("", 17)], ir_version=10
    )
    onnx.save(made, path)
    return path
