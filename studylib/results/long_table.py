"""The long table of a study: one row a metric of each trial, computed from raw records. ``results.parquet`` is this table."""

import math

from studylib import stats
from studylib.results import assumed, roof, rows
from studylib.results.records import Trial

SCHEMA_VERSION = 1
COLUMNS = (
    "schema_version", "study", "hardware", "native", "host_id", "model", "weights", "recipe", "format", "runtime",
    "runtime_version", "provider", "threads", "scenario", "batch_size", "metric", "value", "unit", "ci_low", "ci_high",
    "level", "n", "status", "reason", "artifact_sha256", "trial_id", "measured_at",
)  # fmt: skip


def build(results) -> "pandas.DataFrame":  # noqa: F821
    """The table of ``results`` (`studylib.results.results.Results`), in the order of its plan."""
    import pandas as pd

    run, artifacts = results.run(), results.artifacts()
    frames = [pd.DataFrame(_rows(results, trial, run, artifacts), columns=COLUMNS) for trial in results.plan()]
    return pd.concat(frames, ignore_index=True).astype({"value": float, "ci_low": float, "ci_high": float, "n": "Int64"})


def state(results) -> list[tuple]:
    """What tables are computed from, as far as a change would show: names, sizes and times of files."""
    files = sorted(results.folder.glob("*.json"))
    # Functions may be recorded where no study ran.
    for trial in results.plan() if (results.folder / "plan.json").exists() else []:
        files += sorted((results.raw / trial.id).glob("*.json"))
        kept = results.raw / trial.evaluation_id
        files += [kept / "evaluation.json", *sorted(kept.glob("batch-*.json"))] if trial.evaluation_id else []
    return [(file.name, facts.st_mtime_ns, facts.st_size, facts.st_ino) for file in files if file.exists() for facts in [file.stat()]]


def _rows(results, trial: Trial, run: dict, artifacts: dict) -> list[dict]:
    state = results.state(trial)
    measurements = results.planned_measurements(trial.id) if state.ok else []
    artifact = artifacts.get(trial.artifact_key, {})
    common = {
        "schema_version": SCHEMA_VERSION,
        "study": run["study"],
        "hardware": run["hardware"],
        "native": run["native"],
        "host_id": run["host_id"],
        **{key: getattr(trial, key) for key in COLUMNS if hasattr(trial, key)},
        "recipe": trial.shown,
        "status": str(state.status),
        "reason": state.why or "; ".join(filter(None, [assumed.of_row(artifacts, trial.model), rows.loadgen_verdict(measurements)])),
        "level": stats.LEVEL,
        "artifact_sha256": artifact.get("sha256"),
        "trial_id": trial.id,
        "measured_at": max((measurement.ended_at for measurement in measurements), default=None),
    }
    found = rows.of_trial(artifact, results.evaluation(trial.evaluation_id), trial, measurements)
    median = next((rows.estimate(row) for row in found if row["metric"] == rows.MEDIAN), None)
    found += rows.of_roof(roof.flops(results.inside().get(trial.artifact_key)), median and results.roof_of(trial, median))
    return [common | row for row in found] or [common | rows.row("none", math.nan, "")]
