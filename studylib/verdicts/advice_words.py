"""Why one configuration was advised and the others stand behind it, in words made from the rows."""

from studylib.stats import Verdict
from studylib.verdicts.advised import Unmet, configuration
from studylib.verdicts.contenders import against, baseline, sample_ns
from studylib.verdicts.findings import Findings
from studylib.verdicts.limits import Candidate, Limit, typical
from studylib.verdicts.losses import lost
from studylib.verdicts.variants import Variant, family
from studylib.wording import digits, ratio_text, some

_EQUAL = 1.05
# What is said of a rival, by the verdict on the chosen one against it.
_REVERSED = {Verdict.FASTER: "slower", Verdict.SLOWER: "faster", Verdict.CANNOT_TELL: "not distinguishable"}
_READINGS = (
    ("throughput", "{} samples/s", 1),
    ("rss_peak", "peak memory {} MB", 1e6),
    ("size", "file {} MB", 1e6),
)


def keeps(candidate: Candidate, asked: tuple[Limit, ...]) -> bool:
    """Whether every limit is kept."""
    return all(limit.hold(candidate).kept for limit in asked)


def why(chosen: Candidate, fit: list[Candidate], asked: tuple[Limit, ...]) -> tuple[str, ...]:
    """What the chosen one is among those that are ``fit``, what it reads, and how it keeps the limits."""
    readings = [text.format(chosen.readings[metric].words(unit)) for metric, text, unit in _READINGS if metric in chosen.readings]
    alone = "It is the only one that keeps every limit" if len(fit) == 1 else f"It is the fastest of {len(fit)} that keep every limit"
    held = "; ".join(limit.hold(chosen).words for limit in asked)
    return (alone, ", ".join(readings), f"against the limits: {held}")


def numbers(chosen: Candidate, pool: list[Candidate], ties: tuple[Variant, ...]) -> str:
    """What the chosen one reads, against the baseline, what it lost, and its ties: one line of the first screen."""
    metric, text, unit = typical(chosen.readings)
    reading, start = chosen.readings[metric], baseline([candidate.variant for candidate in pool])
    told = [f"{text.format(reading.words(unit))} (n {reading.n:.0f})" if reading.n else text.format(reading.words(unit))]
    if start and start is not chosen.variant:
        found = against(start, chosen.variant)
        told.append(f"{found.words}, against {start.trial.label} (n {found.comparison.n} rounds)")
    told.append(lost(chosen.variant).text if start is not chosen.variant else "the baseline itself")
    close = f"; not distinguishable from {some([tie.trial.label for tie in ties], 3)}" if ties else ""
    words = "; ".join(told) + close
    return f"{words[0].upper()}{words[1:]}."


def faster_and_out(chosen: Candidate, pool: list[Candidate], asked: tuple[Limit, ...]) -> str:
    """Who is measurably faster and was left out for what it lost, or may have lost; empty where nobody is."""
    accuracy, *others = asked
    lossy = [one for one in pool if keeps(one, others) and not accuracy.hold(one).kept]
    out = [one for one in lossy if against(chosen.variant, one.variant).verdict is Verdict.FASTER]
    if not out:
        return ""
    named = [f"{one.label} ({accuracy.hold(one).missed})" for one in sorted(out, key=lambda one: sample_ns(one.variant))]
    return f"Faster, and not known to keep the budget: {some(named, 2, '; ')}."


def same_files(model: str, findings: Findings) -> str:
    """Which recipes of ``model`` left another one's file as it was; empty where none did."""
    named = {trial.id: trial for trial in findings.plan if trial.model == model and trial.usual and not trial.sweep}
    found = [(named[name], first) for name, first in findings.doubles.items() if name in named]
    searched = [(one, first) for one, first in found if family(one.recipe) == "adaptive"]
    others = [(one, first) for one, first in found if family(one.recipe) != "adaptive"]
    nothing = [f"the search found nothing faster than {first.label}: {one.recipe} is the same file" for one, first in searched]
    told = some([*nothing, *(f"{one.label} is the same file as {first.recipe}" for one, first in others)], 3, "; ")
    return f"{told[0].upper()}{told[1:]}." if told else ""


def known(model: str, timed: list[Candidate], asked: tuple[Limit, ...], findings: Findings) -> tuple[str, ...]:
    """What a rehearsal tells all the same: what ran, how large files are, what they lost."""
    accuracy, ours = asked[0], [trial for trial in findings.compared if trial.model == model and not trial.control]
    not_timed = len(ours) - len(timed)
    ran = f"{len(timed)} of {len(ours)} configurations ran here and passed parity" + (
        f"; {not_timed} did not, and the report gives each reason" if not_timed else ""
    )
    kept = [candidate for candidate in timed if accuracy.hold(candidate).kept and "size" in candidate.readings]
    if not kept:
        return (ran, f"none of them is known to keep the budget: {accuracy.words}")
    least = min(kept, key=lambda candidate: candidate.readings["size"].value)
    small = f"the smallest file that keeps the budget is that of {least.label}, {least.readings['size'].words(1e3)} kB"
    return (
        ran,
        f"{small}; {lost(least.variant).text}",
        "what was lost was computed here: integers may answer differently on another processor",
    )


def why_behind(chosen: Candidate, other: Candidate, asked: tuple[Limit, ...]) -> str:
    """Why ``other`` was not advised: limits it breaks, its speed with interval and verdict, and what it needs more or less of."""
    broken = [held.missed for limit in asked for held in [limit.hold(other)] if not held.kept]
    found = against(other.variant, chosen.variant)
    said = _REVERSED[found.verdict] + (f": {found.note}" if found.note else "")
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


def unmet(pool: list[Candidate], asked: tuple[Limit, ...]) -> tuple[Unmet, ...]:
    """Each limit that stands in the way: of those that keep all the others the nearest to it; else the nearest of all, if it misses."""
    found = []
    for limit in asked:
        others = [one for one in asked if one is not limit]
        nearly = [candidate for candidate in pool if keeps(candidate, others)]
        nearest = min(nearly or pool, key=lambda candidate: limit.hold(candidate).over)
        held = limit.hold(nearest)
        if held.kept:
            continue
        together = " of those that keep the other limits" if nearly and others else ""
        reason = f"nearest{together} is {nearest.label}, {held.missed}"
        found.append(Unmet(limit.words, configuration(nearest.variant.trial), reason))
    return tuple(found) or tuple(_torn(limit, pool, asked) for limit in asked)


def _torn(limit: Limit, pool: list[Candidate], asked: tuple[Limit, ...]) -> Unmet:
    """A limit that can be kept, but only by what breaks another one."""
    nearest = min(pool, key=lambda candidate: limit.hold(candidate).over)
    broken = [held.missed for other in asked for held in [other.hold(nearest)] if not held.kept]
    return Unmet(limit.words, configuration(nearest.variant.trial), f"{nearest.label} keeps it and breaks another: {'; '.join(broken)}")
