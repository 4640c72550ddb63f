"""Which configuration to choose for which kind of project, in words made from the rows."""

import math
from dataclasses import dataclass

from studylib.quality.metrics import tolerance
from studylib.stats import Verdict
from studylib.verdicts.contenders import against, fastest, sample_ns
from studylib.verdicts.limits import Candidate, Reading, typical
from studylib.verdicts.losses import Lost, lost
from studylib.wording import ratio_text

# Less than this share of memory, size or time to the first answer is no reason to choose something slower.
LEAST_GAIN = 0.1


@dataclass(frozen=True)
class Project:
    """A kind of project, what counts in it, the label of what to choose for it, and the numbers that say so."""

    kind: str
    counts: str
    choice: str
    because: str

    @property
    def words(self) -> str:
        return f"For {self.kind}, where {self.counts} counts, choose {self.choice}: {self.because}"


@dataclass(frozen=True)
class _Measure:
    """What is to be least: its metric, how it is called, its unit. Without ``exact``, a value without an interval is not known."""

    metric: str
    name: str
    unit: str
    divisor: float
    exact: bool = False

    def words(self, reading: Reading) -> str:
        return f"{reading.words(self.divisor)} {self.unit}"


def projects(fit: list[Candidate]) -> tuple[Project, ...]:
    """A choice for each kind of project among ``fit``, candidates of one model that keep every limit, of all batch sizes."""
    if not fit:
        return ()
    smallest = min(candidate.variant.trial.batch_size for candidate in fit)
    single = [candidate for candidate in fit if candidate.variant.trial.batch_size == smallest]
    found = [
        _quickest("a service that people wait for, or an app", "the time of one answer", single),
        _quickest("work in bulk", "throughput", fit, ("throughput", "{} samples/s", 1)),
        _least("a small device, or many models side by side", "memory", single, _Measure("rss_peak", "peak memory", "MB", 1e6)),
        _least("downloads and flash memory", "the size of the file", single, _Measure("size", "file", "kB", 1e3, exact=True)),
        _least("functions started on demand", "the time to the first answer", single, _Measure("cold_start", "cold start", "ms", 1e6)),
        _faithful(single),
    ]
    return tuple(filter(None, found))


def _quickest(kind: str, counts: str, fit: list[Candidate], told: tuple[str, str, float] | None = None) -> Project | None:
    """The one with the least time for a sample, by interleaved comparison, with what is ``told`` of it: its usual time unless said."""
    best, ties = fastest([candidate.variant for candidate in fit])
    chosen = next(candidate for candidate in fit if candidate.variant is best)
    metric, text, unit = told or typical(chosen.readings)
    if metric not in chosen.readings:
        return None
    return Project(kind, counts, chosen.label, _numbers(chosen, metric, text, unit) + _close([tie.trial.label for tie in ties]))


def _least(kind: str, counts: str, fit: list[Candidate], measure: _Measure) -> Project | None:
    """The fastest of those that need least, if that is less than the fastest of all needs by a gain worth naming; else the fastest of all.

    A gain is worth naming from `LEAST_GAIN` on, where the intervals of the two do not meet. What it costs in time stands beside it.
    """
    known = [candidate for candidate in fit if measure.metric in candidate.readings]
    if not known:
        return None
    quickest, _ = fastest([candidate.variant for candidate in known])
    usual = next(candidate for candidate in known if candidate.variant is quickest)
    gains = [candidate for candidate in known if _gains(candidate, usual, measure)]
    if not gains:
        return Project(kind, counts, usual.label, _without_gain(known, usual, measure))
    least = min(gains, key=lambda candidate: candidate.readings[measure.metric].value).readings[measure.metric]
    ties = [candidate for candidate in gains if _overlap(candidate.readings[measure.metric], least)]
    chosen = min(ties, key=lambda candidate: sample_ns(candidate.variant))
    rest = [candidate.label for candidate in ties if candidate is not chosen]
    ours, theirs = chosen.readings[measure.metric], usual.readings[measure.metric]
    n = f", n {ours.n:.0f}" if ours.n and ours.low is not None else ""
    gain = f"{measure.name} {measure.words(ours)} instead of {measure.words(theirs)} of {usual.label} ({_share(ours, theirs)}{n})"
    return Project(kind, counts, chosen.label, f"{gain}, {_cost(usual, chosen)}{_close(rest)}")


def _gains(candidate: Candidate, usual: Candidate, measure: _Measure) -> bool:
    """Whether ``candidate`` needs so much less than the usual one that it is worth naming, and that is no chance."""
    ours, theirs = candidate.readings[measure.metric], usual.readings[measure.metric]
    known = measure.exact or None not in (ours.high, theirs.low)
    return known and ours.value <= (1 - LEAST_GAIN) * theirs.value and not _overlap(ours, theirs)


def _without_gain(known: list[Candidate], usual: Candidate, measure: _Measure) -> str:
    """Why the fastest of all stays: what it needs, and how little less anything else does."""
    ours = usual.readings[measure.metric]
    least = min([usual, *known], key=lambda candidate: candidate.readings[measure.metric].value)
    theirs = least.readings[measure.metric]
    words = f"it is the fastest, {measure.name} {measure.words(ours)}"
    if least is usual:
        return f"{words}, which is also the least"
    may_be_chance = theirs.value <= (1 - LEAST_GAIN) * ours.value
    much = "the two intervals overlap" if may_be_chance else f"less than {100 * LEAST_GAIN:.0f} % saved"
    return f"{words}; the least is {measure.words(theirs)}, {least.label} ({_share(theirs, ours)}): {much}"


def _share(ours: Reading, theirs: Reading) -> str:
    """``−41 %``."""
    percent = 100 * (ours.value / theirs.value - 1)
    return f"{percent:.{0 if abs(percent) >= 10 else 1}f} %".replace("-", "\N{MINUS SIGN}")


def _cost(usual: Candidate, chosen: Candidate) -> str:
    """What ``chosen`` costs in time against the usual one: ``takes 1.30x [1.20, 1.40] the time (n 8 rounds)``."""
    found = against(chosen.variant, usual.variant)
    if not found.comparable:
        return "and what it costs in time is not known: the two were measured apart"
    takes = f"takes {ratio_text(found.comparison)} the time (n {found.comparison.n} rounds)"
    return f"{takes}, not distinguishable" if found.verdict is Verdict.CANNOT_TELL else takes


def _numbers(chosen: Candidate, metric: str, text: str, unit: float) -> str:
    reading = chosen.readings[metric]
    return text.format(reading.words(unit)) + (f", n {reading.n:.0f}" if reading.n and reading.low is not None else "")


def _close(labels: list[str]) -> str:
    return f"; by this not distinguishable from {', '.join(labels)}" if labels else ""


def _overlap(one: Reading, other: Reading) -> bool:
    """Whether the intervals meet; without intervals, whether the values are equal."""
    (low, high), (least, most) = ((r.value, r.value) if r.low is None else (r.low, r.high) for r in (one, other))
    return low <= most and least <= high


def _faithful(fit: list[Candidate]) -> Project | None:
    """The fastest of those whose answers changed least."""
    found = {id(candidate): lost(candidate.variant) for candidate in fit}
    known = [candidate for candidate in fit if not math.isnan(found[id(candidate)].value)]
    if not known:
        return None
    chosen = min(known, key=lambda candidate: (_price(found[id(candidate)]), sample_ns(candidate.variant)))
    return Project("work that must not lose right answers", "fidelity", chosen.label, found[id(chosen)].text)


def _price(found: Lost) -> float:
    """What was lost, gains being no loss; fidelity beyond what float conversions differ by anyway is all the same."""
    return -min(found.value, tolerance("fp32").sqnr_db) if found.measure == "sqnr" else max(found.value, 0.0)
