"""A study whose jobs run in this process: for tests of what is converted, judged and told, where a process is not the point."""

import contextlib
import io
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from unittest import mock

from studylib.artifacts.store import Store
from studylib.build.executor import Executor, OnLine
from studylib.build.jobs import Job
from studylib.build.site import Site
from studylib.errors import Kind, TrialError
from studylib.measure import worker
from studylib.params.efforts import EFFORTS
from studylib.report import report
from studylib.results.results import Results
from studylib.study.opening import open_study
from studylib.study.study import Study
from tests.planted_peaks import plant_peaks


class InProcess(Executor):
    """Runs a job where it stands."""

    def __init__(self, store: Store, given: dict):
        super().__init__()
        self.store, self.given = store, given

    def _answer(self, job: Job, timeout_s: float, on_line: OnLine) -> dict:
        for key in job.keys:
            self.store.checked(key)
        site = Site(store=str(self.store.folder), given=self.given, spawned_ns=time.perf_counter_ns())
        job = Job.from_json(json.loads(json.dumps(job.to_json())))
        with contextlib.redirect_stdout(_Lines(on_line)), _threads_as_they_are():
            found = json.loads(json.dumps(worker.answered(job, site)))
        if "refused" in found:
            raise TrialError(found["refused"], Kind(found["kind"]))
        return found

    def _end(self) -> None:
        """A job that runs where it stands cannot be ended."""


@contextlib.contextmanager
def _threads_as_they_are():
    """TensorFlow takes the number of its threads once a process, before it first computes."""
    with contextlib.ExitStack() as stack:
        if "tensorflow" in sys.modules:
            threading = sys.modules["tensorflow"].config.threading
            for name in ("set_intra_op_parallelism_threads", "set_inter_op_parallelism_threads"):
                stack.enter_context(mock.patch.object(threading, name))
        yield


class _Lines(io.StringIO):
    def __init__(self, on_line):
        super().__init__()
        self._on_line = on_line

    def write(self, text: str) -> int:
        for line in text.splitlines():
            self._on_line(line)
        return len(text)


def study_of(outputs: Path, *models, **choice) -> Study:
    """A smoke study of ``models`` on this machine. Its results go to ``outputs``; nothing of it starts a process, trainings aside."""
    with mock.patch.dict(os.environ, {"STUDYLIB_OUTPUTS": str(outputs)}):
        study = open_study("cpu", "smoke", models=tuple(map(str, models)), write=lambda line: None, **choice)
        study = replace(study, given_executor=InProcess(study.store, study.plan.given))
        assert study.store.folder.parent == outputs.resolve()  # looked up once, while the variable is set
    return study


def timed_shortly():
    """While this holds, a smoke study takes no longer than it must."""
    shortest = {"min_values": 20, "min_duration_s": 0.01, "max_duration_s": 0.5, "warmup_s": 0.01, "further_s": 0.0}
    return mock.patch.dict(EFFORTS, {"smoke": replace(EFFORTS["smoke"], **shortest)})


def measured(outputs: Path, *models, **choice) -> Results:
    """What a study of ``models`` finds, timed for as short as it goes, with its report."""
    study = study_of(outputs, *models, **choice)
    plant_peaks(outputs)
    with timed_shortly():
        study.measure()
    report.build(study.results)
    return study.results
