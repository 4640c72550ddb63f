"""Runs jobs on this machine, each in a fresh process, and sleeps meanwhile."""

import contextlib
import json
import math
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from studylib.artifacts.store import Store, output_error, write_text
from studylib.build.executor import Executor, OnLine
from studylib.build.jobs import Job
from studylib.build.site import Site
from studylib.errors import CancelledError, Kind, OutputError, TrialError
from studylib.machine import memory_limit
from studylib.params import root

# So often it is looked whether a process that says nothing is still there.
_LOOK_S = 1.0


class LocalExecutor(Executor):
    """One process at a time. ``threads`` is what the job may use; its processors are fixed when that is fewer than granted.

    ``store`` holds the artifacts that jobs name by their keys; the hash of each is checked here, once, before the first process that
    needs it is started. ``given``: where lies what the user gave (see `Site`).
    """

    def __init__(self, threads: int, store: Store, given: dict[str, Any] | None = None):
        super().__init__()
        self.threads, self.store, self.given = threads, store, given or {}
        self._child, self._exchange = Child(), None
        granted = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self.cpus = granted[:threads] if threads < len(granted) else None

    def run_beside(self, exchange: str, job: Job, timeout_s: float) -> dict:
        """`run`, where the process finds the folder ``exchange`` at its site: for what passes between it and another executor."""
        self._exchange = exchange
        try:
            return self.run(job, timeout_s)
        finally:
            self._exchange = None

    def _answer(self, job: Job, timeout_s: float, on_line: OnLine) -> dict:
        self._child.renew()
        if self._is_cancelled:
            raise CancelledError
        for key in job.keys:
            self.store.checked(key)
        with job_folder() as folder, _memory_group(job) as group:
            given_path, result_path = Path(folder) / "given.json", Path(folder) / "result.json"
            place = {"store": str(self.store.folder.resolve()), "given": self.given, "cpus": self.cpus, "exchange": self._exchange}
            site = Site(**place, memory_group=group, spawned_ns=time.perf_counter_ns())
            write_text(given_path, json.dumps({"job": job.to_json(), "site": asdict(site)}))
            process = subprocess.Popen(
                [sys.executable, "-m", "studylib.measure.worker", given_path, result_path],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment(self.threads if job.threads is None else job.threads),
                cwd=folder,
                start_new_session=True,
            )
            try:
                with self._child.holding(process):
                    tail = follow(process, timeout_s, on_line)
            except subprocess.TimeoutExpired as error:
                raise TrialError(f"timeout: no answer within {error.timeout:g} s; the process was killed", Kind.TIMEOUT) from None
            if process.returncode != 0 or not result_path.exists():
                raise _failure(process.returncode, tail)
            found = json.loads(result_path.read_text(encoding="utf-8"))
            if "refused" in found:
                raise TrialError(found["refused"], Kind(found["kind"]))
            return found

    def _end(self) -> None:
        self._child.kill()


class Child:
    """The process that is waited for, so that another thread can end it."""

    def __init__(self):
        self._lock = threading.Lock()
        self._process: subprocess.Popen | None = None
        self.is_killed = False

    def renew(self) -> None:
        """Wait for processes again after `kill`."""
        self.is_killed = False

    @contextlib.contextmanager
    def holding(self, process: subprocess.Popen) -> Iterator[None]:
        """Holds a process that leads a session, and ends it with all of its group, whatever made us leave."""
        with self._lock:
            self._process = process
        if self.is_killed:
            self.kill()
        try:
            yield
        finally:
            with self._lock:
                self._process = None
            end(process)

    def kill(self) -> None:
        """End the process that is held, or the next one at once."""
        self.is_killed = True
        with self._lock:
            if self._process is not None and self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)


def environment(threads: int) -> dict[str, str]:
    """A child's environment: threads explicit for every library, frameworks quiet, our own sources importable."""
    path = os.pathsep.join(filter(None, [str(root()), os.environ.get("PYTHONPATH")]))
    counts = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    return os.environ | counts | {"PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONUNBUFFERED": "1"}


def job_folder() -> tempfile.TemporaryDirectory:
    try:
        return tempfile.TemporaryDirectory(prefix="studylib-")
    except OSError as error:
        raise output_error(Path(tempfile.gettempdir()), error) from None


@contextlib.contextmanager
def _memory_group(job: Job) -> Iterator[str | None]:
    """The control group that holds a job to its ``memory_limit_bytes``; None where it has none, or none can be made."""
    limit = job.memory_limit_bytes
    with memory_limit.group(limit) if limit else contextlib.nullcontext() as folder:
        yield str(folder) if folder else None


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


def _failure(returncode: int, tail: deque[str]) -> Exception:
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
