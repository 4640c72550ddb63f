"""The case of the photographs as tables: what was tried, each step with what it brought, and where the time of a photograph goes."""

import pandas as pd

from studylib.results.case_results import CaseResult, Way
from studylib.verdicts.cases import image as image_case
from studylib.wording import digits, ratio_text

_NS_PER_MS = 1e6


def tried(result: CaseResult) -> pd.DataFrame:
    """Every runtime and precision: how fast, and how right on the labelled photographs."""
    return pd.DataFrame([_tried(result, way) for way in result.tried])


def _tried(result: CaseResult, way: Way) -> dict:
    if way.reason:
        return {"set-up": way.name, "why not": way.reason}
    found = image_case.quality(result, way)
    if found.top1 is None:
        right = {"agrees": f"{found.agrees:.1%}"}
    else:
        right = {"right, first name": _share(found.top1), "right, five names": _share(found.top5)}
        right |= {"lost": found.lost.lost, "gained": found.lost.gained}
    kept = "kept" if found.is_within else "OVER BUDGET"
    return {"set-up": way.name, "photographs_per_s": _spread(image_case.per_second(way)), **right, "budget": kept}


def steps(result: CaseResult) -> pd.DataFrame:
    """Each step against the one before."""
    rows, before = [], None
    for way in result.story:
        row = {"step": way.name, "what": way.what}
        if way.reason:
            rows.append(row | {"why not": way.reason})
            continue
        row |= {f"p{percentile}_ms": _latency(way, percentile) for percentile in (50, 95, 99)}
        row |= {"n": sum(map(len, way.rounds)), "photographs_per_s": _spread(image_case.per_second(way))}
        ratio = image_case.gain(before, way) if before else None
        rows.append(row | {"times as many as the step before": f"{ratio_text(ratio)}, {_more(ratio)}" if ratio else ""})
        before = way
    return pd.DataFrame(rows)


def stages(result: CaseResult) -> pd.DataFrame:
    """Milliseconds of a photograph by stage, medians over rounds."""
    rows = []
    for way in result.story:
        if not way.reason:
            found = {f"{name}_ms": digits(sorted(values)[len(values) // 2] / _NS_PER_MS) for name, values in way.stages_ns.items()}
            rows.append({"step": way.name} | found)
    return pd.DataFrame(rows)


def _latency(way: Way, percentile: float) -> str:
    found = image_case.latency_ms(way, percentile)
    return _spread(found) if found else "–"


def _more(ratio) -> str:
    return {"faster": "more", "slower": "fewer"}.get(str(ratio.verdict), str(ratio.verdict))


def _share(estimate) -> str:
    return f"{100 * estimate.value:.1f} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}] %"


def _spread(estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return digits(estimate.value)
    return f"{digits(estimate.value)} [{digits(estimate.low)}, {digits(estimate.high)}]"
