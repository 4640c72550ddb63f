"""How far every timed trial is from what this host can do at most (the roofline model of Williams, Waterman and Patterson, 2009).

Operations are twice the multiply-accumulates of the file, whatever the runtime makes of it. Bytes are the least that a query
has to move: every weight once, inputs and outputs of each sample; what lies between the layers is not known and comes on top.
The roof of a trial is the smaller of the arithmetic peak and of intensity times bandwidth. Bandwidth is that of a working set as
large as these bytes: weights of a small model stay in the cache, and main memory does not bound them.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from studylib import tables, wording
from studylib.peaks import FAR_BEYOND, Level, Peak, Peaks
from studylib.records import Trial
from studylib.results import Results
from studylib.rows import PERCENTILES
from studylib.stats import Estimate

# The peaks are those of the processor.
_PROCESSOR = ("cpu", "xnnpack", "dnnl")
# In these a query's latency is the time its samples were computed in; elsewhere it includes waiting.
_WITHOUT_WAITING = ("single_stream", "multi_stream", "offline", "streaming")
_USUAL = ("single_stream", "offline")
_TABLES_READ_IN_PART = ("Gather", "GATHER", "GatherV2", "ResourceGather", "EMBEDDING_LOOKUP", "Embedding")
# Above this share of float weights, a file that computes in integers is called mixed.
_MIXED = 0.05
_MEDIAN = f"latency_p{PERCENTILES[0]}"


@dataclass(frozen=True)
class Point:
    """One timed trial under the roof. ``reason`` says why it has no place there; then only what is known is set.

    ``operations`` and ``least_bytes`` of a query; ``arithmetic``: float32 or int8; ``achieved``: operations a second, with the
    interval of the median latency; ``roof_per_s``; ``bound``: compute or memory; ``fraction`` of the roof, as fast as measured.
    """

    trial: Trial
    reason: str = ""
    operations: float = math.nan
    least_bytes: float = math.nan
    arithmetic: str = ""
    achieved: Estimate | None = None
    roof_per_s: float = math.nan
    bound: str = ""
    level: Level | None = None
    remarks: tuple[str, ...] = ()

    @property
    def intensity(self) -> float:
        """Operations for each byte that has to be moved."""
        return self.operations / self.least_bytes

    @property
    def fraction(self) -> Estimate | None:
        """Achieved over roof. Nothing is cut off at 1: beyond it, something was measured or counted wrongly."""
        if self.reason:
            return None
        low, high = (bound and bound / self.roof_per_s for bound in (self.achieved.low, self.achieved.high))
        return Estimate(self.achieved.value / self.roof_per_s, low, high, self.achieved.level, self.achieved.n)

    @property
    def setting(self) -> str:
        """What is not as usual in this trial: options of the runtime, threads, or how queries arrive; mostly nothing."""
        threads = f"{self.trial.threads} threads" if self.trial.sweep == "threads" else ""
        scenario = "" if self.trial.scenario in _USUAL else self.trial.scenario
        return ", ".join(filter(None, (self.trial.options, threads, scenario)))

    @property
    def is_suspicious(self) -> bool:
        return self.fraction is not None and self.fraction.value > 1


def points(results: Results) -> list[Point]:
    """Every timed trial that is no A/A control, in the order of the plan."""
    table = results.table()
    medians = table[(table.metric == _MEDIAN) & (table.status == "ok")].set_index("trial_id")
    return [_point(results, trial, medians.loc[trial.id]) for trial in results.plan() if trial.id in medians.index and not trial.control]


def rows(results: Results) -> pd.DataFrame:
    """Every timed trial: operations, least bytes, what was achieved, which roof bounds it, how much of the roof it reaches."""
    columns = [*tables.KEY, "setting", "Mop", "least MB", "op/byte", "Gop/s", "bound by", "roof Gop/s", "% of roof", "remarks"]
    found = [_columns(point) | {"LoadGen": tables.loadgen(results, point.trial)} for point in points(results)]
    return tables.without_empty(pd.DataFrame(found, columns=[*columns, "LoadGen"]))


def peaks(results: Results) -> pd.DataFrame:
    """What this host can do at most, as it was measured: arithmetic, and bandwidth by working set."""
    columns = ["threads", "what", "peak", "slowest round", "rounds", "by", "remarks"]
    found = []
    for record in results.peaks().values():
        read = Peaks.from_json(record)
        if read is None:
            found.append({"threads": record.get("threads"), "what": "–", "remarks": record.get("reason", _UNREADABLE)})
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


_UNREADABLE = "the peaks cannot be read; `make study FORCE=1` measures them again"


def found_peaks(results: Results, trial: Trial) -> tuple[Peaks | None, str]:
    """The peaks that a trial may be held against: its host's, with its threads; or None and why there are none."""
    record = results.peaks().get(str(trial.threads))
    if record is None:
        return None, f"no peaks were measured with {trial.threads} threads"
    read = Peaks.from_json(record)
    if read is None:
        return None, record.get("reason", _UNREADABLE)
    hosts = {measurement.host_id for measurement in results.measurements(trial.id)}
    if hosts != {read.host_id}:
        return None, f"timed on host {', '.join(sorted(hosts))}; the peaks were measured on host {read.host_id}"
    return read, ""


def size_text(size_bytes: float) -> str:
    """``256 KiB`` or ``64 MiB``."""
    return f"{size_bytes / 2**20:.4g} MiB" if size_bytes >= 2**20 else f"{size_bytes / 2**10:.4g} KiB"


def _point(results: Results, trial: Trial, median: pd.Series) -> Point:
    inside = results.inside().get(trial.artifact_key)
    host, reason = found_peaks(results, trial)
    reason = _why_not(trial, inside) or reason
    if reason:
        return Point(trial, reason)
    arithmetic = "int8" if inside.get("float_islands") else "float32"
    if arithmetic == "int8" and host.int8 is None:
        return Point(trial, "it computes in integers, and no library here measures that peak", arithmetic=arithmetic)
    operations, moved = 2.0 * inside["macs"] * trial.batch_size, least_bytes(inside, trial.batch_size)
    bandwidth, level = host.bandwidth(moved)
    compute, memory = getattr(host, arithmetic).per_s, operations / moved * bandwidth
    bound = "compute" if compute <= memory else "memory"
    point = Point(trial, "", operations, moved, arithmetic, _achieved(operations, median), min(compute, memory), bound, level)
    return replace(point, remarks=tuple(filter(None, _remarks(point, inside, host))))


def _why_not(trial: Trial, inside: dict | None) -> str:
    """Why a trial has no place under the roof, in words."""
    if trial.provider not in _PROCESSOR:
        return f"it runs on {trial.provider}; the peaks are the processor's"
    if trial.scenario not in _WITHOUT_WAITING:
        return f"the latency of a {trial.scenario} query includes waiting"
    if inside is None:
        return "the file was not looked into, so its operations are not known"
    if inside.get("macs") is None:
        return f"the operations are not known: {inside.get('macs_why')}"
    return "" if inside["macs"] and inside.get("weight_bytes") else "the file holds no multiply-accumulates with weights"


def least_bytes(inside: dict, batch_size: int) -> float:
    """The least that a query moves: each weight once, inputs and outputs of every sample; axes that are not known count as one."""
    ends = sum(_sample_bytes(tensor) for tensor in (*inside.get("inputs", ()), *inside.get("outputs", ())))
    return float(sum(inside["weight_bytes"].values()) + batch_size * ends)


def _sample_bytes(tensor: dict) -> int:
    """Bytes of one sample of an input or output; the first axis is the batch. 0 for a type whose size numpy does not know."""
    try:
        size = np.dtype(tensor["dtype"]).itemsize
    except TypeError:
        return 0
    return size * math.prod(axis or 1 for axis in (tensor["shape"] or ())[1:])


def _achieved(operations: float, median: pd.Series) -> Estimate:
    """Operations a second: the slow end of the latency's interval is the low end here."""
    low, high = (None if pd.isna(bound) else operations / (bound / 1e9) for bound in (median.ci_high, median.ci_low))
    return Estimate(operations / (median.value / 1e9), low, high, median.level, int(median.n))


def _remarks(point: Point, inside: dict, host: Peaks):
    if point.is_suspicious:
        yield (
            f"SUSPICIOUS: {point.fraction.value:.2f} times the roof. Either the peaks are too low (FORCE=1 measures them again), or the "
            "runtime does less than was counted: fewer multiplications (Winograd), zeros left out, a lower precision than the file's"
        )
        yield host.busy
    weights = inside["weight_bytes"]
    floats = sum(size for name, size in weights.items() if "float" in name) / sum(weights.values())
    if point.arithmetic == "int8" and floats > _MIXED:
        yield f"{floats:.0%} of the weights are float: held against int8, the roof is higher than it could reach"
    if point.bound == "memory" and any(name in inside.get("operators", ()) for name in _TABLES_READ_IN_PART):
        yield "its lookup tables are read only in part, so fewer bytes may be enough"


def _columns(point: Point) -> dict:
    key = {"model": point.trial.model, "runtime": point.trial.where, "recipe": point.trial.recipe, "batch": point.trial.batch_size}
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
