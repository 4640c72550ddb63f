"""Runs jobs on this machine, each in a fresh process, and sleeps meanwhile."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

from studylib.artifacts.store import Store, output_error, write_text
from studylib.build.executor import Executor, Member, OnLine
from studylib.build.jobs import Job, MeasureJob
from studylib.build.site import Site
from studylib.errors import CancelledError, TrialError
from studylib.executors.child import Children, environment, follow, read_result, too_long
from studylib.executors.taking_turns import taking_turns
from studylib.machine import memory_limit


class LocalExecutor(Executor):
    """One process at a time, or several that take turns.

    ``threads`` is what a job may use; its processors are fixed when that is fewer than granted.
    ``store`` holds the artifacts that jobs name by their keys; the hash of each is checked here, once, before the first process that
    needs it is started. ``given``: where lies what the user gave (see `Site`).
    """

    takes_turns: ClassVar[bool] = True

    def __init__(self, threads: int, store: Store, given: dict[str, Any] | None = None):
        super().__init__()
        self.threads, self.store, self.given = threads, store, given or {}
        self._children, self._exchange = Children(), None
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
        self._children.renew()
        if self._is_cancelled:
            raise CancelledError
        with self._started(job) as (process, result_path):
            try:
                tail = follow(process, timeout_s, on_line)
            except subprocess.TimeoutExpired as error:
                raise too_long(error.timeout) from None
            return read_result(process, result_path, tail)

    @contextlib.contextmanager
    def _holding(self, jobs: list[MeasureJob], timeout_s: float) -> Iterator[list[Member | TrialError | None]]:
        self._children.renew()
        with contextlib.ExitStack() as stack:
            yield taking_turns([lambda job=job: stack.enter_context(self._started(job, takes_turns=True)) for job in jobs], timeout_s)

    @contextlib.contextmanager
    def _started(self, job: Job, takes_turns: bool = False) -> Iterator[tuple[subprocess.Popen, Path]]:
        """The process of a job, and where its result will lie; it is ended when we leave."""
        for key in job.keys:
            self.store.checked(key)
        with job_folder() as folder, _memory_group(job) as group:
            given_path, result_path = Path(folder) / "given.json", Path(folder) / "result.json"
            place = {"store": str(self.store.folder.resolve()), "given": self.given, "cpus": self.cpus, "exchange": self._exchange}
            site = Site(**place, memory_group=group, spawned_ns=time.perf_counter_ns(), takes_turns=takes_turns)
            write_text(given_path, json.dumps({"job": job.to_json(), "site": asdict(site)}))
            process = subprocess.Popen(
                [sys.executable, "-m", "studylib.measure.worker", given_path, result_path],
                stdin=subprocess.PIPE if takes_turns else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment(self.threads if job.threads is None else job.threads),
                cwd=folder,
                start_new_session=True,
            )
            with self._children.holding(process):
                yield process, result_path

    def _end(self) -> None:
        self._children.kill()


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
