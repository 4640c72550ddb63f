"""A child process of ours: how it is begun, followed, ended, and what its last words mean."""

import contextlib
import json
import math
import os
import selectors
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from studylib.build.executor import OnLine
from studylib.errors import Kind, OutputError, TrialError
from studylib.params.paths import root

# So often it is looked whether a process that says nothing is still there.
_LOOK_S = 1.0


class Children:
    """The processes that are waited for, so that another thread can end them."""

    def __init__(self):
        self._lock = threading.Lock()
        self._processes: list[subprocess.Popen] = []
        self.is_killed = False

    def renew(self) -> None:
        """Wait for processes again after `kill`."""
        self.is_killed = False

    @contextlib.contextmanager
    def holding(self, process: subprocess.Popen) -> Iterator[None]:
        """Holds a process that leads a session, and ends it with all of its group, whatever made us leave."""
        with self._lock:
            self._processes.append(process)
        if self.is_killed:
            self.kill()
        try:
            yield
        finally:
            with self._lock:
                self._processes.remove(process)
            end(process)

    def kill(self) -> None:
        """End the processes that are held, and the next one at once."""
        self.is_killed = True
        with self._lock:
            for process in self._processes:
                if process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)


def environment(threads: int) -> dict[str, str]:
    """A child's environment: threads explicit for every library, frameworks quiet, our own sources importable."""
    path = os.pathsep.join(filter(None, [str(root()), os.environ.get("PYTHONPATH")]))
    counts = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    return os.environ | counts | {"PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONUNBUFFERED": "1"}


def follow(process: subprocess.Popen, timeout_s: float, on_line: OnLine) -> deque[str]:
    """Sleep until the process closes its output, hand each line on, keep the last. Raises TimeoutExpired with the limit that was met.

    A process that has ended is not waited for, although one that it started may hold its output open.
    """
    deadline, tail = time.monotonic() + timeout_s, deque(maxlen=40)
    quiet_until, quiet_s = math.inf, timeout_s
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            remaining = min(deadline, quiet_until) - time.monotonic()
            if remaining <= 0:
                raise subprocess.TimeoutExpired(process.args, quiet_s if quiet_until < deadline else timeout_s)
            if not selector.select(min(remaining, _LOOK_S)):
                if process.poll() is not None:
                    break
                continue
            chunk = os.read(process.stdout.fileno(), 65536)
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                tail.append(line.decode(errors="replace"))
                seconds = on_line(tail[-1])
                quiet_until, quiet_s = (math.inf, timeout_s) if seconds is None else (time.monotonic() + seconds, seconds)
            if not chunk:
                break
    process.wait(max(1.0, deadline - time.monotonic()))
    return tail


def end(process: subprocess.Popen) -> None:
    """Kill a process that leads a session with all of its group, whatever made us leave, and collect it."""
    with contextlib.suppress(ProcessLookupError):  # it ended by itself, as it should
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()


def read_result(process: subprocess.Popen, path: Path, tail: deque[str]) -> dict:
    """What a job's process, which has ended, left at ``path``. Raises `TrialError` where it refused or failed."""
    if process.returncode != 0 or not path.exists():
        raise failure(process.returncode, tail)
    found = json.loads(path.read_text(encoding="utf-8"))
    if "refused" in found:
        raise TrialError(found["refused"], Kind(found["kind"]))
    return found


def too_long(seconds: float) -> TrialError:
    return TrialError(f"timeout: no answer within {seconds:g} s; the process was killed", Kind.TIMEOUT)


def failure(returncode: int, tail: deque[str]) -> Exception:
    """The last words of a process that failed, as a row can show them."""
    last = next((line.strip() for line in reversed(tail) if line.strip()), "no message")
    if returncode < 0:
        name = signal.Signals(-returncode).name
        hint = " (often: out of memory)" if name == "SIGKILL" else ""
        return TrialError(f"crash: the process was killed by {name}{hint}", Kind.CRASH)
    # A library that ends the process, and an interpreter without memory, leave their words and nothing else.
    if returncode == os.EX_IOERR:
        return OutputError(last)
    if "No space left on device" in last:
        return OutputError(last.split(": ", 1)[-1])
    if last.startswith("MemoryError"):
        return TrialError(f"out of memory: {last}", Kind.OUT_OF_MEMORY)
    return TrialError(f"error: {last.removeprefix('studylib.errors.')}")
