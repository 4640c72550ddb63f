"""Core ML against a stand-in for macOS, which is absent: a model of ours under coremltools' names, with a plan that tests write."""

import sys
from dataclasses import replace
from enum import Enum
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from studylib.errors import ArtifactError, RefusedError
from studylib.machine import hardware
from studylib.runtimes import RUNTIMES, Options, base, coreml, why_fallen_back
from studylib.study import plan

RUNTIME = coreml.CoreML()
MAC = hardware.Host("Darwin", "arm64", "Apple M2", (), 8, 8, 16 * 2**30, "", "", (), "24.0")


class ComputeUnit(Enum):
    ALL, CPU_AND_GPU, CPU_ONLY, CPU_AND_NE = 1, 2, 3, 4


class MLCPUComputeDevice:
    pass


class MLGPUComputeDevice:
    pass


class MLNeuralEngineComputeDevice:
    pass


class MLModel:
    """Answers ``y`` = ``x`` times the weights, in float16 as a Core ML file may, and ``m`` = ``n``; refuses what Core ML refuses."""

    def __init__(self, path, compute_units):
        self.path, self.units = path, compute_units
        self._y, self._m = np.zeros((1, 2), np.float16), np.zeros(1, np.int32)

    def get_spec(self):
        inputs, outputs = ([SimpleNamespace(name=name) for name in names] for names in (("x", "n"), ("y", "m")))
        return SimpleNamespace(description=SimpleNamespace(input=inputs, output=outputs))

    def get_compiled_model_path(self):
        return f"{self.path}c"

    def predict(self, data):
        if any(values.dtype not in (np.float32, np.int32) for values in data.values()):
            raise RuntimeError("unsupported type of a multi-array")
        if len(self._y) != len(data["x"]):
            self._y, self._m = np.zeros((len(data["x"]), 2), np.float16), np.zeros(len(data["n"]), np.int32)
        # Core ML's own memory, written again by the next query.
        self._y[:], self._m[:] = data["x"] @ np.array([[1, 2], [3, 4]]), data["n"]
        return {"y": self._y, "m": self._m, "more": 0}


def _operation(name, device, *inner):
    blocks = [SimpleNamespace(operations=list(inner))] if inner else []
    return SimpleNamespace(operator_name=name, device=device, blocks=blocks)


@pytest.fixture
def mac(monkeypatch):
    """coremltools on a Mac. ``operations`` of the file's plan may be replaced, and so may the whole ``program``."""
    machine = SimpleNamespace(operations=[_operation("const", None), _operation("ios17.conv", MLNeuralEngineComputeDevice)], asked=[])
    machine.program = lambda: SimpleNamespace(functions={"main": SimpleNamespace(block=SimpleNamespace(operations=machine.operations))})

    class MLComputePlan:
        @classmethod
        def load_from_path(cls, path, compute_units):
            machine.asked.append((path, compute_units))
            found = cls()
            found.model_structure = SimpleNamespace(program=machine.program())
            return found

        def get_compute_device_usage_for_mlprogram_operation(self, operation):
            return operation.device and SimpleNamespace(preferred_compute_device=operation.device())

    modules = {name: ModuleType(name) for name in ("coremltools", "coremltools.models", "coremltools.models.compute_plan")}
    modules["coremltools"].ComputeUnit, modules["coremltools"].models = ComputeUnit, modules["coremltools.models"]
    modules["coremltools.models"].MLModel = MLModel
    modules["coremltools.models.compute_plan"].MLComputePlan = MLComputePlan
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(base, "package_version", lambda name: "9.0")
    return machine


def _open(tmp_path, provider="cpu"):
    return RUNTIME.open(tmp_path / "model.mlpackage", Options(provider))


def _inputs(size):
    return {"x": np.arange(2 * size, dtype=np.float32).reshape(size, 2), "n": np.arange(size, dtype=np.int64)}


@pytest.mark.parametrize("size", [1, 3])
def test_it_answers_by_name_in_float32_for_every_batch_size(mac, tmp_path, size):
    inputs = _inputs(size)
    found = _open(tmp_path).run(inputs)
    assert set(found) == {"y", "m"}
    assert found["y"].dtype == np.float32
    assert np.array_equal(found["y"], inputs["x"] @ np.array([[1, 2], [3, 4]]))
    assert found["m"].tolist() == inputs["n"].tolist()


def test_an_answer_is_its_own(mac, tmp_path):
    session = _open(tmp_path)
    first = session.run(_inputs(1))
    kept = {name: values.copy() for name, values in first.items()}
    session.run({"x": np.full((1, 2), 9, np.float32), "n": np.full(1, 9, np.int64)})
    assert all(np.array_equal(first[name], kept[name]) for name in kept)


def test_wrong_inputs_are_named(mac, tmp_path):
    with pytest.raises(ArtifactError, match=r"the file has the inputs \['n', 'x'\], and \['x'\] were given"):
        _open(tmp_path).run({"x": np.zeros((1, 2), np.float32)})


@pytest.mark.parametrize(
    ("provider", "units", "name"),
    [("cpu", "CPU_ONLY", "CPU"), ("gpu", "CPU_AND_GPU", "GPU"), ("ane", "CPU_AND_NE", "Neural Engine")],
)
def test_each_provider_limits_the_compute_units(mac, tmp_path, provider, units, name):
    session = _open(tmp_path, provider)
    assert session._model.units is ComputeUnit[units]
    assert session.placement() == name


def test_the_plan_tells_what_runs_where(mac, tmp_path):
    inside = _operation("ios17.matmul", MLNeuralEngineComputeDevice), _operation("add", MLCPUComputeDevice)
    mac.operations += [_operation("ios17.conv", MLNeuralEngineComputeDevice), _operation("while_loop", MLCPUComputeDevice, *inside)]
    session = _open(tmp_path, "ane")
    assert session.nodes() == {"Neural Engine": {"conv": 2, "matmul": 1}, "CPU": {"while_loop": 1, "add": 1}}
    assert mac.asked == [(f"{tmp_path / 'model.mlpackage'}c", ComputeUnit.CPU_AND_NE)]
    assert why_fallen_back("ane", session) is None


@pytest.mark.parametrize(
    ("device", "reason"),
    [
        (MLCPUComputeDevice, "fell back: 1 of 2 nodes that compute (linear) ran on CPU, not on Neural Engine"),
        (MLGPUComputeDevice, "fell back: 1 of 2 nodes that compute (linear) ran on GPU, not on Neural Engine"),
    ],
)
def test_arithmetic_elsewhere_is_a_fall_back(mac, tmp_path, device, reason):
    mac.operations += [_operation("ios17.linear", device), _operation("upsample_bilinear", device)]
    session = _open(tmp_path, "ane")
    assert why_fallen_back("ane", session) == reason


def test_a_device_that_took_nothing_is_a_fall_back(mac, tmp_path):
    session = _open(tmp_path, "gpu")
    assert why_fallen_back("gpu", session) == "fell back: 1 of 1 nodes that compute (conv) ran on Neural Engine, not on GPU"


def test_the_cpu_needs_no_plan(mac, tmp_path):
    session = _open(tmp_path)
    assert session.nodes() == {}
    assert mac.asked == []
    assert why_fallen_back("cpu", session) is None


def _of_an_older_macos():
    raise RuntimeError("MLComputePlan is not available")


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (_of_an_older_macos, r"does not tell .* on the Neural Engine \(RuntimeError: .*\); coremltools 8 and macOS 14\.4 or newer do"),
        (lambda: None, "tells of ML programs only"),
    ],
)
def test_without_a_plan_an_accelerator_is_not_believed(mac, tmp_path, program, words):
    mac.program = program
    with pytest.raises(RefusedError, match=words):
        _open(tmp_path, "ane").nodes()


def test_an_older_coremltools_and_a_plan_that_says_nothing_are_refused(mac, tmp_path, monkeypatch):
    session = _open(tmp_path, "gpu")
    mac.operations = [_operation("const", None)]
    with pytest.raises(RefusedError, match="names no device for any operation, so nobody knows what runs on the GPU"):
        session.nodes()
    monkeypatch.setitem(sys.modules, "coremltools.models.compute_plan", None)
    with pytest.raises(RefusedError, match="coremltools 8 and macOS"):
        session.nodes()


def test_only_a_mac_runs_it(mac):
    assert [RUNTIME.why_not(provider, MAC) for provider in RUNTIME.providers] == [None, None, None]
    words = "only macOS runs Core ML, and this is Linux; the file can be timed on a Mac (make study HW=ios there)"
    assert [RUNTIME.why_not(provider, replace(MAC, system="Linux")) for provider in RUNTIME.providers] == [words] * 3


def test_conversions_are_opened_where_that_is_possible():
    """On this system the matrix only says that the file was written; on a Mac its parity is measured."""
    assert plan.OPENERS["coreml"] == "coreml"
    assert set(plan.OPENERS) == set(plan.TARGETS)
    assert all(RUNTIMES[opener].providers[0] == "cpu" for opener in plan.OPENERS.values())
