"""What was measured: raw repetitions on disk, and the long table that is derived from them.

Raw files are only ever added. ``raw/<trial>/c0002-r003-a0.json`` is campaign 2 (a campaign ends with ``FORCE=1``),
repetition 3, attempt 0. Every later number is computed from these files.
"""

import hashlib
import json
import logging
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path

import numpy as np

from studylib import stats
from studylib.artifact import write_bytes, write_text
from studylib.errors import InputError

log = logging.getLogger(__name__)

SCHEMA_VERSION = 1
COLUMNS = (
    "schema_version", "study", "hardware", "native", "host_id", "model", "weights", "recipe", "format", "runtime",
    "runtime_version", "provider", "threads", "scenario", "batch_size", "metric", "value", "unit", "ci_low", "ci_high",
    "level", "n", "status", "reason", "artifact_sha256", "trial_id", "measured_at",
)  # fmt: skip
_RUN_KEYS = {
    "study": str, "hardware": str, "title": str, "native": bool, "mismatches": list, "host": dict, "host_id": str, "threads": int,
    "parameters": dict, "failures": dict, "command": str,
}  # fmt: skip
PERCENTILES = (50, 90, 95, 99)


@dataclass(frozen=True)
class Trial:
    """One thing to measure. ``reason`` says from the start why it is skipped; ``control`` marks the A/A twin.

    ``conditions`` is a hash of all that changes a measurement and is not named here: host, effort, harness.
    """

    model: str
    weights: str
    recipe: str
    format: str
    runtime: str
    runtime_version: str
    provider: str
    threads: int
    scenario: str
    batch_size: int
    artifact_key: str
    evaluation_id: str
    conditions: str
    control: bool = False
    reason: str | None = None

    @cached_property
    def id(self) -> str:
        facts = {key: value for key, value in asdict(self).items() if key != "reason"}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def label(self) -> str:
        """A short name that is unique within one model."""
        provider = "" if self.provider == "cpu" else f"/{self.provider}"
        batch = "" if self.batch_size == 1 else f" x{self.batch_size}"
        return f"{self.runtime}{provider} {self.recipe}{batch}{' (A/A)' if self.control else ''}"


@dataclass(frozen=True)
class Measurement:
    """One repetition in one fresh process: raw values in ns, warm-up kept apart. No summary inside.

    ``session`` names the uninterrupted run that interleaved it with others: only inside one are rounds paired.
    ``cold_start_ns``: process, activate, load, first_inference, and the total from spawn to answer.
    ``memory_bytes``: rss_before, rss_after_load,
    rss_after_first, rss_peak, vms_peak. ``disturbances``: what went on beside it; ``status``: ok, invalid or failed.
    """

    trial_id: str
    campaign: int
    repetition: int
    attempt: int
    session: str
    status: str
    reason: str
    host_id: str
    started_at: str
    ended_at: str
    values_ns: tuple[int, ...] = field(default=(), repr=False)
    warmup_ns: tuple[int, ...] = field(default=(), repr=False)
    cold_start_ns: dict = field(default_factory=dict)
    memory_bytes: dict = field(default_factory=dict)
    placement: str = ""
    disturbances: dict = field(default_factory=dict)

    @property
    def file_name(self) -> str:
        return f"c{self.campaign:04d}-r{self.repetition:03d}-a{self.attempt}.json"


class Results:
    """Everything measured on one hardware set, in ``outputs/<HW>/``."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self.raw = self.folder / "raw"
        self._cache: dict[Path, tuple] = {}

    # --- raw records -------------------------------------------------------------------------------------------------

    def record(self, measurement: Measurement) -> None:
        """Add one repetition. The file appears whole or not at all."""
        _write_sealed(self.raw / measurement.trial_id / measurement.file_name, asdict(measurement))

    def attempts(self, trial_id: str) -> list[Measurement]:
        """All attempts of the trial's newest campaign, in order of repetition and attempt."""
        found = [self._cached(path, _read_measurement) for path in sorted((self.raw / trial_id).glob("c*-r*-a*.json"))]
        attempts = [attempt for attempt in found if attempt]
        newest = max((attempt.campaign for attempt in attempts), default=0)
        return [attempt for attempt in attempts if attempt.campaign == newest]

    def measurements(self, trial_id: str) -> list[Measurement]:
        """The valid repetitions of the trial's newest campaign, one for each repetition."""
        return [attempt for attempt in self.attempts(trial_id) if attempt.status == "ok"]

    def newest_campaign(self) -> int:
        """The highest campaign number that any trial has; 0 before the first."""
        return max((int(path.name[1:5]) for path in self.raw.glob("*/c[0-9][0-9][0-9][0-9]-r*.json")), default=0)

    def record_evaluation(self, evaluation_id: str, evaluation: dict) -> None:
        """Keep the quality measures of one artifact in one runtime on this host."""
        _write_sealed(self.raw / evaluation_id / "evaluation.json", evaluation)

    def evaluation(self, evaluation_id: str) -> dict | None:
        path = self.raw / evaluation_id / "evaluation.json"
        return self._cached(path, _read_evaluation) if path.exists() else None

    def forget_failed_evaluations(self) -> None:
        """Remove evaluations that failed, so that they are tried again; those that passed stay."""
        for path in self.raw.glob("*/evaluation.json"):
            if (self._cached(path, _read_sealed) or {}).get("status") == "failed":
                path.unlink()

    # --- the study ---------------------------------------------------------------------------------------------------

    def save_plan(self, trials: Iterable[Trial], run: dict, artifacts: list[dict]) -> None:
        """Write ``plan.json``, ``run.json`` and ``artifacts.json``."""
        write_text(self.folder / "plan.json", json.dumps([asdict(trial) for trial in trials], indent=1))
        write_text(self.folder / "run.json", json.dumps(run, indent=1))
        write_text(self.folder / "artifacts.json", json.dumps(artifacts, indent=1))

    def plan(self) -> list[Trial]:
        """The trials of the latest study. Raises `InputError` when there was none."""
        try:
            return [Trial(**facts) for facts in self._read("plan.json", list)]
        except TypeError:
            raise InputError(
                f"{self.folder / 'plan.json'} was written by another version of studylib. Run `make study HW={self.folder.name}` again."
            ) from None

    def run(self) -> dict:
        """Resolved parameters, host facts, versions and times of the latest study."""
        run = self._read("run.json", dict)
        missing = [key for key in _RUN_KEYS if not isinstance(run.get(key), _RUN_KEYS[key])]
        if missing:
            raise self._unreadable("run.json", f"it has no usable '{missing[0]}'")
        return run

    def artifacts(self) -> dict[str, dict]:
        """Facts of the latest study's artifacts by key."""
        try:
            return {facts["key"]: facts for facts in self._read("artifacts.json", list)}
        except (TypeError, KeyError) as error:
            raise self._unreadable("artifacts.json", error) from None

    def status(self, trial: Trial) -> tuple[str, str]:
        """(ok, skipped, failed, invalid or pending) and the reason in words."""
        if trial.reason:
            return "skipped", trial.reason
        if trial.artifact_key in self.failures():
            return "failed", self.failures()[trial.artifact_key]
        evaluation = self.evaluation(trial.evaluation_id) or {}
        if evaluation.get("status") == "failed":
            return "failed", evaluation["reason"]
        attempts = self.attempts(trial.id)
        failed = [attempt.reason for attempt in attempts if attempt.status == "failed"]
        if failed:
            return "failed", failed[0]
        if any(attempt.status == "ok" for attempt in attempts):
            return "ok", ""
        if attempts:
            return "invalid", attempts[-1].reason
        return "pending", "not measured yet; run `make study` again to go on"

    def failures(self) -> dict[str, str]:
        """Artifacts that could not be made, with the reason."""
        return self.run().get("failures", {})

    def table(self) -> "pandas.DataFrame":  # noqa: F821
        """The long table of the latest study, computed from the raw files."""
        import pandas as pd

        run, artifacts = self.run(), self.artifacts()
        frames = [pd.DataFrame(self._rows(trial, run, artifacts), columns=COLUMNS) for trial in self.plan()]
        return pd.concat(frames, ignore_index=True).astype({"value": float, "ci_low": float, "ci_high": float, "n": "Int64"})

    def save_table(self) -> "pandas.DataFrame":  # noqa: F821
        """Compute the table and write ``results.parquet``."""
        import io

        table, buffer = self.table(), io.BytesIO()
        table.to_parquet(buffer, index=False)
        write_bytes(self.folder / "results.parquet", buffer.getvalue())
        return table

    def _rows(self, trial: Trial, run: dict, artifacts: dict) -> list[dict]:
        status, reason = self.status(trial)
        measurements = self.measurements(trial.id) if status == "ok" else []
        artifact = artifacts.get(trial.artifact_key, {})
        common = {
            "schema_version": SCHEMA_VERSION,
            "study": run["study"],
            "hardware": run["hardware"],
            "native": run["native"],
            "host_id": run["host_id"],
            **{key: getattr(trial, key) for key in COLUMNS if hasattr(trial, key)},
            "status": status,
            "reason": reason,
            "level": stats.LEVEL,
            "artifact_sha256": artifact.get("sha256"),
            "trial_id": trial.id,
            "measured_at": max((measurement.ended_at for measurement in measurements), default=None),
        }
        found = [*_size_rows(artifact), *_quality_rows(self.evaluation(trial.evaluation_id), trial), *_time_rows(trial, measurements)]
        return [common | row for row in found] or [common | _row("none", math.nan, "")]

    def _read(self, name: str, kind: type):
        path = self.folder / name
        try:
            content = self._cached(path, lambda path: json.loads(path.read_text(encoding="utf-8")))
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(f"{path} is missing: no study ran here yet. Run `make study HW={self.folder.name}` first.") from None
        except (OSError, ValueError, RecursionError) as error:
            raise self._unreadable(name, error) from None
        if not isinstance(content, kind) or (not content and name == "plan.json"):
            raise self._unreadable(name, f"it holds no {'trials' if name == 'plan.json' else kind.__name__}")
        return content

    def _unreadable(self, name: str, why) -> InputError:
        return InputError(f"{self.folder / name} cannot be read ({why}). Run `make study HW={self.folder.name}` again.")

    def _cached(self, path: Path, read):
        """``read(path)``, again only when the file has changed."""
        facts = path.lstat()
        stamp = (facts.st_mtime_ns, facts.st_size, facts.st_ino)
        if self._cache.get(path, (None,))[0] != stamp:
            self._cache[path] = stamp, read(path)
        return self._cache[path][1]


def _row(metric: str, value: float, unit: str, low: float | None = None, high: float | None = None, n: int | None = None) -> dict:
    return {"metric": metric, "value": value, "unit": unit, "ci_low": low, "ci_high": high, "n": n}


def _estimate_row(metric: str, estimate: stats.Estimate, unit: str) -> dict:
    return _row(metric, estimate.value, unit, estimate.low, estimate.high, estimate.n)


def _size_rows(artifact: dict) -> list[dict]:
    return [_row("size", artifact["size_bytes"], "byte", n=1)] if artifact else []


def _quality_rows(evaluation: dict | None, trial: Trial) -> list[dict]:
    """Fidelity for every model; accuracy only where samples are labelled and weights are not random.

    Samples that are not independent (crops of a few photographs) carry no interval: a binomial one would be far too narrow.
    """
    if not evaluation or "n" not in evaluation:
        return []
    n = evaluation["n"]
    rows = [
        _row("output_mse", evaluation["output_mse"], "1", n=n),
        _row("sqnr", evaluation["sqnr"], "dB", n=n),
        _estimate_row("agreement", proportion(evaluation, "agreeing"), "1"),
    ]
    if "correct" in evaluation and trial.weights != "random":
        rows.append(_estimate_row("top1_accuracy", proportion(evaluation, "correct"), "1"))
    return rows


def proportion(evaluation: dict, name: str) -> stats.Estimate:
    """The share of true values of an evaluation's list, with an exact interval where samples are independent."""
    estimate = stats.binomial_interval(sum(evaluation[name]), evaluation["n"])
    return estimate if evaluation["independent"] else replace(estimate, low=None, high=None)


def _time_rows(trial: Trial, measurements: list[Measurement]) -> list[dict]:
    if not measurements:
        return []
    groups = [np.array(measurement.values_ns, float) for measurement in measurements]
    mean = stats.pooled_mean(groups)
    rows = [_estimate_row("latency_mean", mean, "ns")]
    values = np.concatenate(groups)
    if len(values) > 1:
        rows.append(_row("latency_stdev", float(values.std(ddof=1)), "ns", n=len(values)))
    for percentile in PERCENTILES:
        estimate = stats.pooled_percentile(groups, percentile)
        if estimate is not None:
            rows.append(_estimate_row(f"latency_p{percentile}", estimate, "ns"))
    per_second = [None if bound is None else 1e9 * trial.batch_size / bound for bound in (mean.value, mean.high, mean.low)]
    rows.append(_row("throughput", per_second[0], "samples/s", per_second[1], per_second[2], mean.n))
    return rows + _process_rows(measurements)


def _process_rows(measurements: list[Measurement]) -> list[dict]:
    """Memory and cold start: one value a process, so n is the number of repetitions."""
    memory = [measurement.memory_bytes for measurement in measurements]
    cold = [measurement.cold_start_ns for measurement in measurements]
    columns = {
        ("rss_peak", "byte"): [m["rss_peak"] for m in memory],
        ("rss_model", "byte"): [m["rss_after_first"] - m["rss_before"] for m in memory],
        ("vms_peak", "byte"): [m["vms_peak"] for m in memory],
        ("load_time", "ns"): [c["load"] for c in cold],
        ("first_inference", "ns"): [c["first_inference"] for c in cold],
        ("cold_start", "ns"): [c["total"] for c in cold],
    }
    return [
        _estimate_row(metric, stats.pooled_mean([np.array([value]) for value in values]), unit)
        for (metric, unit), values in columns.items()
    ]


def _read_measurement(path: Path) -> Measurement | None:
    record = _read_sealed(path)
    if record is None:
        return None
    try:
        measurement = Measurement(**record | {"values_ns": tuple(record["values_ns"]), "warmup_ns": tuple(record["warmup_ns"])})
        datetime.fromisoformat(measurement.started_at), datetime.fromisoformat(measurement.ended_at)
        if measurement.status == "ok":
            needed = [measurement.memory_bytes[name] for name in _MEMORY] + [measurement.cold_start_ns[name] for name in _COLD_START]
            numbers = [*measurement.values_ns, *needed]
            if not measurement.values_ns or not all(isinstance(number, int) and number > 0 for number in numbers):
                raise ValueError("times and sizes must be positive whole numbers")
    except (TypeError, ValueError, KeyError) as error:
        return _damaged(path, f" ({error})")
    return measurement


_MEMORY = ("rss_before", "rss_after_first", "rss_peak", "vms_peak")
_COLD_START = ("load", "first_inference", "total")


def _read_evaluation(path: Path) -> dict | None:
    record = _read_sealed(path)
    if record is None:
        return None
    n, passed = record.get("n"), record.get("status") == "ok"
    lists = [record[name] for name in ("agreeing", "correct") if name in record]
    sound = isinstance(record.get("reason"), str) and (passed or record.get("status") == "failed")
    if "n" in record or passed:
        sound = sound and isinstance(n, int) and all(isinstance(values, list) and len(values) == n for values in lists) and bool(lists)
        sound = sound and all(isinstance(record.get(name), float | int) for name in ("sqnr", "output_mse", "independent"))
    return record if sound else _damaged(path)


def _seal(record: dict) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _write_sealed(path: Path, record: dict) -> None:
    record = json.loads(json.dumps(record))
    write_text(path, json.dumps({"record": record, "sha256": _seal(record)}))


def _read_sealed(path: Path) -> dict | None:
    """The record, or None (and a warning) when its bytes do not match its hash: it will be measured again."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        sealed = isinstance(content["record"], dict) and content["sha256"] == _seal(content["record"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        sealed = False
    return content["record"] if sealed else _damaged(path)


def _damaged(path: Path, why: str = "") -> None:
    log.warning("%s is damaged%s; it is ignored and measured again.", path.name, why)
