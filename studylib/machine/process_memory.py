"""Resident memory of this process in bytes, and its peak between two moments."""

import contextlib
from pathlib import Path

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident() -> tuple[int, int | None]:
    """(resident now, highest since the process began or the mark was lowered); the second None where the system does not tell it."""
    try:
        text = _STATUS.read_text()
    except OSError:
        import psutil

        return psutil.Process().memory_info().rss, None
    # Read at the begin and end of what is recorded, and so without looking at every line.
    now, high = (int(text.partition(name)[2].split(maxsplit=1)[0]) * 1024 for name in ("VmRSS:", "VmHWM:"))
    return now, high


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
