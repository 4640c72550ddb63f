"""Which queries of several samples are still to be held against single answers, and the jobs that do it."""

from collections.abc import Iterable
from dataclasses import replace

from studylib.build.executor import Executor
from studylib.build.jobs import CheckJob
from studylib.errors import TrialError
from studylib.machine.clock import is_tried_again
from studylib.quality.batch_check import unlike
from studylib.results.records import Trial
from studylib.results.results import Results
from studylib.results.states import reason_of


def unseen(results: Results, trials: Iterable[Trial]) -> dict[tuple[str, str], tuple[Trial, list[int]]]:
    """By evaluation and settings, which open a session alike: a trial, and the sizes of query that nobody looked at there yet."""
    found: dict[tuple[str, str], tuple[Trial, list[int]]] = {}
    for trial in trials:
        for size, finding in results.checks(trial).items():
            if finding is None or is_tried_again(reason_of(finding), finding.get("failed_at", "")):
                _, sizes = found.setdefault((trial.evaluation_id, trial.options), (trial, []))
                sizes += [] if size in sizes else [size]
    return found


def findings(executor: Executor, job: CheckJob, timeout_s: float) -> list[dict]:
    """What is found of each size of the job (see `studylib.quality.batch_check`). One that ends its process costs only itself."""
    try:
        return executor.run(job, timeout_s)["batches"]
    except TrialError as error:
        if len(job.sizes) > 1:
            return [finding for size in job.sizes for finding in findings(executor, replace(job, sizes=(size,)), timeout_s)]
        return [{"queries": 0, "distinct": 0} | unlike(job.sizes[0], str(error), error.kind)]
