"""Memory of this process in bytes, now, at its peak, and at its peak between two moments."""

import contextlib
import sys
from pathlib import Path

from studylib.machine import sysfs

_GROUP = Path("/sys/fs/cgroup")
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def memory() -> dict[str, int]:
    """Resident and virtual memory now and at its peak: ``rss``, ``vms``, ``rss_peak``, ``vms_peak``."""
    told = _told("VmRSS:", "VmSize:", "VmHWM:", "VmPeak:")
    if told is None:
        import resource

        import psutil

        now, unit = psutil.Process().memory_info(), 1 if sys.platform == "darwin" else 1024
        told = now.rss, now.vms, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, now.vms
    return dict(zip(("rss", "vms", "rss_peak", "vms_peak"), told, strict=True))


def memory_at(moment: str) -> dict[str, int]:
    """``rss_<moment>`` and ``vms_<moment>``."""
    now = memory()
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


def _told(*names: str) -> tuple[int, ...] | None:
    """What Linux says under ``names``, in bytes; None on other systems."""
    try:
        text = _STATUS.read_text()
    except OSError:
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
