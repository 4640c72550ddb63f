"""NVIDIA's own readings, from a library that answers as NVML does: the package is real on a machine with a GPU only."""

import os
from types import SimpleNamespace

import pytest

from studylib.machine import nvml


def _status(ns):
    return SimpleNamespace(referenceTime=1, violationTime=ns)


def _between(gpu_tells, first, second, provider="cuda"):
    gpu_tells(**first)
    before = nvml.sensors(provider)
    gpu_tells(**second)
    return nvml.disturbances(before, nvml.sensors(provider))


def test_heat_and_the_power_limit_are_shares_of_the_time(gpu_tells, monkeypatch):
    ticks = iter([5_000, 15_000])
    monkeypatch.setattr(nvml.time, "monotonic_ns", lambda: next(ticks))
    first = {"ViolationStatus": lambda policy: _status(100 if policy == "thermal" else 0), "ClockInfo": 1980, "Temperature": 40}
    second = {"ViolationStatus": lambda policy: _status(2_600 if policy == "thermal" else 9_000), "ClockInfo": 1755, "Temperature": 71}
    assert _between(gpu_tells, first, second) == {
        "gpu_heat_share": 0.25,
        "gpu_power_share": 0.9,
        "gpu_temperature_max_c": 71,
        "gpu_clock_min_hz": 1.755e9,
        "gpu_clock_max_hz": 1.98e9,
    }


def test_a_card_that_does_not_tell_limits_nothing(gpu_tells):
    """Each question may be refused by itself: what is known stays."""
    assert _between(gpu_tells, {"Temperature": 40}, {"Temperature": 41}) == {"gpu_temperature_max_c": 41}


@pytest.mark.parametrize("provider", ["cpu", "openvino", "dla"])
def test_what_computes_elsewhere_is_not_asked(gpu_tells, provider):
    gpu_tells(Temperature=40)
    assert nvml.sensors(provider) == {}


def test_without_the_package_nothing_is_read_and_it_is_said(no_nvml):
    assert nvml.device() == (None, "what the GPU tells needs the package nvidia-ml-py")
    assert nvml.sensors("cuda") == {}
    assert nvml.disturbances({}, {}) == {}
    assert (nvml.models(), nvml.driver()) == ("", "")


@pytest.mark.parametrize(
    ("wanted", "handle"), [("2", ("index", 2)), ("1,0", ("index", 1)), ("GPU-af01", ("uuid", "GPU-af01")), (None, ("index", 0))]
)
def test_the_gpu_is_the_one_that_cuda_sees(gpu_tells, monkeypatch, wanted, handle):
    gpu_tells()
    if wanted:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", wanted)
    assert nvml.device()[0].handle == handle


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_hidden_gpus_are_not_read(gpu_tells, monkeypatch, hidden):
    gpu_tells()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert nvml.device() == (None, f"CUDA_VISIBLE_DEVICES={hidden} hides every GPU")


def test_the_models_are_asked_for_only_where_a_driver_is(gpu_tells, monkeypatch, tmp_path):
    gpu_tells()
    monkeypatch.setattr(nvml, "_DEVICES", (tmp_path / "nvidiactl",))
    assert nvml.models() == ""
    (tmp_path / "nvidiactl").touch()
    assert nvml.models() == "NVIDIA H100, NVIDIA H100, NVIDIA H100"
    assert nvml.driver() == "580.1"


def _processes(*memory_by_pid):
    return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in memory_by_pid]


def test_the_gpus_memory_is_that_of_this_process(gpu_tells):
    gpu_tells(ComputeRunningProcesses=_processes((1, 700), (os.getpid(), 500)))
    assert nvml.memory("cuda") == {"gpu_memory": 500}
    assert nvml.memory("cpu") == {}


def test_in_a_container_a_process_alone_on_the_gpu_is_taken_for_this_one(gpu_tells):
    gpu_tells(ComputeRunningProcesses=_processes((1, 700)))
    assert nvml.memory("tensorrt") == {"gpu_memory": 700}
    gpu_tells(ComputeRunningProcesses=_processes((1, 700), (2, 300)))
    assert nvml.memory("tensorrt") == {}
    gpu_tells(ComputeRunningProcesses=_processes((1, None)))
    assert nvml.memory("tensorrt") == {}
    gpu_tells()
    assert nvml.memory("tensorrt") == {}
