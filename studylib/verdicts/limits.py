"""Limits that a configuration must keep, and what each candidate has against them: held with the interval's unfavourable end."""

import math
from dataclasses import dataclass

from studylib.errors import InputError
from studylib.params.defaults import RANDOM_SQNR_DB
from studylib.verdicts.contenders import contenders
from studylib.verdicts.findings import Findings, once
from studylib.verdicts.losses import lost
from studylib.verdicts.variants import Variant
from studylib.wording import digits

# A limit on latency is one on slow answers, not on half of them: the highest of these that the values carry.
_LATENCIES = ("latency_p95", "latency_p90", "latency_p50")


@dataclass(frozen=True)
class Reading:
    """A metric of one trial with its interval, in ``unit``; ``low`` and ``high`` are None where there is none."""

    metric: str
    value: float
    low: float | None
    high: float | None
    n: float | None

    def words(self, unit: float) -> str:
        """``0.19 [0.18, 0.20]``, divided by ``unit``."""
        text = digits(self.value / unit)
        return text if self.low is None else f"{text} [{digits(self.low / unit)}, {digits(self.high / unit)}]"


@dataclass(frozen=True)
class Candidate:
    """A timed trial with its rows of the results table by metric."""

    variant: Variant
    readings: dict[str, Reading]

    @property
    def label(self) -> str:
        return self.variant.trial.label


@dataclass(frozen=True)
class Held:
    """A candidate against one limit: kept or not, how far it is over (comparable between candidates), and both in words."""

    kept: bool
    over: float
    words: str
    missed: str


@dataclass(frozen=True)
class Limit:
    """The ``most`` of one ``kind``: ``accuracy`` (share lost), ``latency`` (ns), ``memory`` (bytes) or ``size`` (bytes).

    A limit is kept only if the unfavourable end of the 95 % interval keeps it. Without an interval it is not known to be kept; sizes
    are exact, and where samples depend on each other what was lost has none and counts as measured.
    """

    kind: str
    most: float

    @property
    def words(self) -> str:
        if self.kind == "accuracy":
            allowed = f"at most {100 * self.most:g} point{'s' * (self.most != 0.01)} of right answers lost"
            return f"{allowed} (random weights: at least {RANDOM_SQNR_DB:g} dB SQNR)"
        name, unit, unit_words = _MEASURED[self.kind]
        return f"{name} of at most {self.most / unit:g} {unit_words}"

    def hold(self, candidate: Candidate) -> Held:
        """``candidate`` against this limit."""
        return self._hold_answers(candidate.variant) if self.kind == "accuracy" else self._hold_measured(candidate)

    def _hold_answers(self, variant: Variant) -> Held:
        found = lost(variant)
        kept = bool(found.within(self.most))
        if math.isnan(found.value):
            return Held(kept, math.inf, found.text, found.text)
        if found.measure == "sqnr":
            missing = RANDOM_SQNR_DB - found.value
            return Held(kept, missing, found.text, f"{found.text}: {missing:.1f} dB short of {RANDOM_SQNR_DB:g} dB")
        over, needed = found.end - self.most, found.samples_needed(self.most)
        words = f"{found.text}: {100 * over:.1f} points over the {100 * self.most:g} allowed"
        return Held(kept, over, found.text, words + (f"; at least {needed} samples are needed to tell" if needed else ""))

    def _hold_measured(self, candidate: Candidate) -> Held:
        name, unit, unit_words = _MEASURED[self.kind]
        wanted = {"latency": _LATENCIES, "memory": ("rss_peak",), "size": ("size",)}[self.kind]
        reading = next((candidate.readings[metric] for metric in wanted if metric in candidate.readings), None)
        if reading is None:
            variant = candidate.variant
            of_means = any(measurement.is_of_means for measurement in variant.results.measurements(variant.trial.id))
            why = "only means of queries are known" if of_means and self.kind == "latency" else "too few values"
            return Held(False, math.inf, f"{name} is not known", f"{name} is not known: {why}")
        named = reading.metric.replace("latency_", "") if self.kind == "latency" else name
        words = f"{named} {reading.words(unit)} {unit_words}"
        if reading.high is None and self.kind != "size":
            missed = f"{words}: too few repetitions for an interval, which a limit is held against"
            return Held(False, reading.value / self.most, words, missed)
        worst = reading.value if reading.high is None else reading.high
        end = "" if reading.high is None else f" at the interval's upper end, {digits(worst / unit)} {unit_words}"
        return Held(worst <= self.most, worst / self.most, words, f"{words}: {digits(worst / self.most)} times the limit{end}")


_MEASURED = {
    "latency": ("p95 latency of a query", 1e6, "ms"),
    "memory": ("peak resident memory", 1e6, "MB"),
    "size": ("file", 1e6, "MB"),
}


def typical(readings: dict[str, Reading]) -> tuple[str, str, float]:
    """What tells the usual time of a query: its metric, the words around it, its unit. Means alone are known of some."""
    return ("latency_mean", "mean {} ms", 1e6) if "latency_p50" not in readings else ("latency_p50", "median {} ms", 1e6)


@once
def candidates(findings: Findings, model: str) -> list[Candidate]:
    """The timed and valid trials of ``model`` with what the results table says of each."""
    table = findings.table
    ours = [variant for variant in contenders(findings) if variant.trial.model == model]
    return [Candidate(variant, _readings(table[table.trial_id == variant.trial.id])) for variant in ours]


def limits(max_accuracy_loss: float, latency_ns: float | None, rss_bytes: float | None, size_bytes: float | None) -> list[Limit]:
    """What was asked for. Raises `InputError` in words for what is no limit."""
    if not _is_number(max_accuracy_loss) or not 0 <= max_accuracy_loss <= 1:
        raise InputError(f"max_accuracy_loss is {max_accuracy_loss!r}; it must be a share between 0 and 1, 0.01 for one point.")
    given = {"latency": ("latency_ns", latency_ns), "memory": ("rss_bytes", rss_bytes), "size": ("size_bytes", size_bytes)}
    for name, value in given.values():
        if value is not None and not (_is_number(value) and 0 < value < math.inf):
            raise InputError(f"{name} is {value!r}; it must be a positive number, or None for no limit.")
    return [Limit("accuracy", max_accuracy_loss), *(Limit(kind, value) for kind, (_, value) in given.items() if value is not None)]


def read(**texts: str | None) -> dict[str, float]:
    """Limits as typed (``LATENCY_MS="5"``) as the numbers that `limits` takes; those that were not typed are left out."""
    fields = {"LATENCY_MS": ("latency_ns", "milliseconds"), "RSS_MB": ("rss_bytes", "megabytes"), "SIZE_MB": ("size_bytes", "megabytes")}
    given = {}
    for name, text in texts.items():
        field, unit = fields[name]
        if not text:
            continue
        try:
            number = float(text)
        except ValueError:
            number = 0.0
        if not 0 < number < math.inf:
            raise InputError(f"{name} is '{text[:80]}'; it must be a positive number of {unit}.")
        given[field] = number * 1e6  # both units are a million of the smaller one
    return given


def _readings(rows) -> dict[str, Reading]:
    rows = rows.astype({"value": float, "ci_low": float, "ci_high": float, "n": float})
    return {row.metric: Reading(row.metric, row.value, _known(row.ci_low), _known(row.ci_high), _known(row.n)) for row in rows.itertuples()}


def _is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _known(number: float) -> float | None:
    return None if math.isnan(number) else number
