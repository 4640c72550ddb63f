"""What sweeps found: each setting against the usual one of the same model and runtime."""

import pandas as pd

from studylib.results import standing
from studylib.results.records import Trial
from studylib.study.sweeps import SWEEPS
from studylib.verdicts.findings import Findings, of_findings
from studylib.wording import interval, typical_ms, without_empty

_COLUMNS = ("model", "runtime", "sweep", "value", "p50_ms", "samples_per_s", "against the usual", "status", "LoadGen")


@of_findings
def settings(findings: Findings) -> pd.DataFrame:
    """One row for each point of each sweep, the usual one first: latency, throughput, speed per sample against the usual one."""
    plan, table = [trial for trial in findings.compared if not trial.control], findings.table
    rows = []
    for usual, name, points in swept(plan):
        for trial in (usual, *points):
            values = table[table.trial_id == trial.id].set_index("metric")
            state = findings.state(trial)
            rows.append(
                {
                    "model": trial.model,
                    "runtime": trial.where,
                    "sweep": name,
                    "value": _value(trial, name),
                    "p50_ms": typical_ms(values),
                    "samples_per_s": interval(values, "throughput", 1),
                    "against the usual": "" if trial is usual else _against(usual, trial, findings),
                    "status": "" if state.ok else str(state),
                    "LoadGen": standing.loadgen(findings.results, trial),
                }
            )
    return without_empty(pd.DataFrame(rows, columns=_COLUMNS))


def swept(plan: list[Trial]) -> list[tuple[Trial, str, list[Trial]]]:
    """(the usual trial, name of the sweep, its points) for each model and runtime that has any."""
    found = []
    for usual in _usual(plan):
        ours = [t for t in plan if (t.model, t.runtime, t.provider, t.recipe) == (usual.model, usual.runtime, usual.provider, "fp32")]
        for name in SWEEPS:
            # Larger batches that the study measures anyway belong to the sweep as well.
            points = [t for t in ours if t.sweep == name or (name == "batch" and not t.sweep and t.batch_size > usual.batch_size)]
            if any(trial.sweep for trial in points):
                found.append((usual, name, sorted(points, key=lambda trial: trial.batch_size)))
    return found


def _usual(plan: list[Trial]) -> list[Trial]:
    least = min((trial.batch_size for trial in plan), default=1)
    return [t for t in plan if not t.sweep and (t.recipe, t.batch_size) == ("fp32", least) and not t.reason]


def _value(trial: Trial, name: str) -> str:
    if name in ("batch", "threads"):
        return str(trial.batch_size if name == "batch" else trial.threads)
    return trial.options or "as usual"


def _against(usual: Trial, trial: Trial, findings: Findings) -> str:
    """Speed per sample; two batch sizes are compared by their throughput."""
    return findings.against(usual, trial).words if all(findings.state(one).ok for one in (usual, trial)) else ""
