"""What every case study is: a question, ways of doing the same work, and a process in which they take turns."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from studylib.results.case_results import CaseResult


@dataclass(frozen=True)
class Wishes:
    """What was typed for a case. ``data``: the user's own folder or file, None for the case's own; ``force``: measure again."""

    hardware: str = "cpu"
    effort: str = "quick"
    data: str | None = None
    force: bool = False


@dataclass(frozen=True)
class Took:
    """One round of one way: ns of each item, of the whole round, and of each stage of each item; what was answered, by item."""

    values_ns: list[int]
    wall_ns: int
    stages_ns: dict[str, list[int]]
    answers: list


class Case(ABC):
    """``question``: what a team would ask. `run` prepares and decides; `opened` is called in the process that measures."""

    name: ClassVar[str]
    question: ClassVar[str]

    @abstractmethod
    def run(self, wishes: Wishes, write: Callable[[str], None]) -> CaseResult:
        """Do the whole case, keep what was found and return it; what is unchanged is not measured again."""

    @abstractmethod
    def opened(self, setup: dict, told: dict) -> Callable[[int], Took]:
        """One way, ready: called with the number of a round, it does the work of that round. ``told``: what all ways share."""
