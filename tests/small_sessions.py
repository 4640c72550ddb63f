"""Sessions that answer quickly: one that sleeps, and a real one."""

import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from studylib.models.zoo import Samples
from studylib.runtimes import RUNTIMES, Options, Session


class Sleeper(Session):
    """Answers after ``seconds`` of the machine's clock, remembers what it was asked, and fails where told."""

    def __init__(self, seconds: float = 0.001, fails=()):
        self.seconds, self.fails, self.asked = seconds, fails, []

    def run(self, inputs):
        self.asked.append({name: values.copy() for name, values in inputs.items()})
        time.sleep(self.seconds)
        if len(self.asked) - 1 in self.fails:
            raise RuntimeError("planted:\n  no answer")
        return {"y": inputs["x"]}

    def placement(self):
        return "asleep"


def tiny_session(folder: Path) -> SimpleNamespace:
    """A real ONNX Runtime session of some 100 µs (four products of 256 x 256) and samples for it."""

    from onnx import TensorProto, helper, numpy_helper, save

    rng = np.random.default_rng(1)
    weights = [numpy_helper.from_array(rng.standard_normal((256, 256)).astype(np.float32) / 16, f"w{layer}") for layer in range(4)]
    nodes = [helper.make_node("MatMul", [f"x{layer}" if layer else "x", f"w{layer}"], [f"x{layer + 1}"]) for layer in range(4)]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 256]) for name in ("x", "x4")]
    graph = helper.make_graph(nodes, "tiny", [ends[0]], [ends[1]], weights)
    path = folder / "tiny.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    session = RUNTIMES["onnxruntime"].open(path, Options(threads=1))
    return SimpleNamespace(session=session, path=path, samples=Samples({"x": rng.standard_normal((12, 256)).astype(np.float32)}, None))
