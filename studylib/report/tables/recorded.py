"""Functions that were recorded, as a table."""

import pandas as pd

from studylib.results import recording
from studylib.stats import pooled_mean, pooled_percentile
from studylib.verdicts.findings import Findings, of_findings
from studylib.wording import estimated

_RECORDED = (
    "name", "host", "calls", "processes", "mean_ms", "p50_ms", "p95_ms", "p99_ms", "rss_growth_mb", "rss_peak_growth_mb", "memory of",
    "failed",
)  # fmt: skip


@of_findings
def recorded(findings: Findings) -> pd.DataFrame:
    """Every function that was recorded: calls, time and memory; each process is one repetition, so one process carries no interval."""
    found, rows = recording.calls(findings.results), []
    for name, host in dict.fromkeys((call.name, call.host_id) for call in found):
        ours = [call for call in found if (call.name, call.host_id) == (name, host)]
        times, growth, peak = (recording.by_process(ours, what) for what in ("ns", "growth_bytes", "peak_bytes"))
        failed = [call.reason for call in ours if call.status == "failed"]
        rows.append(
            {
                "name": name,
                "host": host,
                "calls": len(ours) - len(failed),
                "processes": len(times),
                "mean_ms": estimated(times and pooled_mean(times), 1e6),
                **{f"p{p}_ms": estimated(times and pooled_percentile(times, p), 1e6) for p in (50, 95, 99)},
                "rss_growth_mb": estimated(growth and pooled_mean(growth), 1e6),
                "rss_peak_growth_mb": estimated(peak and pooled_mean(peak), 1e6),
                "memory of": f"{sum(map(len, growth))} calls that ran alone",
                "failed": f"{len(failed)}, the last: {failed[-1]}" if failed else "",
            }
        )
    return pd.DataFrame(rows, columns=_RECORDED)
