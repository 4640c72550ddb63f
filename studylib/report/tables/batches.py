"""What was found of queries of several samples: held against the answers to single ones before they were timed."""

import numpy as np
import pandas as pd

from studylib.report.tables import frames
from studylib.verdicts.findings import Findings, of_findings

_COLUMNS = (*frames.KEY, "scenario", "answers to", "queries", "distinct samples", "sqnr_db", "same as single answers")


@of_findings
def batches(findings: Findings) -> pd.DataFrame:
    """Every trial that is timed in batches: how near its answers are to those of its samples alone, or why it is not timed."""
    rows = []
    for trial in findings.plan:
        for size, found in findings.results.checks(trial).items() if trial.evaluation_id and not trial.control else ():
            if found is None:
                continue
            same = f"yes; {found['remark']}" if found["remark"] else "yes"
            rows.append(
                frames.key(trial)
                | {
                    "scenario": trial.scenario,
                    "answers to": f"{size} samples",
                    "queries": found["queries"],
                    "distinct samples": found["distinct"],
                    "sqnr_db": np.nan if found["sqnr"] is None else round(found["sqnr"], 1),
                    "same as single answers": same if found["status"] == "ok" else f"no: {found['reason']}",
                }
            )
    return pd.DataFrame(rows, columns=_COLUMNS)
