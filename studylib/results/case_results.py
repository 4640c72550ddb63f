"""What a case study found, as it lies on disk: raw times of every way of doing the same work, and what each answered."""

import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path

from studylib.results.records import unsealed, write_sealed

log = logging.getLogger(__name__)

_FOLDER = "cases"


@dataclass(frozen=True)
class Way:
    """One way of doing the work of a case. ``what``: how it differs from the one before, in words; ``setup``: how it was done.

    ``rounds``: ns of each item (a picture, a recording, a frame) by round; ``wall_ns``: of each whole round; ``stages_ns``: the median of
    each stage by round. ``answers``: of each item, as the case has them. ``reason``: why there are no numbers; empty where there are.
    """

    name: str
    what: str
    setup: dict = field(default_factory=dict)
    rounds: tuple[tuple[int, ...], ...] = ()
    wall_ns: tuple[int, ...] = ()
    stages_ns: dict[str, tuple[int, ...]] = field(default_factory=dict)
    answers: list = field(default_factory=list)
    reason: str = ""


@dataclass(frozen=True)
class CaseResult:
    """``tried``: the runtimes and precisions that were tried, all beside each other; ``story``: the steps from the plainest way on.

    ``facts``: what the items are, and what was asked. ``mismatches``: why it is a rehearsal; none where the host is the declared hardware.
    """

    case: str
    question: str
    hardware: str
    host: str
    mismatches: tuple[str, ...]
    effort: str
    measured_at: str
    facts: dict
    tried: tuple[Way, ...] = ()
    story: tuple[Way, ...] = ()


def write(folder: Path, result: CaseResult) -> Path:
    """Keep it below the results ``folder`` of its hardware set, in place of what was there."""
    path = folder / _FOLDER / f"{result.case}.json"
    write_sealed(path, asdict(result))
    return path


def read(folder: Path, case: str) -> CaseResult | None:
    """What was kept; None where there is nothing, or nothing whole, which is said."""
    path = folder / _FOLDER / f"{case}.json"
    try:
        record = unsealed(path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
    try:
        ways = {kind: tuple(_way(one) for one in record[kind]) for kind in ("tried", "story")}
        return CaseResult(**{**record, **ways, "mismatches": tuple(record["mismatches"])})
    except (TypeError, KeyError):
        log.warning("%s is damaged; `make case CASE=%s` makes it again.", path.name, case)
        return None


def _way(record: dict) -> Way:
    rounds = tuple(tuple(one) for one in record["rounds"])
    stages = {name: tuple(values) for name, values in record["stages_ns"].items()}
    return Way(**{**record, "rounds": rounds, "wall_ns": tuple(record["wall_ns"]), "stages_ns": stages})
