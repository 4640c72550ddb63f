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
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from studylib.artifacts.store import output_error, write_text
from studylib.errors import OutputError, TrialError
from studylib.machine import memory_limit
from studylib.params import root

# Told each line; may return how many seconds the next one may take.
OnLine = Callable[[str], float | None]


class LocalExecutor:
    """One process at a time. ``threads`` is what the job may use; its processors are fixed when that is fewer than granted."""

    def __init__(self, threads: int):
        self.threads = threads
        granted = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self.cpus = granted[:threads] if threads < len(granted) else None

    def run(self, job: dict, timeout_s: float, on_line: OnLine = lambda line: None) -> dict:
        """The job's result. Raises `TrialError` in words when the process crashes, hangs or reports an error.

        ``on_line`` is told each line that the job prints, and may return how many seconds the next one may take.
        """
        with job_folder() as folder, _memory_group(job) as group:
            job_path, result_path = Path(folder) / "job.json", Path(folder) / "result.json"
            write_text(job_path, json.dumps(job | group | {"cpus": self.cpus, "spawned_ns": time.perf_counter_ns()}))
            process = subprocess.Popen(
                [sys.executable, "-m", "studylib.measure.worker", job_path, result_path],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=self.environment(job.get("threads", self.threads)),
                cwd=folder,
                start_new_session=True,
            )
            try:
                tail = follow(process, timeout_s, on_line)
            except subprocess.TimeoutExpired as error:
                raise TrialError(f"timeout: no answer within {error.timeout:g} s; the process was killed") from None
            finally:
                end(process)
            if process.returncode != 0 or not result_path.exists():
                raise _failure(process.returncode, tail)
            found = json.loads(result_path.read_text(encoding="utf-8"))
            if "refused" in found:
                raise TrialError(found["refused"])
            return found

    def environment(self, threads: int) -> dict[str, str]:
        """The child's environment: threads explicit for every library, frameworks quiet, our own sources importable."""
        path = os.pathsep.join(filter(None, [str(root()), os.environ.get("PYTHONPATH")]))
        counts = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
        return os.environ | counts | {"PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONUNBUFFERED": "1"}


def job_folder() -> tempfile.TemporaryDirectory:
    try:
        return tempfile.TemporaryDirectory(prefix="studylib-")
    except OSError as error:
        raise output_error(Path(tempfile.gettempdir()), error) from None


@contextlib.contextmanager
def _memory_group(job: dict) -> Iterator[dict]:
    """The control group that holds a job to its ``memory_limit_bytes``, as the job is told of it; none where none can be made."""
    limit = job.get("memory_limit_bytes")
    with memory_limit.group(limit) if limit else contextlib.nullcontext() as folder:
        yield {"memory_group": str(folder)} if folder else {}


def follow(process: subprocess.Popen, timeout_s: float, on_line: OnLine) -> deque[str]:
    """Sleep until the process closes its output, hand each line on, keep the last. Raises TimeoutExpired with the limit that was met."""
    deadline, tail = time.monotonic() + timeout_s, deque(maxlen=40)
    quiet_until, quiet_s = math.inf, timeout_s
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            remaining = min(deadline, quiet_until) - time.monotonic()
            if remaining <= 0 or not selector.select(remaining):
                raise subprocess.TimeoutExpired(process.args, quiet_s if quiet_until < deadline else timeout_s)
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
        return TrialError(f"crash: the process was killed by {name}{hint}")
    if last.startswith("studylib.errors.OutputError:") or "No space left on device" in last:
        return OutputError(last.split(": ", 1)[-1])
    if last.startswith("MemoryError"):
        return TrialError(f"out of memory: {last}")
    return TrialError(f"error: {last.removeprefix('studylib.errors.')}")
