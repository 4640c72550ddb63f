"""Which configuration to choose for which kind of project, in words made from the rows."""

import math
from dataclasses import dataclass

from studylib.adaptive_verdicts import Lost, lost
from studylib.constraints import Candidate, Reading, typical
from studylib.contenders import fastest, lost_words, sample_ns
from studylib.quality import tolerance


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


def projects(fit: list[Candidate]) -> tuple[Project, ...]:
    """A choice for each kind of project among ``fit``, candidates of one model that keep every limit, of all batch sizes."""
    if not fit:
        return ()
    smallest = min(candidate.variant.trial.batch_size for candidate in fit)
    single = [candidate for candidate in fit if candidate.variant.trial.batch_size == smallest]
    found = [
        _quickest("a service that people wait for, or an app", "the time of one answer", single),
        _quickest("work in bulk", "throughput", fit, ("throughput", "{} samples/s", 1)),
        _least("a small device, or many models side by side", "memory", single, "rss_peak", "peak memory {} MB", 1e6),
        _least("downloads and flash memory", "the size of the file", single, "size", "{} kB", 1e3),
        _least("functions started on demand", "the time from start to first answer", single, "cold_start", "cold start {} ms", 1e6),
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


def _least(kind: str, counts: str, fit: list[Candidate], metric: str, text: str, unit: float) -> Project | None:
    """The fastest of those whose interval of ``metric`` reaches that of the one with the least."""
    known = [candidate for candidate in fit if metric in candidate.readings]
    if not known:
        return None
    least = min(known, key=lambda candidate: candidate.readings[metric].value).readings[metric]
    ties = [candidate for candidate in known if _overlap(candidate.readings[metric], least)]
    chosen = min(ties, key=lambda candidate: sample_ns(candidate.variant))
    rest = [candidate.label for candidate in ties if candidate is not chosen]
    return Project(kind, counts, chosen.label, _numbers(chosen, metric, text, unit) + _close(rest))


def _numbers(chosen: Candidate, metric: str, text: str, unit: float) -> str:
    reading = chosen.readings[metric]
    return text.format(reading.words(unit)) + (f", n {reading.n:.0f}" if reading.n and reading.low is not None else "")


def _close(labels: list[str]) -> str:
    return f"; by this it cannot be told from {', '.join(labels)}" if labels else ""


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
    words = lost_words(found[id(chosen)])
    because = words if words.startswith("SQNR") else f"lost {words}"
    return Project("whoever must not lose a right answer", "fidelity", chosen.label, because)


def _price(found: Lost) -> float:
    """What was lost, gains being no loss; fidelity beyond what float conversions differ by anyway is all the same."""
    return -min(found.value, tolerance("fp32").sqnr_db) if found.measure == "sqnr" else max(found.value, 0.0)
