"""What to set: for each model the configuration that keeps every limit and answers fastest, and why the others stand behind it.

``sl.advise(results, …)`` is `advise` of this module. Every word and number is made from the rows of the results.
"""

from dataclasses import asdict, dataclass, fields

import pandas as pd

from studylib import tables
from studylib.adaptive_verdicts import budget_of
from studylib.compare import judged
from studylib.constraints import Candidate, Limit, candidates, limits, typical
from studylib.contenders import fastest, for_one_sample, models, sample_ns, why_none
from studylib.errors import InputError, lookup
from studylib.projects import Project, projects
from studylib.records import Trial
from studylib.results import Results
from studylib.wording import digits, plain, ratio_text

# Runners-up that are spelled out; the others are counted.
_SHOWN = 5
_EQUAL = 1.05
_HELD = "a limit is kept only if the unfavourable end of the 95 % interval keeps it"
_READINGS = (
    ("throughput", "{} samples/s", 1),
    ("rss_peak", "peak memory {} MB", 1e6),
    ("size", "file {} MB", 1e6),
)


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
    """What to set for one model. ``configuration`` is None when nothing keeps every limit (``unmet`` says which) or nothing was timed.

    It is the fastest for one sample at the smallest batch measured; ``projects`` says what to choose where something else counts.
    """

    model: str
    caveats: tuple[str, ...]
    limits: tuple[str, ...]
    configuration: Configuration | None = None
    why: tuple[str, ...] = ()
    runners_up: tuple[RunnerUp, ...] = ()
    unmet: tuple[Unmet, ...] = ()
    projects: tuple[Project, ...] = ()
    reason: str = ""

    @property
    def headline(self) -> str:
        if self.configuration is None:
            return f"{self.model}: nothing can be advised, since {self.reason}."
        return f"{self.model}: set {self.configuration.words}."

    @property
    def parts(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """The advice in plain words after the headline: a heading and its sentences, the most important first."""
        shown = [f"{one.configuration.label}: {one.reason}" for one in self.runners_up[:_SHOWN]]
        rest = len(self.runners_up) - len(shown)
        counted = [f"{rest} more {'stands' if rest == 1 else 'stand'} behind"] if rest else []
        parts = (
            ("Why", self.why),
            (f"Limits ({_HELD})", self.limits),
            ("What stands in the way", tuple(f"{one.limit}: {one.reason}" for one in self.unmet)),
            ("Behind it", (*shown, *counted)),
            ("Which to choose for which project", tuple(one.words for one in self.projects)),
        )
        return tuple((heading, sentences) for heading, sentences in parts if sentences)

    def _repr_markdown_(self) -> str:
        top = [f"**{plain(one)}**" for one in (*self.caveats, self.headline)]
        told = ["\n".join([f"{heading}:", "", *(f"- {plain(one)}" for one in sentences)]) for heading, sentences in self.parts]
        return "\n\n".join([*top, *told])

    def __str__(self) -> str:
        told = ["\n".join([f"  {heading}:", *(f"  - {one}" for one in sentences)]) for heading, sentences in self.parts]
        return "\n".join([*self.caveats, self.headline, *told])


class Advices(tuple):
    """An `Advice` for each model, shown one under the other."""

    def __repr__(self) -> str:
        return str(self)

    def _repr_markdown_(self) -> str:
        return "\n\n".join(advice._repr_markdown_() for advice in self)

    def __str__(self) -> str:
        return "\n\n".join(map(str, self))


def advise(
    results: Results,
    max_accuracy_loss: float = 0.01,
    latency_ns: float | None = None,
    rss_bytes: float | None = None,
    size_bytes: float | None = None,
    model: str | None = None,
) -> Advices:
    """The fastest configuration of each model (or of ``model``) that keeps every limit, from what was measured and nothing else.

    ``max_accuracy_loss``: share of right answers lost against TensorFlow fp32 (random weights: 20 dB SQNR instead). ``latency_ns``: of
    slow queries (p95). ``rss_bytes``: the process's peak. ``size_bytes``: the model's file. Limits are held against the unfavourable end
    of each interval. What failed, was skipped or is invalid is never advised. Raises `InputError` for what is no limit.
    """
    if not isinstance(results, Results):
        raise InputError(f"advise was given a {type(results).__name__}; give it results, such as sl.read_results('cpu').")
    asked = limits(max_accuracy_loss, latency_ns, rss_bytes, size_bytes)
    known = dict.fromkeys(models(results))
    if model is not None:
        lookup(known, "model of these results", model)
    return Advices(_advice(name, asked, results) for name in known if model in (None, name))


def choices(results: Results) -> pd.DataFrame:
    """Which configuration to choose for which kind of project within the study's own budget, a row for each model and kind."""
    found = advise(results, budget_of(results))
    rows = [{"model": one.model} | asdict(project) for one in found for project in one.projects]
    rows += [{"model": one.model} | asdict(Project("", "", "none", one.reason)) for one in found if not one.projects]
    return pd.DataFrame(rows, columns=["model", "kind", "counts", "choice", "because"])


def _advice(model: str, asked: list[Limit], results: Results) -> Advice:
    shared = {"model": model, "caveats": _caveats(results), "limits": tuple(limit.words for limit in asked)}
    timed = candidates(results, model)
    if not timed:
        return Advice(**shared, reason=why_none(results, model))
    smallest = min(candidate.variant.trial.batch_size for candidate in timed)
    pool = [candidate for candidate in timed if candidate.variant.trial.batch_size == smallest]
    fit = [candidate for candidate in pool if _keeps(candidate, asked)]
    if not fit:
        reason = f"none of the {len(pool)} configurations that were timed keeps every limit"
        return Advice(**shared, reason=reason, unmet=_unmet(pool, asked))
    best, _ = fastest([candidate.variant for candidate in fit])
    chosen = next(candidate for candidate in fit if candidate.variant is best)
    others = sorted((c for c in pool if c is not chosen), key=lambda c: (not _keeps(c, asked), sample_ns(c.variant)))
    return Advice(
        **shared,
        configuration=configuration(best.trial),
        why=_why(chosen, fit, asked),
        runners_up=tuple(RunnerUp(configuration(one.variant.trial), _behind(chosen, one, asked)) for one in others),
        projects=projects([candidate for candidate in timed if _keeps(candidate, asked)]),
    )


def configuration(trial: Trial) -> Configuration:
    """What a trial was set to."""
    facts = {field.name: getattr(trial, field.name) for field in fields(Configuration) if field.name != "trial_id"}
    return Configuration(**facts | {"recipe": trial.shown}, trial_id=trial.id)


def _caveats(results: Results) -> tuple[str, ...]:
    run, unfinished = results.run(), tables.incomplete(results)
    where = run["host"]["description"]
    rehearsal = f"REHEARSAL: measured on {where}, not on {run['title']}; this tells nothing of that hardware's speed."
    return tuple(filter(None, ("" if run["native"] else rehearsal, unfinished)))


def _keeps(candidate: Candidate, asked: list[Limit]) -> bool:
    return all(limit.hold(candidate).kept for limit in asked)


def _why(chosen: Candidate, fit: list[Candidate], asked: list[Limit]) -> tuple[str, ...]:
    """What the chosen one reads, and whom it cannot be told from."""
    ties = fastest([candidate.variant for candidate in fit])[1]
    shown = [(metric, text, unit) for metric, text, unit in (typical(chosen.readings), *_READINGS) if metric in chosen.readings]
    told = [text.format(chosen.readings[metric].words(unit)) for metric, text, unit in shown]
    alone = "It is the only one that keeps every limit" if len(fit) == 1 else f"It is the fastest of {len(fit)} that keep every limit"
    close = f"; it cannot be told from {', '.join(tie.trial.label for tie in ties)}" if ties else ""
    held = "; ".join(limit.hold(chosen).words for limit in asked)
    return (f"{alone}{close}", ", ".join(told), f"against the limits: {held}")


def _behind(chosen: Candidate, other: Candidate, asked: list[Limit]) -> str:
    """Why ``other`` was not advised: limits it breaks, its speed with interval and verdict, and what it needs more or less of."""
    broken = [held.missed for limit in asked for held in [limit.hold(other)] if not held.kept]
    found = for_one_sample(other.variant.trial, chosen.variant.trial, chosen.variant.results)
    verdict = judged(found, chosen.variant.results)
    said = {"faster": "slower", "slower": "faster"}.get(verdict, verdict.replace("cannot tell", "cannot be told apart"))
    caveat = f"; {found.caveat}" if found.caveat else ""
    speed = f"{said}: takes {ratio_text(found.comparison)} the time (n {found.comparison.n} rounds{caveat})"
    sizes = [_times(one, chosen, other) for one in (("size", "file"), ("rss_peak", "peak memory"))]
    return "; ".join([*(f"out, {one}" for one in broken), speed, *filter(None, sizes)])


def _times(of: tuple[str, str], chosen: Candidate, other: Candidate) -> str:
    metric, name = of
    if metric not in chosen.readings or metric not in other.readings:
        return ""
    ours, theirs = chosen.readings[metric].value, other.readings[metric].value
    larger = theirs / ours if theirs > ours else ours / theirs
    return f"{name} {digits(larger)} times {'larger' if theirs > ours else 'smaller'}" if larger > _EQUAL else ""


def _unmet(pool: list[Candidate], asked: list[Limit]) -> tuple[Unmet, ...]:
    """Each limit that stands in the way: of those that keep all the others the nearest to it; else the nearest of all, if it misses."""
    found = []
    for limit in asked:
        others = [one for one in asked if one is not limit]
        nearly = [candidate for candidate in pool if _keeps(candidate, others)]
        nearest = min(nearly or pool, key=lambda candidate: limit.hold(candidate).over)
        held = limit.hold(nearest)
        if held.kept:
            continue
        together = " of those that keep the other limits" if nearly and others else ""
        reason = f"nearest{together} is {nearest.label}, {held.missed}"
        found.append(Unmet(limit.words, configuration(nearest.variant.trial), reason))
    return tuple(found) or tuple(_torn(limit, pool, asked) for limit in asked)


def _torn(limit: Limit, pool: list[Candidate], asked: list[Limit]) -> Unmet:
    """A limit that can be kept, but only by what breaks another one."""
    nearest = min(pool, key=lambda candidate: limit.hold(candidate).over)
    broken = [held.missed for other in asked for held in [other.hold(nearest)] if not held.kept]
    return Unmet(limit.words, configuration(nearest.variant.trial), f"{nearest.label} keeps it and breaks another: {'; '.join(broken)}")
