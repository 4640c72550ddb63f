"""What LoadGen wrote about a test: its numbers, whether it calls the test valid, and why not."""

import json
import re
from pathlib import Path

import numpy as np

from studylib.errors import RefusedError

# How far LoadGen's median may lie above ours before one of the clocks is doubted: its callback into Python and the way back.
_SHARE, _CALLBACK_NS = 0.05, 200_000
_RULES = {
    "result_min_duration_met": "shorter than the shortest duration",
    "result_min_queries_met": "fewer queries than asked for",
    "result_perf_constraints_met": "the latency bound is not kept",
    "early_stopping_met": "too few queries for its percentile",
}


def read(folder: Path) -> dict:
    """The last value of every key in the detailed log, and its ``errors``. Raises `RefusedError` without a result."""
    log: dict = {"errors": []}
    for line in (folder / "mlperf_log_detail.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith(":::MLLOG "):
            entry = json.loads(line.removeprefix(":::MLLOG "))
            log[entry["key"]] = entry["value"]
            if entry["metadata"].get("is_error"):
                log["errors"].append(_plain(entry["value"]))
    if "result_validity" not in log:
        raise RefusedError(f"LoadGen ended without a result: {'; '.join(log['errors']) or 'its log says nothing'}")
    return log


def validity(log: dict) -> tuple[bool, str]:
    """LoadGen's verdict, and in words what it rests on where that is INVALID: the rules that were broken, then LoadGen's own advice."""
    if log["result_validity"] == "VALID":
        return True, ""
    broken = [words for key, words in _RULES.items() if log.get(key) is False]
    told = [_plain(log.get("result_invalid_reason", "")), *log["errors"]]
    told += [_plain(log.get("early_stopping_result", ""))] if log.get("early_stopping_met") is False else []
    return False, "; ".join(filter(None, [*broken, *told]))


def early_stopping(log: dict) -> tuple[dict[str, int], str]:
    """Estimates in ns by percentile (``"90"``: at most this, with 99 % confidence), and why one is absent."""
    text = _plain(log.get("early_stopping_result", ""))
    found = {f"{float(p):g}": int(ns) for p, ns in re.findall(r"Early stopping ([\d.]+)th percentile estimate: (\d+)", text)}
    missing = re.search(r"(Not enough queries|Only processed).*", text)
    if missing:
        return found, missing[0]
    return found, "" if found else "LoadGen gives no such estimate for this scenario"


def summary(log: dict) -> dict[str, float]:
    """LoadGen's numbers of the result, without the prefix ``result_``."""
    results = {key.removeprefix("result_"): value for key, value in log.items() if key.startswith("result_")}
    return {key: value for key, value in results.items() if isinstance(value, int | float) and not isinstance(value, bool)}


def latencies(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """From the trace, in the order of arrival: latency from the scheduled arrival, and how late the query was issued; ns, int64."""
    text = (folder / "mlperf_log_trace.json").read_text(encoding="utf-8")
    pattern = r'"sample_seq":(\d+),.*?"issue_start_ns":(\d+),"complete_ns":(\d+)'
    found = sorted(tuple(map(int, numbers)) for numbers in re.findall(pattern, text))
    if [number for number, _, _ in found] != list(range(len(found))):
        raise RefusedError("LoadGen's trace does not hold every query once; its latencies cannot be told apart")
    table = np.array(found, np.int64).reshape(-1, 3)
    return table[:, 2], table[:, 1]


def crosscheck(ours_ns: float, loadgen_ns: float) -> dict:
    """Both clocks. LoadGen's must be ours and a little more: its callbacks, and the way through Python."""
    extra = loadgen_ns - ours_ns
    agrees = -_SHARE * loadgen_ns <= extra <= max(_SHARE * loadgen_ns, _CALLBACK_NS)
    return {"ours_ns": ours_ns, "loadgen_ns": loadgen_ns, "difference_ns": extra, "agrees": agrees}


def _plain(text: str) -> str:
    """LoadGen's paragraphs on one line."""
    return " ".join(str(text).replace(" * ", " ").split()).rstrip(".")
