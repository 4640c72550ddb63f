"""The machine a study runs on: what it is, what it grants this process, and whether it is the declared one."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from studylib.errors import NotOnThisHostError
from studylib.machine import nvml

if TYPE_CHECKING:  # a measured process reads no parameters
    from studylib.params.sets import HardwareProfile

# Instruction sets that change the speed or the results of quantized arithmetic.
_TELLING_FLAGS = {
    "avx", "avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_int8", "amx_bf16",
    "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2",
}  # fmt: skip
# How a Jetson shows its GPU, which the driver of plug-in cards does not list; in a container the board's name may be hidden.
_JETSON_NAMES = ("Jetson", "Orin")
_JETSON_DEVICES = (Path("/dev/nvhost-gpu"), Path("/dev/nvgpu"))
# Where the driver lists its GPUs; not in every container, nor under Windows' own Linux.
_GPUS = Path("/proc/driver/nvidia/gpus")

# Instructions that multiply int8 and add in one step, without saturating on the way; and those that tell an x86 processor.
INT8_PRODUCTS = frozenset(("avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"))
X86 = frozenset(("avx", "avx2", "avx512f"))


@dataclass(frozen=True)
class Host:
    """Facts read from the machine that is measured.

    ``threads``: what affinity and container quota grant. ``nvidia_gpu``: models of the visible GPUs, empty without one.
    ``unreached``: why this is not the device that was to be reached from here, and what to do; empty where none was.
    """

    system: str
    machine: str
    processor: str
    isa: tuple[str, ...]
    cpus: int
    threads: int
    memory_bytes: int
    device_tree: str
    nvidia_gpu: str
    usb_vendors: tuple[str, ...]
    kernel: str
    unreached: str = ""

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits that name this kind of machine, as far as it changes measurements."""
        facts = {key: value for key, value in asdict(self).items() if key not in ("usb_vendors", "kernel", "unreached")}
        facts["memory_bytes"] = round(self.memory_bytes / 2**30)  # the kernel's own share varies from boot to boot
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def saturates_int8(self) -> bool:
        """Whether this is an x86 processor that multiplies int8 and adds pairs in 16 bits, having no instruction for 32."""
        return bool(X86.intersection(self.isa)) and not INT8_PRODUCTS.intersection(self.isa)

    def describe(self) -> str:
        memory_gib = self.memory_bytes / 2**30
        gpu = f", GPU {self.nvidia_gpu}" if self.nvidia_gpu else ""
        return f"{self.processor}, {self.threads} of {self.cpus} threads, {memory_gib:.0f} GiB{gpu}, {self.system} {self.machine}"


def probe() -> Host:
    """Read the facts of this machine. Reads files only; starts no process and no framework."""
    import psutil

    cpuinfo = _text("/proc/cpuinfo")
    return Host(
        system="Android" if hasattr(sys, "getandroidapilevel") else platform.system(),
        machine=platform.machine(),
        processor=field(cpuinfo, "model name", "Model") or platform.processor() or platform.machine(),
        isa=instruction_sets(cpuinfo),
        cpus=os.cpu_count() or 1,
        threads=granted_threads(),
        memory_bytes=_granted_memory(psutil.virtual_memory().total),
        device_tree=_text("/proc/device-tree/model").strip("\0\n"),
        nvidia_gpu=", ".join(field(_text(path), "Model") for path in sorted(_GPUS.glob("*/information"))) or nvml.models(),
        usb_vendors=tuple(sorted({_text(path).strip() for path in Path("/sys/bus/usb/devices").glob("*/idVendor")})),
        kernel=platform.release(),
    )


def instruction_sets(cpuinfo: str) -> tuple[str, ...]:
    """The telling instruction sets in the text of ``/proc/cpuinfo``, in order."""
    return tuple(sorted(set(field(cpuinfo, "flags", "Features").split()) & _TELLING_FLAGS))


def granted_threads() -> int:
    """Threads this process may use: its affinity, cut by a container's CPU quota (cgroup v2 or v1)."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, period = [*_text("/sys/fs/cgroup/cpu.max").split(), "max", "100000"][:2]
    if quota == "max":
        quota = _text("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").strip() or "-1"
        period = _text("/sys/fs/cgroup/cpu/cpu.cfs_period_us").strip() or "100000"
    return max(1, min(affinity, int(quota) // int(period))) if int(quota) > 0 else affinity


def mismatches(profile: HardwareProfile, host: Host) -> list[str]:
    """Why this host is not the declared hardware, in words; empty when it is (``native``)."""
    wanted, reasons = profile.host, [host.unreached] if profile.reached_by and host.unreached else []
    if wanted.systems and host.system not in wanted.systems:
        reasons.append(f"the system is {host.system}, not {' or '.join(wanted.systems)}")
    if wanted.machines and host.machine not in wanted.machines:
        reasons.append(f"the architecture is {host.machine}, not {' or '.join(wanted.machines)}")
    if wanted.device_tree and wanted.device_tree not in host.device_tree:
        reasons.append(f"the board's name holds no '{wanted.device_tree}'")
    if wanted.gpu and not host.nvidia_gpu:
        reasons.append("no NVIDIA GPU is visible")
    if wanted.usb_vendor and wanted.usb_vendor not in host.usb_vendors:
        reasons.append(f"no USB device of vendor {wanted.usb_vendor} is plugged in")
    # The kernel keeps some memory for itself; a board of the next smaller size has half.
    if profile.memory_bytes and host.memory_bytes < 0.75 * profile.memory_bytes:
        reasons.append(f"{host.memory_bytes / 1e9:.1f} GB of memory are granted, not {profile.memory_bytes / 1e9:.1f} GB")
    if profile.threads and host.threads < profile.threads:
        reasons.append(f"{host.threads} threads are granted, not {profile.threads}")
    return reasons


def is_jetson(host: Host) -> bool:
    """Whether the host is one of NVIDIA's Jetson boards."""
    return any(name in host.device_tree for name in _JETSON_NAMES) or any(path.exists() for path in _JETSON_DEVICES)


def why_no_nvidia_gpu(host: Host) -> str | None:
    """Why nothing can compute on an NVIDIA GPU here, or None as far as files tell."""
    return None if host.nvidia_gpu or is_jetson(host) else "no NVIDIA GPU is visible; its driver must be installed"


def require_native(profile: HardwareProfile, host: Host) -> None:
    """Raise `NotOnThisHostError` unless this host is the declared hardware (``STRICT=1``)."""
    reasons = mismatches(profile, host)
    if reasons:
        raise NotOnThisHostError(
            f"STRICT=1: this machine is not '{profile.name}' ({profile.title}): {'; '.join(reasons)}. "
            "Nothing was run. Run on that hardware, or without STRICT=1 for a rehearsal."
        )


def _granted_memory(total_bytes: int) -> int:
    limit = _text("/sys/fs/cgroup/memory.max").strip()
    return min(total_bytes, int(limit)) if limit.isdigit() else total_bytes


def _text(path: str | Path) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def field(text: str, *names: str) -> str:
    """The value behind the first ``name:`` of these in a text of the kernel; empty without one."""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in names:
            return value.strip()
    return ""
