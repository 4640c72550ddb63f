"""The roof over one trial (the roofline model of Williams, Waterman and Patterson, 2009): how far it is from what its host can do.

Operations are twice the multiply-accumulates of the file, whatever the runtime makes of it. Bytes are the least that a query
has to move: every weight once, inputs and outputs of each sample; what lies between the layers is not known and comes on top.
The roof of a trial is the smaller of the arithmetic peak and of intensity times bandwidth. Bandwidth is that of a working set as
large as these bytes: weights of a small model stay in the cache, and main memory does not bound them.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from studylib.results.peaks import Level, Peaks
from studylib.results.records import Trial
from studylib.stats import Estimate

# The peaks are those of the processor.
_PROCESSOR = ("cpu", "xnnpack", "dnnl")
# They take as many threads as they like, and peaks are measured with a number of them.
_FREE_THREADS = ("coreml",)
# In these a query's latency is the time its samples were computed in; elsewhere it includes waiting.
_WITHOUT_WAITING = ("single_stream", "multi_stream", "offline", "streaming")
_USUAL = ("single_stream", "offline")
_TABLES_READ_IN_PART = ("Gather", "GATHER", "GatherV2", "ResourceGather", "EMBEDDING_LOOKUP", "Embedding")
# Above this share of float weights, a file that computes in integers is called mixed.
_MIXED = 0.05

UNREADABLE = "the peaks cannot be read; `make study FORCE=1` measures them again"


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
        threads = f"{self.trial.threads} {_threads(self.trial)}" if self.trial.sweep == "threads" else ""
        scenario = "" if self.trial.scenario in _USUAL else self.trial.scenario
        return ", ".join(filter(None, (self.trial.options, threads, scenario)))

    @property
    def is_suspicious(self) -> bool:
        return self.fraction is not None and self.fraction.value > 1


def found_peaks(records: dict[str, dict], trial: Trial, hosts: set[str]) -> tuple[Peaks | None, str]:
    """The peaks that a trial timed on ``hosts`` may be held against: its host's, with its threads; or None and why there are none.

    ``records``: what `studylib.measure.peaks` measured, by number of threads.
    """
    record = records.get(str(trial.threads))
    if not isinstance(record, dict):
        return None, f"no peaks were measured with {trial.threads} {_threads(trial)}"
    read = Peaks.from_json(record)
    if read is None:
        return None, record.get("reason", UNREADABLE)
    if hosts != {read.host_id}:
        return None, f"timed on host {', '.join(sorted(hosts))}; the peaks were measured on host {read.host_id}"
    return read, ""


def flops(inside: dict | None) -> float | None:
    """Floating-point (or integer) operations of one sample: two for each multiply-accumulate; None where they are not known."""
    macs = (inside or {}).get("macs")
    return None if macs is None else 2.0 * macs


def point(trial: Trial, inside: dict | None, peaks: tuple[Peaks | None, str], median: Estimate) -> Point:
    """Where a trial of this ``median`` latency (ns) stands; ``inside``: what its file holds; ``peaks`` as `found_peaks` gives them."""
    host, reason = peaks
    reason = _why_not(trial, inside) or reason
    if reason:
        return Point(trial, reason)
    arithmetic = "int8" if inside.get("float_islands") else "float32"
    if arithmetic == "int8" and host.int8 is None:
        return Point(trial, "it computes in integers, and no library here measures that peak", arithmetic=arithmetic)
    operations, moved = flops(inside) * trial.batch_size, least_bytes(inside, trial.batch_size)
    bandwidth, level = host.bandwidth(moved)
    compute, memory = getattr(host, arithmetic).per_s, operations / moved * bandwidth
    bound = "compute" if compute <= memory else "memory"
    found = Point(trial, "", operations, moved, arithmetic, _achieved(operations, median), min(compute, memory), bound, level)
    return replace(found, remarks=tuple(filter(None, _remarks(found, inside, host))))


def least_bytes(inside: dict, batch_size: int) -> float:
    """The least that a query moves: each weight once, inputs and outputs of every sample; axes that are not known count as one."""
    ends = sum(_sample_bytes(tensor) for tensor in (*inside.get("inputs", ()), *inside.get("outputs", ())))
    return float(sum(inside["weight_bytes"].values()) + batch_size * ends)


def _why_not(trial: Trial, inside: dict | None) -> str:
    """Why a trial has no place under the roof, in words."""
    if trial.provider not in _PROCESSOR:
        return f"it runs on {trial.provider}; the peaks are the processor's"
    if trial.runtime in _FREE_THREADS:
        return f"{trial.runtime} takes as many threads as it likes; the peaks are those of {trial.threads}"
    if trial.scenario not in _WITHOUT_WAITING:
        return f"the latency of a {trial.scenario} query includes waiting"
    if inside is None:
        return "the file was not looked into, so its operations are not known"
    if inside.get("macs") is None:
        return f"the operations are not known: {inside.get('macs_why')}"
    return "" if inside["macs"] and inside.get("weight_bytes") else "the file holds no multiply-accumulates with weights"


def _sample_bytes(tensor: dict) -> int:
    """Bytes of one sample of an input or output; the first axis is the batch. 0 for a type whose size numpy does not know."""
    try:
        size = np.dtype(tensor["dtype"]).itemsize
    except (TypeError, KeyError):
        return 0
    return size * math.prod(axis or 1 for axis in (tensor.get("shape") or ())[1:])


def _achieved(operations: float, median: Estimate) -> Estimate:
    """Operations a second: the slow end of the latency's interval is the low end here."""
    low, high = (None if bound is None else operations / (bound / 1e9) for bound in (median.high, median.low))
    return Estimate(operations / (median.value / 1e9), low, high, median.level, median.n)


def _remarks(found: Point, inside: dict, host: Peaks):
    if found.is_suspicious:
        yield (
            f"SUSPICIOUS: {found.fraction.value:.2f} times the roof. Either the peaks are too low (FORCE=1 measures them again), or the "
            "runtime does less than was counted: fewer multiplications (Winograd), zeros left out, a lower precision than the file's"
        )
        yield host.busy
    weights = inside["weight_bytes"]
    floats = sum(size for name, size in weights.items() if "float" in name) / sum(weights.values())
    if found.arithmetic == "int8" and floats > _MIXED:
        yield f"{floats:.0%} of the weights are float: held against int8, the roof is higher than it could reach"
    if found.bound == "memory" and any(name in inside.get("operators", ()) for name in _TABLES_READ_IN_PART):
        yield "its lookup tables are read only in part, so fewer bytes may be enough"


def _threads(trial: Trial) -> str:
    return "thread" if trial.threads == 1 else "threads"
