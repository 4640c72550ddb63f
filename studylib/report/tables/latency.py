"""Times as tables: of every trial, and against its baseline."""

import pandas as pd

from studylib.report.tables.frames import frame, key
from studylib.results import assumed
from studylib.results.standing import loadgen
from studylib.verdicts.findings import Findings, of_findings
from studylib.wording import interval, ratio_text, typical_ms, without_empty


@of_findings
def latency(findings: Findings) -> pd.DataFrame:
    """Latency, throughput, memory and cold start of every measured trial, with intervals where the table has them."""
    rows = []
    for trial in findings.timed:
        values = findings.values(trial)
        rows.append(
            key(trial)
            | {
                "p50_ms": typical_ms(values),
                "p95_ms": interval(values, "latency_p95", 1e6),
                "p99_ms": interval(values, "latency_p99", 1e6),
                "samples_per_s": interval(values, "throughput", 1),
                "n": int(values.loc["latency_mean", "n"]),
                "rss_peak_mb": interval(values, "rss_peak", 1e6, interval=False),
                "rss_model_mb": interval(values, "rss_model", 1e6, interval=False),
                "load_ms": interval(values, "load_time", 1e6, interval=False),
                "cold_start_ms": interval(values, "cold_start", 1e6, interval=False),
                "LoadGen": loadgen(findings.results, trial),
                "remark": assumed.of_row(findings.results.artifacts(), trial.model),
            }
        )
    return without_empty(frame(rows), "remark")


@of_findings
def speed_ups(findings: Findings) -> pd.DataFrame:
    """Speed-up over the baseline with its interval and verdict; the A/A control is the noise floor of this run."""
    return frame(
        key(found.contender)
        | {
            "baseline": found.baseline.label,
            "speed-up": ratio_text(found.comparison),
            "rounds": found.comparison.n,
            "verdict": found.verdict_text,
            "caveat": found.caveat,
            "LoadGen": loadgen(findings.results, found.baseline, found.contender),
        }
        for found in findings.speed_ups
    )
