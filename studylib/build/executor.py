"""Who runs jobs, wherever that is: one contract, which `tests/contracts/test_executors.py` holds every executor to.

It lives with the jobs and not with the executors, since those who have jobs run stand in rows above them.
"""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import ClassVar, Self

from studylib.build.jobs import Job, MeasureJob
from studylib.errors import CancelledError, StudyError, TrialError

# Told each line that a job prints; may return how many seconds the next one may take.
OnLine = Callable[[str], float | None]


def unheard(line: str) -> None:
    """Nobody listens to what a job prints."""


class Member(ABC):
    """A process among others that measures a job in blocks, one whenever it is asked, and sleeps otherwise."""

    @abstractmethod
    def block(self, number: int) -> tuple[int, int]:
        """Run one block, that of the round ``number``: how many values there are by now, and the median of this block's in ns.

        Raises `TrialError`.
        """

    @abstractmethod
    def result(self) -> dict:
        """The job's result, when no more blocks are asked for. Raises `TrialError`."""


class Executor(ABC):
    """Runs one job at a time, each so that it can cost nothing but itself. A context manager that shuts down at the end.

    ``takes_turns``: whether it can also hold the processes of several jobs at once (`together`).
    """

    takes_turns: ClassVar[bool] = False

    def __init__(self):
        self._busy = self._is_cancelled = self._is_down = False

    def run(self, job: Job, timeout_s: float, on_line: OnLine = unheard) -> dict:
        """The job's result, plain JSON. Raises `TrialError` in words when it refuses, crashes, hangs or runs out of memory, and
        `CancelledError`, after which nobody tries it again, when it is cancelled.

        ``on_line`` is told each line that the job prints, and may return how many seconds the next one may take.
        """
        with self._under_way():
            return self._answer(job, timeout_s, on_line)

    @contextlib.contextmanager
    def together(self, jobs: list[MeasureJob], timeout_s: float) -> Iterator[list[Member | TrialError | None]]:
        """The processes of ``jobs``, started one after the other, all alive until the end; why one is none; None without memory for it.

        ``timeout_s``: for the start of each, and for each block. Raises `CancelledError` as `run` does.
        """
        with self._under_way(), self._holding(jobs, timeout_s) as members:
            yield members

    @contextlib.contextmanager
    def _under_way(self) -> Iterator[None]:
        """Something runs meanwhile, which may be cancelled. Raises `StudyError` after a shut-down."""
        if self._is_down:
            raise StudyError("this executor was shut down; open another one")
        self._busy, self._is_cancelled = True, False
        try:
            yield
        except Exception:
            if self._is_cancelled:
                raise CancelledError from None
            raise
        finally:
            self._busy = False
        if self._is_cancelled:
            raise CancelledError

    def _holding(self, jobs: list[MeasureJob], timeout_s: float) -> contextlib.AbstractContextManager[list[Member | TrialError | None]]:
        """Start the processes, as `together` promises."""
        raise NotImplementedError(f"{type(self).__name__} runs one process at a time")

    def cancel(self) -> None:
        """End the job that runs, if one does; its `run` raises `CancelledError`. For another thread, or for ``on_line``."""
        if self._busy:
            self._is_cancelled = True
            self._end()

    def shut_down(self) -> None:
        """End the job that runs and take no other. May be called again."""
        self._is_down = True
        self.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.shut_down()

    @abstractmethod
    def _answer(self, job: Job, timeout_s: float, on_line: OnLine) -> dict:
        """Run the job, as `run` promises."""

    @abstractmethod
    def _end(self) -> None:
        """End what runs now, wherever it runs, so that `_answer` comes back at once."""
