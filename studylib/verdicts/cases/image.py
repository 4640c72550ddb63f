"""What the case of the photographs decides, from its stored times and answers alone."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from studylib import stats
from studylib.results.case_results import CaseResult, Way
from studylib.wording import digits

# What the question asks for.
BOUND_MS, PERCENTILE, PICTURES = 50.0, 99.0, 1_000_000
_NS_PER_MS, _NS_PER_HOUR = 1e6, 3.6e12
_UNKNOWN = -1


@dataclass(frozen=True)
class Quality:
    """Of the pictures with a label, how many were named rightly at first and among five; ``None`` without labels.

    ``agrees``: share of all pictures of which the first name is the reference's. ``lost``: paired, against the reference.
    """

    top1: stats.Estimate | None
    top5: stats.Estimate | None
    agrees: float
    lost: stats.PairedDifference | None
    is_within: bool


def reference(result: CaseResult) -> Way | None:
    """What others are held against: TensorFlow in float, or the first that has numbers."""
    timed = [way for way in result.tried if not way.reason]
    return next((way for way in timed if way.name == "tensorflow fp32"), timed[0] if timed else None)


def quality(result: CaseResult, way: Way) -> Quality:
    """How right a way is. The budget is a share of right answers, or without labels of agreeing ones, as measured."""
    base = _firsts(reference(result), len(result.facts["files"]))
    ours, labels = _firsts(way, len(base)), np.array(result.facts["labels"])
    agrees = float(np.mean(ours == base))
    known = labels != _UNKNOWN
    if not known.any():
        return Quality(None, None, agrees, None, stats.at_most(1 - agrees, result.facts["most_lost"]))
    right = (ours == labels)[known]
    among = np.array([labels[place] in [number for number, _ in answered] for place, answered in sorted(_answers(way).items())])[known]
    lost = stats.paired_accuracy((base == labels)[known], right)
    n = int(known.sum())
    top1, top5 = (stats.binomial_interval(int(found.sum()), n) for found in (right, among))
    return Quality(top1, top5, agrees, lost, stats.at_most(-lost.estimate.value, result.facts["most_lost"]))


def _answers(way: Way) -> dict[int, list]:
    """What it answered to each picture, the last time it was asked."""
    return dict(map(tuple, way.answers))


def _firsts(way: Way, count: int) -> np.ndarray:
    """The first answer to each picture."""
    found = np.full(count, _UNKNOWN)
    for place, answered in _answers(way).items():
        found[place] = answered[0][0]
    return found


def chosen(result: CaseResult) -> Way | None:
    """The fastest that was tried and keeps the budget; None where nothing has numbers."""
    kept = [way for way in result.tried if not way.reason and quality(result, way).is_within]
    return min(kept, key=lambda way: float(np.median(typical_ns(way))), default=None)


def typical_ns(way: Way) -> np.ndarray:
    """The median of each round."""
    return np.array([np.median(values) for values in way.rounds])


def gain(before: Way, after: Way) -> stats.Comparison:
    """How many times as many pictures a second, round by round."""
    return stats.compare(_per_picture_ns(before), _per_picture_ns(after))


def latency_ms(way: Way, percentile: float) -> stats.Estimate | None:
    """A percentile of what one picture takes; None where the values are too few."""
    return stats.pooled_percentile([np.array(values) / _NS_PER_MS for values in way.rounds], percentile)


def per_second(way: Way) -> stats.Estimate:
    """Pictures a second."""
    return stats.pooled_mean([1e9 / one for one in _per_picture_ns(way)[:, None]])


def hours(way: Way) -> stats.Estimate:
    """Hours of this machine for a million pictures."""
    return stats.pooled_mean([PICTURES * one / _NS_PER_HOUR for one in _per_picture_ns(way)[:, None]])


def _per_picture_ns(way: Way) -> np.ndarray:
    return np.array([whole / len(values) for whole, values in zip(way.wall_ns, way.rounds, strict=True)])


def in_time(way: Way) -> bool:
    """Whether even the unfavourable end of its 99th percentile keeps the bound; False where that cannot be told."""
    found = latency_ms(way, PERCENTILE)
    return found is not None and found.high is not None and found.high <= BOUND_MS


def decision(result: CaseResult) -> list[str]:
    """What to set up, in sentences; every number is computed from the stored ones."""
    timed = [way for way in result.story if not way.reason]
    if not timed:
        return ["Nothing was timed, and so nothing is decided."]
    return [_for_service(timed), _in_bulk(timed), *_rightness(result), *_unusable(result)]


def _for_service(timed: list[Way]) -> str:
    keeping = [way for way in timed if in_time(way)]
    if not keeping:
        told = [(way, latency_ms(way, PERCENTILE)) for way in timed]
        known = [(way, found) for way, found in told if found]
        if not known:
            return (
                f"Whether {BOUND_MS:g} ms are kept at p{PERCENTILE:g} cannot be told: that takes {stats.minimum_values(PERCENTILE)} values."
            )
        way, found = min(known, key=lambda one: one[1].value)
        return f"No set-up keeps {BOUND_MS:g} ms at p{PERCENTILE:g} here; nearest is {way.name} with {_spread(found)} ms."
    best = _simplest(keeping, typical_ns)
    found, usual = latency_ms(best, PERCENTILE), latency_ms(best, 50)
    plain = "" if best is timed[0] else f"; the plain way takes {digits(float(np.median(typical_ns(timed[0]))) / _NS_PER_MS)} ms"
    return (
        f"For a service: {best.name}. A photograph takes {_spread(usual)} ms from its bytes to its names, {_spread(found)} ms at "
        f"p{PERCENTILE:g}, which keeps {BOUND_MS:g} ms{plain}."
    )


def _in_bulk(timed: list[Way]) -> str:
    best = _simplest(timed, _per_picture_ns)
    told = f"In bulk: {best.name}. {_spread(per_second(best))} photographs a second; a million take {_spread(hours(best))} hours here"
    if best is timed[0]:
        return f"{told}."
    ratio = gain(timed[0], best)
    return f"{told}, {digits(ratio.ratio)} [{digits(ratio.low)}, {digits(ratio.high)}] times as many as the plain way."


def _simplest(ways: list[Way], times: Callable[[Way], np.ndarray]) -> Way:
    """The first of the steps that is not measurably slower than the fastest: what a step more does not bring is not worth having."""
    fastest = min(ways, key=lambda way: float(np.median(times(way))))
    return next(way for way in ways if way is fastest or not stats.compare(times(way), times(fastest)).low > 1)


def _rightness(result: CaseResult) -> list[str]:
    best = chosen(result)
    if best is None:
        return []
    found = quality(result, best)
    if found.top1 is None:
        return [f"Nobody labelled these photographs: {best.name} names {found.agrees:.1%} of them first as {reference(result).name} does."]
    # What none lost of so many leaves possible.
    least = -100 * stats.paired_accuracy(np.ones(found.top1.n, bool), np.ones(found.top1.n, bool)).estimate.low
    told = f"{best.name} names {_percent(found.top1)} of them rightly, {_percent(found.top5)} among five (n {found.top1.n})"
    told += f"; against {reference(result).name} it lost {found.lost.lost} and gained {found.lost.gained}"
    return [f"{told}. So many photographs cannot show a loss of less than {least:.1f} points."]


def _unusable(result: CaseResult) -> list[str]:
    lost = result.facts["unusable"]
    count = f"{len(lost)} files" if len(lost) > 1 else "One file"
    return [f"{count} could not be used: {lost[0][0]}: {lost[0][1]}{', and others' if lost[1:] else ''}."] if lost else []


def _percent(estimate: stats.Estimate) -> str:
    return f"{100 * estimate.value:.1f} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}] %"


def _spread(estimate: stats.Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return digits(estimate.value)
    return f"{digits(estimate.value)} [{digits(estimate.low)}, {digits(estimate.high)}]"
