"""Trials without numbers, and repetitions that were thrown away, with the reasons."""

import pandas as pd

from studylib.report.tables.frames import KEY, key
from studylib.verdicts.findings import Findings, of_findings


@of_findings
def not_measured(findings: Findings) -> pd.DataFrame:
    """Every trial without numbers, with the reason: refusal is data."""
    rows = []
    for trial in findings.plan:
        state = findings.state(trial)
        if not state.ok:
            rows.append(key(trial) | {"status": str(state.status), "reason": state.why})
    return pd.DataFrame(rows, columns=[*KEY, "status", "reason"])


@of_findings
def disturbances(findings: Findings) -> pd.DataFrame:
    """Repetitions that were thrown away and measured again, with what disturbed them."""
    attempts = [(trial, attempt) for trial in findings.plan for attempt in findings.results.attempts(trial.id)]
    rows = [
        key(trial) | {"repetition": attempt.repetition, "reason": attempt.reason}
        for trial, attempt in attempts
        if attempt.status == "invalid"
    ]
    return pd.DataFrame(rows, columns=[*KEY, "repetition", "reason"])
