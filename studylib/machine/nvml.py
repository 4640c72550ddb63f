"""What an NVIDIA GPU tells of itself. Source: NVML by way of the package nvidia-ml-py (``pynvml``)."""

import contextlib
import functools
import importlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

# Providers that compute on an NVIDIA GPU. Its DLA is no part of NVML: there a board's sensor tells, or nothing does.
PROVIDERS = ("cuda", "tensorrt")
# How the driver shows itself: on Linux, and under Windows' own Linux.
_DEVICES = (Path("/dev/nvidiactl"), Path("/dev/dxg"))


@dataclass(frozen=True)
class Device:
    """The GPU that this process computes on: the first that ``CUDA_VISIBLE_DEVICES`` leaves. ``library``: ``pynvml``."""

    library: object
    handle: object
    name: str

    def ask(self, question: str, *arguments):
        """The answer of a function of NVML (its name without ``nvmlDeviceGet``), or None where this GPU or driver has none."""
        with contextlib.suppress(self.library.NVMLError):
            return getattr(self.library, f"nvmlDeviceGet{question}")(self.handle, *arguments)
        return None


@functools.cache
def device() -> tuple[Device | None, str]:
    """The GPU and why there is none, in words."""
    try:
        library = importlib.import_module("pynvml")
    except ImportError:
        return None, "what the GPU tells needs the package nvidia-ml-py"
    try:
        library.nvmlInit()
        count = library.nvmlDeviceGetCount()
        wanted = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
        if not count or wanted in ("", "-1"):
            return None, "NVML sees no GPU" if not count else f"CUDA_VISIBLE_DEVICES={wanted} hides every GPU"
        if wanted.isdigit():
            return Device(library, library.nvmlDeviceGetHandleByIndex(int(wanted)), f"gpu{wanted}"), ""
        return Device(library, library.nvmlDeviceGetHandleByUUID(wanted), wanted), ""
    except library.NVMLError as error:
        return None, f"the GPU cannot be asked: {error}"


def models() -> str:
    """The models of the GPUs that NVML sees, where the driver is there; empty without one or without nvidia-ml-py."""
    if not any(path.exists() for path in _DEVICES):
        return ""
    found, _ = device()
    if not found:
        return ""
    handles = [found.library.nvmlDeviceGetHandleByIndex(index) for index in range(found.library.nvmlDeviceGetCount())]
    return ", ".join(_words(found.library.nvmlDeviceGetName(handle)) for handle in handles)


def driver() -> str:
    """The version of the driver; empty where it cannot be asked."""
    found, _ = device()
    return _words(found.library.nvmlSystemGetDriverVersion()) if found else ""


def sensors(provider: str) -> dict:
    """Clock, heat and slow-downs of the GPU that ``provider`` computes on; empty for others.

    ``gpu_slowed_ns``: time since the driver was loaded in which heat, and in which the power limit, held the clock down.
    """
    found = device()[0] if provider in PROVIDERS else None
    if not found:
        return {}
    library = found.library
    clock, heat = found.ask("ClockInfo", library.NVML_CLOCK_SM), found.ask("Temperature", library.NVML_TEMPERATURE_GPU)
    policies = {"heat": library.NVML_PERF_POLICY_THERMAL, "power": library.NVML_PERF_POLICY_POWER}
    slowed = {cause: found.ask("ViolationStatus", policy) for cause, policy in policies.items()}
    told = {
        "gpu_clock_hz": 1e6 * clock if clock is not None else None,
        "gpu_temperature_c": heat,
        "gpu_slowed_ns": {cause: status.violationTime for cause, status in slowed.items() if status is not None},
        "gpu_read_ns": time.monotonic_ns(),
    }
    return {name: value for name, value in told.items() if value not in (None, {})}


def memory(provider: str) -> dict[str, int]:
    """``gpu_memory``: bytes of the GPU's memory that this process holds, its pools included; empty where NVML does not tell.

    In a container NVML names processes as the host does; then a process that is alone on the GPU is taken for this one.
    """
    found = device()[0] if provider in PROVIDERS else None
    running = (found.ask("ComputeRunningProcesses") if found else None) or []
    ours = [process for process in running if process.pid == os.getpid()] or (running if len(running) == 1 else [])
    return {"gpu_memory": int(ours[0].usedGpuMemory)} if ours and ours[0].usedGpuMemory else {}


def disturbances(before: dict, after: dict) -> dict:
    """What happened to the GPU between two readings of `sensors`: shares of the time, the hottest, the clocks seen."""
    if "gpu_read_ns" not in before or "gpu_read_ns" not in after:
        return {}
    passed, found = max(1, after["gpu_read_ns"] - before["gpu_read_ns"]), {}
    for cause, last in after.get("gpu_slowed_ns", {}).items():
        first = before.get("gpu_slowed_ns", {}).get(cause)
        if first is not None:
            found[f"gpu_{cause}_share"] = min(1.0, max(0, last - first) / passed)
    for name, ends in _ENDS.items():
        seen = [reading[name] for reading in (before, after) if name in reading]
        found |= {end: choose(seen) for end, choose in ends.items()} if seen else {}
    return found


_ENDS = {"gpu_temperature_c": {"gpu_temperature_max_c": max}, "gpu_clock_hz": {"gpu_clock_min_hz": min, "gpu_clock_max_hz": max}}


def _words(told) -> str:
    return told.decode() if isinstance(told, bytes) else told
