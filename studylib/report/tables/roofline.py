"""How far every timed trial is from what this host can do at most: the tables of the roofline (`studylib.results.roof` holds the model)."""

import pandas as pd

from studylib import wording
from studylib.report.tables import frames
from studylib.results import roof, standing
from studylib.results.peaks import FAR_BEYOND, Peak, Peaks
from studylib.results.roof import Point
from studylib.results.rows import MEDIAN, estimate
from studylib.verdicts.findings import Findings, of_findings
from studylib.wording import without_empty


@of_findings
def points(findings: Findings) -> list[Point]:
    """Every timed trial that is no A/A control, in the order of the plan."""
    table = findings.table
    medians = table[(table.metric == MEDIAN) & (table.status == "ok")].set_index("trial_id")
    timed = [trial for trial in findings.results.distinct() if trial.id in medians.index and not trial.control]
    return [findings.results.roof_of(trial, estimate(medians.loc[trial.id])) for trial in timed]


@of_findings
def roofline(findings: Findings) -> pd.DataFrame:
    """Every timed trial: operations, least bytes, what was achieved, which roof bounds it, how much of the roof it reaches."""
    columns = [*frames.KEY, "setting", "Mop", "least MB", "op/byte", "Gop/s", "bound by", "roof Gop/s", "% of roof", "remarks"]
    found = [_columns(point) | {"LoadGen": standing.loadgen(findings.results, point.trial)} for point in points(findings)]
    return without_empty(pd.DataFrame(found, columns=[*columns, "LoadGen"]))


@of_findings
def peaks(findings: Findings) -> pd.DataFrame:
    """What this host can do at most, as it was measured: arithmetic, and bandwidth by working set."""
    columns = ["threads", "what", "peak", "slowest round", "rounds", "by", "remarks"]
    found = []
    for record in findings.results.peaks().values():
        read = Peaks.from_json(record)
        if read is None:
            found.append({"threads": record.get("threads"), "what": "–", "remarks": record.get("reason", roof.UNREADABLE)})
            continue
        without = "; ".join(f"{name}: {why}" for name, why in read.without.items())
        remarks = "; ".join(filter(None, [f"host {read.host_id}, {read.measured_at[:10]}", read.busy, without]))
        found.append({"threads": read.threads, "what": "float32", **_peak_columns(read.float32, "Gop/s"), "remarks": remarks})
        if read.int8:
            found.append({"threads": read.threads, "what": "int8", **_peak_columns(read.int8, "Gop/s")})
        for level in read.memory:
            what = f"memory, {size_text(level.working_set_bytes)}"
            found.append({"threads": read.threads, "what": what, **_peak_columns(level.peak, "GB/s")})
        found[-1]["remarks"] = _cached(read)
    return pd.DataFrame([dict.fromkeys(columns, "") | row for row in found], columns=columns)


def size_text(size_bytes: float) -> str:
    """``256 KiB`` or ``64 MiB``."""
    return f"{size_bytes / 2**20:.4g} MiB" if size_bytes >= 2**20 else f"{size_bytes / 2**10:.4g} KiB"


def _columns(point: Point) -> dict:
    key = {"model": point.trial.model, "runtime": point.trial.where, "recipe": point.trial.shown, "batch": point.trial.batch_size}
    key["setting"] = point.setting
    if point.reason:
        return (
            key
            | dict.fromkeys(("Mop", "least MB", "op/byte", "Gop/s", "bound by", "roof Gop/s", "% of roof"), "–")
            | {"remarks": point.reason}
        )
    bound = point.arithmetic if point.bound == "compute" else f"{size_text(point.level.working_set_bytes)} working set"
    return key | {
        "Mop": wording.digits(point.operations / 1e6),
        "least MB": wording.digits(point.least_bytes / 1e6),
        "op/byte": wording.digits(point.intensity),
        "Gop/s": wording.estimated(point.achieved, 1e9),
        "bound by": f"{point.bound} ({bound})",
        "roof Gop/s": wording.digits(point.roof_per_s / 1e9),
        "% of roof": wording.estimated(point.fraction, 0.01),
        "remarks": "; ".join(point.remarks),
    }


def _cached(read: Peaks) -> str:
    """Whether what stands for main memory may partly be a cache, in words."""
    if read.cache_bytes is None:
        return "the system does not state its caches: this may partly be one of them"
    if read.main_memory.working_set_bytes >= FAR_BEYOND * read.cache_bytes:
        return ""
    return f"the system states a cache of {size_text(read.cache_bytes)}: this may partly be that"


def _peak_columns(peak: Peak, unit: str) -> dict:
    texts = [f"{wording.digits(value / 1e9)} {unit}" for value in (peak.per_s, peak.slowest_round_per_s)]
    return {"peak": texts[0], "slowest round": texts[1], "rounds": peak.rounds, "by": peak.how}
