"""A stand-in for NVIDIA's NVML."""

import sys
from types import SimpleNamespace

import pytest

from studylib.machine import nvml

_QUESTIONS = ("ClockInfo", "Temperature", "ViolationStatus", "TotalEnergyConsumption", "ComputeRunningProcesses")


@pytest.fixture
def no_nvml(monkeypatch):
    """The package nvidia-ml-py is not there."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    nvml.device.cache_clear()
    yield
    nvml.device.cache_clear()


@pytest.fixture
def gpu_tells(monkeypatch):
    """Three GPUs, of which NVML tells what is given: a value, or a function of the question's argument; the rest it refuses."""

    class Refused(Exception):
        pass

    def tell(**answers):
        def ask(question):
            def answer(handle, *arguments):
                if question not in answers:
                    raise Refused("Not Supported")
                told = answers[question]
                return told(*arguments) if callable(told) else told

            return answer

        library = SimpleNamespace(
            NVMLError=Refused, NVML_CLOCK_SM="sm", NVML_TEMPERATURE_GPU="gpu", NVML_PERF_POLICY_THERMAL="thermal",
            NVML_PERF_POLICY_POWER="power", nvmlInit=lambda: None, nvmlSystemGetDriverVersion=lambda: "580.1",
            nvmlDeviceGetCount=lambda: 3, nvmlDeviceGetName=lambda handle: b"NVIDIA H100",
            nvmlDeviceGetHandleByIndex=lambda index: ("index", index), nvmlDeviceGetHandleByUUID=lambda uuid: ("uuid", uuid),
            **{f"nvmlDeviceGet{question}": ask(question) for question in _QUESTIONS},
        )  # fmt: skip
        monkeypatch.setitem(sys.modules, "pynvml", library)
        nvml.device.cache_clear()

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    yield tell
    nvml.device.cache_clear()
