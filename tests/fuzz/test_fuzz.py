"""A short fuzz on every change, and the judge itself: what it must not let pass, planted."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests import ROOT
from tests.fuzz import independent, judging
from tests.fuzz.drawn import Drawn

pytestmark = pytest.mark.slow

_CLOSING = re.compile(r"(\d+) models in .* (\d+) ok rows and (\d+) batches; 0 crashes, 0 models with something wrong")


@pytest.mark.slow
def test_drawn_models_go_in_or_are_refused_in_words_and_no_ok_is_false():
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--count", "12", "--processes", "1"], capture_output=True, text=True, timeout=1200, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    models, confirmed, batches = map(int, _CLOSING.search(done.stdout).groups())
    assert models == 12
    assert confirmed > 20
    assert batches > 5


def _baked(path: Path) -> Drawn:
    """A file that says its batch is dynamic and answers the first sample only."""
    weight = numpy_helper.from_array(np.random.default_rng(1).normal(size=(6, 3)).astype(np.float32), "w")
    first = [numpy_helper.from_array(np.array(values, np.int64), name) for name, values in (("from", [0]), ("to", [1]))]
    nodes = [helper.make_node("Slice", ["x", "from", "to", "from"], ["one"]), helper.make_node("MatMul", ["one", "w"], ["y"])]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size]) for name, size in (("x", 6), ("y", 3))]
    graph = helper.make_graph(nodes, "baked", [ends[0]], [ends[1]], [weight, *first])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return Drawn(path, "onnx", "a batch that answers once")


def test_a_batch_that_answers_once_is_never_ok(tmp_path):
    verdict = judging.judge(0, _baked(tmp_path / "baked.onnx"), tmp_path / "outputs", recipes=("fp32",))
    assert verdict.wrong == []
    assert verdict.states["ok"] >= 1
    assert verdict.states["failed"] >= 1
    assert any("batch" in reason for reason in verdict.reasons)


def test_the_judge_sees_a_wrong_ok(tmp_path, monkeypatch):
    def turned(path):
        answer = independent.onnx(path)
        return lambda inputs: [values[..., ::-1] for values in answer(inputs)]

    monkeypatch.setattr(independent, "artifact", lambda path, format, raw: turned(path))
    verdict = judging.judge(0, _baked(tmp_path / "baked.onnx"), tmp_path / "outputs", recipes=("fp32",), batches=(1,))
    assert any("its framework says" in text for text in verdict.wrong)


@pytest.mark.parametrize(
    ("reason", "raw"),
    [
        ("evaluating: the shape is odd (RuntimeError)", True),
        ("[ONNXRuntimeError] : 1 : FAIL", True),
        ("/tmp/x/model.onnx is odd", True),
        ("two\nlines", True),
        ("no path from onnx to tflite: `make converters` brings one", False),
        ("parity: SQNR 3.1 dB against the source model; fp32 needs 60 dB", False),
    ],
)
def test_raw_words_are_told_from_ours(reason, raw):
    assert bool(judging._RAW.search(reason)) is raw
