"""What was advised, as facts and in words."""

from dataclasses import dataclass, fields

from studylib.errors import Reason
from studylib.results.records import Trial
from studylib.verdicts.projects import Project
from studylib.wording import plain

# Runners-up that are spelled out; the others are counted.
_SHOWN = 5
_HELD = "a limit is kept only if the unfavourable end of the 95 % interval keeps it"


@dataclass(frozen=True)
class Configuration:
    """What to set. ``options``: settings of the runtime that differ from its defaults. ``label`` names it in tables."""

    model: str
    runtime: str
    provider: str
    recipe: str
    threads: int
    batch_size: int
    options: str
    label: str
    trial_id: str

    @property
    def words(self) -> str:
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        options = self.options or "the runtime's defaults"
        return f"{self.runtime}, provider {self.provider}, recipe {self.recipe}, {threads}, batch {self.batch_size}, {options}"


@dataclass(frozen=True)
class RunnerUp:
    """A configuration that was not advised, and why."""

    configuration: Configuration
    reason: str


@dataclass(frozen=True)
class Unmet:
    """A limit that stands in the way, with the configuration that comes ``nearest`` to it and how far that is over, in words."""

    limit: str
    nearest: Configuration
    reason: str


@dataclass(frozen=True)
class Advice:
    """What to set for one model. ``configuration`` is None when nothing is advised, and ``reason`` says why.

    That is so in every rehearsal, where nothing was timed, where nothing keeps every limit (``unmet`` says which), and where a machine
    that was not fit to measure does not show which is fastest. What is advised is the fastest for one sample at the smallest batch;
    ``projects`` says what to choose where something else counts. ``caveats``: the first line, on what the numbers stand, and what is
    unfinished. ``notes``: numbers of what is advised, and what must be known beside it. ``known``: what a rehearsal tells all the same.
    """

    model: str
    caveats: tuple[str, ...]
    limits: tuple[str, ...]
    configuration: Configuration | None = None
    notes: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    why: tuple[str, ...] = ()
    runners_up: tuple[RunnerUp, ...] = ()
    unmet: tuple[Unmet, ...] = ()
    projects: tuple[Project, ...] = ()
    reason: Reason | None = None

    @property
    def headline(self) -> str:
        if self.configuration is None:
            return f"{self.model}: nothing can be advised, since {self.reason}."
        return f"{self.model}: use {self.configuration.words}."

    @property
    def first(self) -> tuple[str, ...]:
        """What belongs on the first screen: the decision, and what must be known beside it."""
        return (self.headline, *self.notes)

    @property
    def parts(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """The advice in plain words after the headline: a heading and its sentences, the most important first."""
        shown = [f"{one.configuration.label}: {one.reason}" for one in self.runners_up[:_SHOWN]]
        rest = len(self.runners_up) - len(shown)
        counted = [f"and {rest} more"] if rest else []
        parts = (
            ("What is known nevertheless", self.known),
            ("Why", self.why),
            (f"Limits ({_HELD})", self.limits),
            ("What stands in the way", tuple(f"{one.limit}: {one.reason}" for one in self.unmet)),
            ("Runners-up", (*shown, *counted)),
            ("Which to choose for which project", tuple(one.words for one in self.projects)),
        )
        return tuple((heading, sentences) for heading, sentences in parts if sentences)

    def _repr_markdown_(self) -> str:
        return "\n\n".join([*_bold(self.caveats), self._markdown])

    def __str__(self) -> str:
        return "\n".join([*self.caveats, self._text])

    @property
    def _markdown(self) -> str:
        told = ["\n".join([f"{heading}:", "", *(f"- {plain(one)}" for one in sentences)]) for heading, sentences in self.parts]
        return "\n\n".join([*_bold([self.headline]), *map(plain, self.notes), *told])

    @property
    def _text(self) -> str:
        told = ["\n".join([f"  {heading}:", *(f"  - {one}" for one in sentences)]) for heading, sentences in self.parts]
        return "\n".join([self.headline, *(f"  {note}" for note in self.notes), *told])


class Advices(tuple):
    """An `Advice` for each model, shown one under the other, after the lines that hold for all of them."""

    @property
    def caveats(self) -> tuple[str, ...]:
        """What the numbers stand on, and what is unfinished: the same for every model."""
        return self[0].caveats if self else ()

    @property
    def first(self) -> tuple[str, ...]:
        """The first screen: what the numbers stand on, then the decision for each model. Report, terminal and notebook begin with it."""
        return (*self.caveats, *(line for advice in self for line in advice.first))

    def __repr__(self) -> str:
        return str(self)

    def _repr_markdown_(self) -> str:
        return "\n\n".join([*_bold(self.caveats), *(advice._markdown for advice in self)])

    def __str__(self) -> str:
        return "\n\n".join(["\n".join(self.caveats), *(advice._text for advice in self)])


def _bold(lines) -> list[str]:
    return [f"**{plain(line)}**" for line in lines]


def configuration(trial: Trial) -> Configuration:
    """What a trial was set to."""
    facts = {field.name: getattr(trial, field.name) for field in fields(Configuration) if field.name != "trial_id"}
    return Configuration(**facts | {"recipe": trial.shown}, trial_id=trial.id)
