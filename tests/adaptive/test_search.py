"""Real searches of a small model: short, and from a trace that was cut or whose process was killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from studylib.adaptive import FORMATS, Budget, SearchTask, search, sensitivity
from studylib.adaptive.profits import noise_power
from studylib.errors import RefusedError, UnknownNameError
from studylib.models.zoo import Samples
from studylib.quality.answers import stacked
from tests import ROOT
from tests.adaptive.small_models import samples, small_onnx, write_onnx

STATIC = "static_wi8_ai8"


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return small_onnx(tmp_path_factory.mktemp("model") / "small.onnx")


@pytest.fixture(scope="module")
def held_back(model) -> Samples:
    unlabelled = samples(24, 2)
    return Samples(unlabelled.inputs, reference(model, unlabelled)["scores"][:, 0].argmax(1))


def reference(path: Path, of: Samples) -> dict[str, np.ndarray]:
    return stacked(FORMATS["onnx"].open(path, 1), of)


def searched(model, held_back, folder: Path, budget=None, limit_s=6.0, task="classification", **changes):
    facts = {"calibration": samples(8, 1), "reference": reference(model, held_back), "format": "onnx"} | changes
    asked = SearchTask(path=model, held_back=held_back, kind=task, scratch=folder, **facts)
    return search(asked, budget or Budget(None, 25.0), limit_s, 1, folder / "trace.jsonl", 1)


def test_sensitivity_ranks_layers_by_what_each_costs(model, held_back, tmp_path):
    seen = []
    task = SearchTask(
        model, "onnx", samples(8, 1), held_back, reference(model, held_back), "classification", tmp_path, seen.append
    )  # fmt: skip
    rows = sensitivity(task)
    assert {row["layer"] for row in rows} == {"first/Conv", "second/Conv", "head/Gemm"} and len(seen) == 3
    assert [row["alone_quantized"]["sqnr_db"] for row in rows] == sorted(row["alone_quantized"]["sqnr_db"] for row in rows)
    everything = min(row["alone_float"]["sqnr_db"] for row in rows)
    assert all(20 < row["alone_quantized"]["sqnr_db"] < 80 and row["alone_quantized"]["sqnr_db"] > everything - 3 for row in rows)
    assert all(set(row["alone_float"]) == {"sqnr_db", "loss"} and row["precision"] == STATIC for row in rows)
    assert not list(tmp_path.iterdir())


def test_noise_of_layers_nearly_adds_up(model, held_back, tmp_path):
    """What the search's first model takes for true: within a factor of four."""
    rows = sensitivity(SearchTask(model, "onnx", samples(8, 1), held_back, reference(model, held_back), "other", tmp_path))
    alone = {row["layer"]: noise_power(row["alone_quantized"]["sqnr_db"]) for row in rows}
    for row in rows:
        together = noise_power(row["alone_float"]["sqnr_db"])
        assert 1 / 4 < together / sum(noise for name, noise in alone.items() if name != row["layer"]) < 4


def test_a_search_keeps_within_the_budget_and_says_what_it_did(model, held_back, tmp_path):
    seen = []
    found = searched(model, held_back, tmp_path, on_step=seen.append)
    assert found.within_budget and found.steps == seen and found.stopped_by
    assert {"all fp32", "all dynamic_wi8_afp32", "all static_wi8_ai8"} <= {step["what"] for step in found.steps}
    assert found.assignment.facts["why"] == found.why and "times fp32's speed" in found.why
    assert found.faster == bool(found.assignment.layers)
    if found.faster:
        assert found.assignment.facts["ratio"]["ratio_low"] > 1
    found.assignment.save(tmp_path / "a.json")
    timed = [step for step in found.steps if "ratio" in step]
    assert all(step["ratio_low"] <= step["ratio"] <= step["ratio_high"] and step["rounds"] >= 7 and step["seconds"] > 0 for step in timed)


def test_a_budget_that_nothing_can_meet(model, held_back, tmp_path):
    found = searched(model, held_back, tmp_path, Budget(None, float("inf")), reference=reference(model, samples(24, 9)))
    assert not found.within_budget and found.stopped_by == "nothing meets the budget"
    assert found.why.startswith("over the budget: no assignment meets it, not even fp32; this one comes nearest")
    found.assignment.save(tmp_path / "a.json")


def test_a_trace_that_was_cut_goes_on_where_it_was(model, held_back, tmp_path):
    first = searched(model, held_back, tmp_path)
    lines = (tmp_path / "trace.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "trace.jsonl").write_bytes(b"".join(lines[:5]) + lines[5][:20])
    again = searched(model, held_back, tmp_path)
    # Their seconds are the first search's own: they were read, not measured anew.
    assert again.steps[:4] == first.steps[:4]
    assert json.loads((tmp_path / "trace.jsonl").read_text().splitlines()[1]) == first.steps[0]


def test_a_finished_search_is_not_repeated(model, held_back, tmp_path):
    first = searched(model, held_back, tmp_path)
    begun = time.perf_counter()
    again = searched(model, held_back, tmp_path)
    assert again.steps == first.steps and again.assignment.layers == first.assignment.layers
    assert time.perf_counter() - begun < max(2.0, sum(step["seconds"] for step in first.steps))


def test_other_inputs_begin_anew(model, held_back, tmp_path):
    first = searched(model, held_back, tmp_path, limit_s=1.0)
    again = searched(model, held_back, tmp_path, limit_s=1.0, calibration=samples(8, 77))
    assert again.steps[0] != first.steps[0]


_KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.adaptive.test_search import *
model = Path(sys.argv[2])
inputs = samples(24, 2)
searched(model, Samples(inputs.inputs, reference(model, inputs)["scores"][:, 0].argmax(1)), Path(sys.argv[3]), limit_s=60)
"""


def test_a_killed_search_goes_on_where_it_was(model, held_back, tmp_path):
    trace = tmp_path / "trace.jsonl"
    arguments = [sys.executable, "-c", _KILLED, str(ROOT), str(model), str(tmp_path)]
    child = subprocess.Popen(arguments, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
    deadline = time.monotonic() + 60
    while not (trace.exists() and trace.read_bytes().count(b"\n") > 4) and time.monotonic() < deadline and child.poll() is None:
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    before = [json.loads(line) for line in trace.read_bytes().splitlines(keepends=True)[1:] if line.endswith(b"\n")]
    assert len(before) >= 4
    found = searched(model, held_back, tmp_path, limit_s=6.0)
    assert found.steps[:4] == before[:4] and found.within_budget


def test_what_a_search_refuses(model, held_back, tmp_path):
    with pytest.raises(RefusedError, match="8 of 24 held-back samples are calibration samples as well"):
        same = Samples({"image": held_back.inputs["image"][:8]}, None)
        searched(model, held_back, tmp_path, calibration=same)
    with pytest.raises(RefusedError, match="calibration samples are empty"):
        searched(model, held_back, tmp_path, calibration=samples(0, 1))
    with pytest.raises(UnknownNameError, match=r"Unknown format 'tflit'\. Known: onnx, openvino, tflite\. Did you mean 'tflite'"):
        searched(model, held_back, tmp_path, format="tflit")
    nothing = write_onnx(tmp_path / "relu.onnx", [("Relu", ["image"], ["scores"], "r", {})], {}, ("scores", 3, 12, 12))
    with pytest.raises(RefusedError, match=r"relu\.onnx has no operator that can be quantized"):
        searched(nothing, samples(8, 2), tmp_path, task="other", reference=reference(nothing, samples(8, 2)))
