"""A job held to the memory that the declared hardware has, and what it means when it fails there."""

from dataclasses import replace

from studylib.build.executor import Executor
from studylib.build.jobs import MeasureJob
from studylib.errors import Kind, TrialError
from studylib.machine.memory_limit import why_too_large


def run_within(limit_bytes: int | None, executor: Executor, job: MeasureJob, timeout_s: float) -> dict:
    """The result of ``job``, held to ``limit_bytes``; raises `TrialError`.

    Runtimes say "could not create a primitive" when they mean memory. So what fails under the limit runs once more without it:
    what fails then as well had another cause, and what passes is judged by the peak it reaches.
    """
    if limit_bytes is None:
        return executor.run(job, timeout_s)
    try:
        return executor.run(replace(job, memory_limit_bytes=limit_bytes), timeout_s)
    except TrialError as error:
        if error.kind is Kind.TIMEOUT:
            raise
        found = executor.run(job, timeout_s)
        too_large = why_too_large(found, limit_bytes)
        if too_large:
            raise TrialError(f"{too_large}; held to it, it ended with: {error}", Kind.OUT_OF_MEMORY) from None
        return found | {"disturbances": found["disturbances"] | {"failed_under_memory_limit": str(error)}}
