"""Tables of what a trial's process needs beside time: memory step by step, energy, and which provider runs which nodes."""

import pandas as pd

from studylib.report.tables.frames import frame, key
from studylib.results.standing import evaluated
from studylib.verdicts.findings import Findings, of_findings
from studylib.wording import interval, without_empty


@of_findings
def memory(findings: Findings) -> pd.DataFrame:
    """Resident (RSS) and virtual (VMS) memory of each trial's process in MB, step by step, with intervals over repetitions.

    ``model added``: after the first answer minus before loading. ``GPU memory``: the process's own, after the values.
    ``arena``: how much of it the runtime keeps as its own pool.
    """
    table, rows = findings.table, []
    for trial in findings.results.distinct():
        values = table[(table.trial_id == trial.id) & (table.status == "ok")].set_index("metric")
        if "rss_peak" in values.index and not trial.control:
            steps = {
                f"{kind.upper()} {moment.replace('_', ' ')}": interval(values, f"{kind}_{moment}", 1e6)
                for kind in ("rss", "vms")
                for moment in ("before", "after_load", "after_first", "peak", "model")
            }
            told = {name.replace(" model", ", model added"): value for name, value in steps.items()}
            told["GPU memory"] = interval(values, "gpu_memory", 1e6) if "gpu_memory" in values.index else ""
            rows.append(key(trial) | told | {"n": int(values.loc["rss_peak", "n"]), "arena": f"{trial.runtime} does not tell"})
    return without_empty(frame(rows), "GPU memory")


@of_findings
def energy(findings: Findings) -> pd.DataFrame:
    """Energy of a query as the machine's meters tell it, or why there is none."""
    table, rows = findings.table, []
    for trial in findings.results.distinct():
        told = [m.energy for m in findings.results.measurements(trial.id)]
        if told and not trial.control:
            values = table[table.trial_id == trial.id].set_index("metric")
            measured = "energy" in values.index
            reasons = sorted({one.get("absent", "recorded before energy was read") for one in told if "joules" not in one})
            how = "; ".join(sorted({one["how"] for one in told if "how" in one}))
            rows.append(
                key(trial)
                | {
                    "mJ per query": interval(values, "energy", 1e-3),
                    "label": "measured" if measured else "absent",
                    "n": len(told) if measured else 0,
                    "how": how if measured else "; ".join(reasons),
                }
            )
    return frame(rows)


@of_findings
def placements(findings: Findings) -> pd.DataFrame:
    """Which provider runs how many nodes of each artifact, where the runtime tells; one row for each provider."""
    rows = []
    for trial, found in evaluated(findings.results):
        for where, kinds in found.get("nodes", {}).items():
            told = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items(), key=lambda one: (-one[1], one[0])))
            rows.append(key(trial) | {"asked for": trial.provider, "ran on": where, "nodes": sum(kinds.values()), "kinds": told})
    return frame(rows)
