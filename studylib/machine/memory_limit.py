"""A limit on what a measured process may hold in memory, so that what would not fit a smaller machine fails here too.

Two ways, the first that works: a control group of its own (cgroup v2, where this user may make one), which counts what is
really resident; otherwise ``RLIMIT_DATA``. ``RLIMIT_AS`` is of no use: TensorFlow reserves 2.6 GB of addresses to hold 0.9 GB.
See docs/decisions/0016.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from studylib.machine import sysfs

# A thread's stack is counted whole when the thread begins, and little of it is ever touched.
_STACK_BYTES = 8 * 2**20


def why_too_large(found: dict, limit_bytes: int | None) -> str:
    """Why what was measured would not run in ``limit_bytes``, in words; empty when it fits."""
    if limit_bytes is None or (peak := found["memory_bytes"]["rss_peak"]) <= limit_bytes:
        return ""
    return f"needs more than the declared {limit_bytes / 1e6:.0f} MB of memory: {peak / 1e6:.0f} MB at its peak"


@contextlib.contextmanager
def group(limit_bytes: int, root: Path = sysfs.ROOT) -> Iterator[Path | None]:
    """A control group that holds ``limit_bytes`` and does not swap, removed at the end; None where none can be made."""
    parent = _parent(root)
    folder = parent / f"studylib-{os.getpid()}" if parent else None
    try:
        if folder:
            folder.mkdir()
            (folder / "memory.max").write_text(str(limit_bytes))
            if (folder / "memory.swap.max").exists():
                (folder / "memory.swap.max").write_text("0")
    except OSError:
        # Allowed by the look of it, refused by the kernel: the process's own limit does it then.
        _remove(folder)
        folder = None
    try:
        yield folder
    finally:
        _remove(folder)


def enter(folder: str) -> bool:
    """Move this process into the control group; whether that worked."""
    try:
        (Path(folder) / "cgroup.procs").write_text(str(os.getpid()))
    except OSError:
        return False
    return True


def limit_data(limit_bytes: int, threads: int) -> int | None:
    """Let this process hold ``limit_bytes`` from here on, by ``RLIMIT_DATA``; returns the number set, None where it cannot be.

    The kernel counts writable addresses, touched or not. Called after the framework is imported: what is reserved and not touched by
    then is allowed on top, and so are the stacks of two thread pools.
    """
    if sys.platform != "linux":
        return None  # macOS accepts the limit and enforces nothing
    import resource

    told = sysfs.table(Path("/proc/self/status"), ":")
    data, touched = (1024 * int(told[name].split()[0]) for name in ("VmData", "RssAnon"))
    allowed = limit_bytes + max(0, data - touched) + 2 * threads * _STACK_BYTES
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        allowed = min(allowed, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (allowed, hard))
    return allowed


def _parent(root: Path) -> Path | None:
    """The nearest cgroup v2 group in which this user may make one, going outwards only past groups that limit nothing themselves."""
    for folder in cgroups_of_memory(root):
        if "memory" in sysfs.text(folder / "cgroup.subtree_control").split() and os.access(folder / "cgroup.procs", os.W_OK):
            return folder if os.access(folder, os.W_OK) else None
        limits = [sysfs.text(folder / name).split() for name in ("memory.max", "memory.high", "cpu.max")]
        if any(limit and limit[0] != "max" for limit in limits) or sysfs.text(folder / "cpuset.cpus"):
            return None  # outside of it, this limit would be escaped
    return None


def cgroups_of_memory(root: Path) -> list[Path]:
    """This process's groups where memory is cgroup v2's business; none where v1 holds it."""
    folders = sysfs.cgroups("memory", root)
    return folders if folders and (folders[0] / "cgroup.procs").exists() and not (folders[0] / "memory.limit_in_bytes").exists() else []


def _remove(folder: Path | None) -> None:
    if folder:
        with contextlib.suppress(OSError):  # a process that is being killed holds it a moment longer: an empty group costs nothing
            folder.rmdir()
