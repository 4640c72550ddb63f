"""Small models whose answers are known, in versions that differ, and servers of them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from studylib.runtimes.signature import Signature, TensorSpec
from studylib.serving.clients import Address
from tests import ROOT

SIGNATURE = Signature(
    (TensorSpec("x", "float32", (None, 3)), TensorSpec("k", "int64", (None,))),
    (TensorSpec("y", "float32", (None, 3)), TensorSpec("n", "int64", (None,))),
)


def write(folder: Path, version: int = 1) -> Path:
    """A version that answers ``y = x + version`` and ``n = 2 k``; the folder appears whole."""
    added = numpy_helper.from_array(np.array([version], np.float32), "added")
    twice = numpy_helper.from_array(np.array([2], np.int64), "twice")
    nodes = [helper.make_node("Add", ["x", "added"], ["y"]), helper.make_node("Mul", ["k", "twice"], ["n"])]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", 3]), helper.make_tensor_value_info("k", TensorProto.INT64, ["b"])]
    outputs = [
        helper.make_tensor_value_info("y", TensorProto.FLOAT, ["b", 3]),
        helper.make_tensor_value_info("n", TensorProto.INT64, ["b"]),
    ]
    graph = helper.make_graph(nodes, "served", inputs, outputs, [added, twice])
    writing = folder / f".writing-{version}"
    writing.mkdir(parents=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), writing / "model.onnx")
    return writing.rename(folder / str(version))


def query(size: int = 1, seed: int = 0) -> dict[str, np.ndarray]:
    noise = np.random.default_rng(seed)
    return {"x": noise.normal(size=(size, 3)).astype(np.float32), "k": noise.integers(-9, 9, size)}


def answers(inputs: dict[str, np.ndarray], version: int = 1) -> dict[str, np.ndarray]:
    return {"y": inputs["x"] + np.float32(version), "n": 2 * inputs["k"]}


class Served:
    """A server of a folder of versions in a process of its own. ``words``: what it is told besides; ``started``: how, by Python."""

    def __init__(self, folder: Path, *words: str, started: Sequence[str] = ("-m", "studylib.serving.own")):
        told = ["--model", "m", "--runtime", "onnxruntime", "--rest-port", "0", "--grpc-port", "0", "--with-parent", *words]
        self.process = subprocess.Popen(
            [sys.executable, *started, str(folder), *told],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(self.process.stderr.read())
        self.ready = json.loads(line)
        self._said: list[str] = []
        self._reader = threading.Thread(target=lambda: self._said.extend(self.process.stderr), daemon=True)
        self._reader.start()
        self.address = Address("127.0.0.1", {"rest": self.ready["rest"], "grpc": self.ready["grpc"]}, "m")

    @property
    def said(self) -> str:
        return "".join(self._said)

    def end(self) -> int:
        """Its exit status after a polite request to end."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(30)
        finally:
            self.process.kill()
            self._reader.join(5)

    def __enter__(self) -> "Served":
        return self

    def __exit__(self, *_) -> None:
        self.end()


def awaited(what, seconds: float = 20.0):
    """The first true value of ``what()``."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            found = what()
            if found:
                return found
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds:g} s")
