"""What a process is asked to do: one frozen dataclass for each kind of job, and its plain JSON.

A job names artifacts by their keys and never by a path, so that it means the same wherever it is sent; where it runs, a
`Site` says where they lie. It lives in this row because everything that makes a job or runs one stands here or below, and
what a job holds (a load, the criteria of quality) above.
"""

import types
import typing
from abc import ABC
from dataclasses import asdict, dataclass, field, is_dataclass
from typing import Any, ClassVar

from studylib.quality.criteria import Criteria
from studylib.results.records import PLAIN
from studylib.scenarios.base import Load

# A table: what is looked up in it is named by whoever asks (`studylib.artifacts.code`).
DECIDES_NOTHING = ("KINDS",)


@dataclass(frozen=True, kw_only=True)
class Job(ABC):
    """Something that one fresh process does. ``doing`` says it in the words of an error whose cause is not known.

    ``threads``: what the process may use; None for all that its executor has. ``memory_limit_bytes``: what it may hold.
    """

    kind: ClassVar[str]
    doing: ClassVar[str]

    threads: int | None = None
    memory_limit_bytes: int | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """The artifacts that must be there, and intact, before the job begins."""
        return ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, which `from_json` turns into the same job."""
        return {"kind": self.kind} | _plain(asdict(self))

    @staticmethod
    def from_json(facts: dict[str, Any]) -> "Job":
        """The job that `to_json` described. Raises KeyError for a kind that is none, TypeError for fields that are not its own."""
        return _read(KINDS[facts["kind"]], {name: value for name, value in facts.items() if name != "kind"})


@dataclass(frozen=True, kw_only=True)
class Target:
    """An artifact to make, with all that its making needs to know. ``kind``: source, samples, reference, recipe, search, inside, packed.

    ``model``: what names it (`studylib.models.own.named`). ``needs``: keys of what must be made before. ``steps``: the recipes that
    lead to it, each with its source format and its own. ``recipe``, ``format``: what it belongs to. ``about``: the key of what it
    describes. ``lessons``: the key of what the last step learns from. ``weight``: how long it takes, in usual conversions.
    ``matrix``: whether only the matrix of formats needs it. ``calibration``, ``training``, ``n``: how many samples of each kind.
    """

    kind: str
    key: str
    model: str
    seed: int
    label: str = ""
    needs: tuple[str, ...] = ()
    steps: tuple[tuple[str, str, str], ...] = ()
    recipe: str = PLAIN
    format: str = ""
    split: str = ""
    about: str = ""
    lessons: str | None = None
    weight: float = 1
    matrix: bool = False
    calibration: int = 0
    training: int = 0
    n: int = 0
    search: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class BuildJob(Job):
    """Make ``targets`` in turn; ``failed``: the keys that are known to fail, each with its reason."""

    kind: ClassVar[str] = "build"
    doing: ClassVar[str] = "making artifacts"

    targets: tuple[Target, ...]
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ArtifactJob(Job):
    """A job about what ``artifact`` answers to ``samples``."""

    artifact: str
    samples: str

    @property
    def keys(self) -> tuple[str, ...]:
        return self.artifact, self.samples


@dataclass(frozen=True, kw_only=True)
class JudgingJob(ArtifactJob):
    """A job that holds answers against ``reference`` (the model's outputs) and ``version`` (those of what was trained of it)."""

    reference: str
    version: str
    criteria: Criteria

    @property
    def keys(self) -> tuple[str, ...]:
        return *super().keys, self.reference, self.version


@dataclass(frozen=True, kw_only=True)
class SessionJob(ArtifactJob):
    """A job that opens the artifact, which ``recipe`` made, in a runtime. ``options``: settings as text."""

    runtime: str
    provider: str
    threads: int
    options: str = ""
    recipe: str = PLAIN


@dataclass(frozen=True, kw_only=True)
class LoadJob(SessionJob):
    """A job whose queries come as ``load`` says, issued by ``driver``, after ``warmup_s`` of them."""

    load: Load
    driver: str = "loop"
    warmup_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class EvaluateJob(SessionJob, JudgingJob):
    """Quality of one artifact in one runtime. ``sizes``: of queries that are held against single answers while the session is open."""

    kind: ClassVar[str] = "evaluate"
    doing: ClassVar[str] = "evaluating"

    sizes: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CheckJob(SessionJob):
    """Whether queries of ``sizes`` are answered as single samples are."""

    kind: ClassVar[str] = "check"
    doing: ClassVar[str] = "checking batches"

    precision: str
    sizes: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class MeasureJob(LoadJob):
    """One repetition of one trial."""

    kind: ClassVar[str] = "measure"
    doing: ClassVar[str] = "measuring"


@dataclass(frozen=True, kw_only=True)
class FindRateJob(LoadJob):
    """The highest rate of queries that is answered within the latency bound of ``load``, searched for at most ``limit_s``."""

    kind: ClassVar[str] = "find_rate"
    doing: ClassVar[str] = "searching the rate"

    limit_s: float


@dataclass(frozen=True, kw_only=True)
class LocateJob(ArtifactJob):
    """Where an artifact that is not the same model begins to differ from ``source``, on one ``sample``.

    ``runtime``: where it was seen to differ.
    """

    kind: ClassVar[str] = "locate"
    doing: ClassVar[str] = "looking for the layer"

    format: str
    source: str
    source_format: str
    sample: int
    precision: str
    runtime: str

    @property
    def keys(self) -> tuple[str, ...]:
        return *super().keys, self.source


@dataclass(frozen=True, kw_only=True)
class PackJob(ArtifactJob):
    """The first ``n`` queries of a phone, as raw bytes, into the folder that the process shares with its executor."""

    kind: ClassVar[str] = "pack"
    doing: ClassVar[str] = "making a phone's queries"

    n: int
    batch_size: int


@dataclass(frozen=True, kw_only=True)
class JudgeJob(JudgingJob):
    """The evaluation of a phone's answers to the first ``n`` samples, which lie in the folder shared with the executor.

    ``elsewhere``: why the provider that was asked for did not compute them.
    """

    kind: ClassVar[str] = "judge"
    doing: ClassVar[str] = "reading a phone's answers"

    n: int
    placement: str
    elsewhere: str = ""


@dataclass(frozen=True, kw_only=True)
class JudgeBatchJob(ArtifactJob):
    """What is found of a batch of ``size`` that a phone answered, beside its samples in ``places``, each asked alone."""

    kind: ClassVar[str] = "judge_batch"
    doing: ClassVar[str] = "reading a phone's answers"

    precision: str
    size: int
    places: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class PeaksJob(Job):
    """What this host can do at most with ``threads``."""

    kind: ClassVar[str] = "peaks"
    doing: ClassVar[str] = "measuring the peaks"

    threads: int


KINDS: dict[str, type[Job]] = {
    kind.kind: kind
    for kind in (
        BuildJob, EvaluateJob, CheckJob, PackJob, JudgeJob, JudgeBatchJob, LocateJob, FindRateJob, MeasureJob, PeaksJob,
    )
}  # fmt: skip


def _plain(value):
    """Tuples as lists, as JSON has them."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, (tuple, list)) else value


def _read(wanted, value):
    """``value`` from plain JSON as the type that a field has: dataclasses and tuples, also within each other; the rest as it is."""
    if is_dataclass(wanted):
        hints = typing.get_type_hints(wanted)
        return wanted(**{name: _read(hints.get(name), inner) for name, inner in value.items()})
    if typing.get_origin(wanted) is tuple:
        inner = [kind for kind in typing.get_args(wanted) if kind is not Ellipsis]
        kinds = inner * len(value) if len(inner) == 1 else inner
        return tuple(_read(kind, one) for kind, one in zip(kinds, value, strict=True))
    if isinstance(wanted, types.UnionType) and value is not None:
        (only,) = (kind for kind in typing.get_args(wanted) if kind is not type(None))
        return _read(only, value)
    return value
