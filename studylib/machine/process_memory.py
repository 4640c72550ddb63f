"""Memory of this process in bytes, now, at its peak, and at its peak between two moments."""

import contextlib
import ctypes
import sys
from dataclasses import dataclass
from pathlib import Path

from studylib.machine import sysfs

_GROUP = Path("/sys/fs/cgroup")
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
# glibc's names in malloc.h: from which size an allocation gets pages of its own (at most 32 MiB), and how much that is free is kept.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_OWN_PAGES_BYTES, _KEPT_BYTES = 32 << 20, 256 << 20


def memory(process: int | None = None) -> dict[str, int]:
    """Resident and virtual memory now and at its peak: ``rss``, ``vms``, ``rss_peak``, ``vms_peak``; of ``process`` with its children.

    The peaks of several processes are added up: together they may never have been so large.
    """
    if process is not None:
        return _of_tree(process)
    told = _told("VmRSS:", "VmSize:", "VmHWM:", "VmPeak:")
    if told is None:
        import resource

        import psutil

        now, unit = psutil.Process().memory_info(), 1 if sys.platform == "darwin" else 1024
        told = now.rss, now.vms, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, now.vms
    return dict(zip(("rss", "vms", "rss_peak", "vms_peak"), told, strict=True))


def memory_at(moment: str, process: int | None = None) -> dict[str, int]:
    """``rss_<moment>`` and ``vms_<moment>``, of another ``process`` with its children."""
    now = memory(process)
    return {f"{kind}_{moment}": now[kind] for kind in ("rss", "vms")}


def resident() -> tuple[int, int | None]:
    """(resident now, highest since the process began or the mark was lowered); the second None where the system does not tell it."""
    told = _told("VmRSS:", "VmHWM:")
    if told is None:
        import psutil

        return psutil.Process().memory_info().rss, None
    return told


def resident_of(process: int) -> int:
    """The resident memory of another process in bytes; 0 when it has ended."""
    import psutil

    try:
        return psutil.Process(process).memory_info().rss
    except psutil.NoSuchProcess:
        return 0


def free_bytes() -> int:
    """Memory that processes may still take, in bytes: of the machine, or of the container where that has less."""
    import psutil

    free = psutil.virtual_memory().available
    limit, used = sysfs.number(_GROUP / "memory.max"), sysfs.number(_GROUP / "memory.current")
    return free if limit is None or used is None else min(free, max(0, int(limit - used)))


def _of_tree(process: int) -> dict[str, int]:
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        first = psutil.Process(process)
        names = ("VmRSS:", "VmSize:", "VmHWM:", "VmPeak:")
        told = [_told(*names, status=Path(f"/proc/{one.pid}/status")) for one in (first, *first.children(recursive=True))]
        if all(told):
            return dict(zip(("rss", "vms", "rss_peak", "vms_peak"), map(sum, zip(*told, strict=True)), strict=True))
    found = usage_of(process)
    return {"rss": found.rss, "vms": found.vms, "rss_peak": found.rss, "vms_peak": found.vms}


def _told(*names: str, status: Path = _STATUS) -> tuple[int, ...] | None:
    """What Linux says of a process under ``names``, in bytes; None on other systems, and of a process that has ended."""
    try:
        text = status.read_text()
    except OSError:
        return None
    if any(name not in text for name in names):
        return None
    # Read at the begin and end of what is recorded, and so without looking at every line.
    return tuple(int(text.partition(name)[2].split(maxsplit=1)[0]) * 1024 for name in names)


def lower_mark() -> bool:
    """Set the kernel's high-water mark of this process to what is resident now; whether that was possible."""
    with contextlib.suppress(OSError):
        # "5" resets the peak alone (Linux, proc_pid_clear_refs(5)).
        _CLEAR.write_text("5")
        return True
    return False


def keep_freed_memory() -> bool:
    """Let this process keep what it frees, up to 256 MiB, and not hand it back to the system; whether its C library can (glibc).

    A message of 600 kB that is made, sent and freed costs the system hundreds of fresh pages each time: 1.3 ms of the 1.4 ms that making
    it takes. Source: mallopt(3).
    """
    try:
        told = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or Windows
        return False
    return bool(told(_M_MMAP_THRESHOLD, _OWN_PAGES_BYTES) and told(_M_TRIM_THRESHOLD, _KEPT_BYTES))


class PeakMemory:
    """Peaks of several spans that may overlap, from the one high-water mark that the kernel keeps. The caller takes turns with a lock."""

    def __init__(self):
        self._peaks: dict[object, int | None] = {}
        self._floors: dict[object, int] = {}

    def begin(self, span) -> int:
        """Start ``span``; what is resident now."""
        now, high = resident()
        self._see(high)
        lowered = high is not None and lower_mark()
        # A mark that could not be lowered tells something only once it has risen.
        self._floors[span] = 0 if lowered or high is None else high
        self._peaks[span] = now if lowered else None
        return now

    def end(self, span) -> tuple[int, int | None]:
        """End ``span``: what is resident now, and its peak, None where that cannot be known."""
        now, high = resident()
        self._see(high)
        self._floors.pop(span)
        peak = self._peaks.pop(span)
        return now, None if peak is None else max(peak, now)

    def _see(self, high: int | None) -> None:
        for span, floor in self._floors.items():
            if high is not None and high > floor:
                self._peaks[span] = max(high, self._peaks[span] or 0)


@dataclass(frozen=True)
class Usage:
    """Memory in bytes and processor seconds of a process with all that it started."""

    rss: int
    vms: int
    cpu_s: float


def usage_of(process: int) -> Usage:
    """What a process and its children have used by now; nothing of those that have ended meanwhile."""
    import psutil

    rss, vms, cpu_s = 0, 0, 0.0
    with contextlib.suppress(psutil.NoSuchProcess):
        first = psutil.Process(process)
        for one in [first, *first.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                memory, times = one.memory_info(), one.cpu_times()
                rss, vms, cpu_s = rss + memory.rss, vms + memory.vms, cpu_s + times.user + times.system
    return Usage(rss, vms, cpu_s)
