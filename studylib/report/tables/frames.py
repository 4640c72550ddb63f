"""Tables for people: what the notebooks show and the report prints, computed from the results and nothing else."""

from collections.abc import Collection
from dataclasses import replace

import numpy as np
import pandas as pd

from studylib.quality import integer_parity
from studylib.results import assumed, recording
from studylib.results.records import Trial, is_plain
from studylib.results.results import Results
from studylib.results.rows import proportion
from studylib.results.standing import evaluated, loadgen
from studylib.stats import pooled_mean, pooled_percentile
from studylib.verdicts import compare
from studylib.wording import digits as digits
from studylib.wording import estimated, interval, percent, ratio_text, some, without_empty
from studylib.wording import markdown as markdown
from studylib.wording import typical_ms as typical_ms

KEY = ["model", "runtime", "recipe", "batch"]
_RECORDED = (
    "name", "host", "calls", "processes", "mean_ms", "p50_ms", "p95_ms", "p99_ms", "rss_growth_mb", "rss_peak_growth_mb", "memory of",
    "failed",
)  # fmt: skip


def artifacts(results: Results) -> pd.DataFrame:
    """Every artifact of the plan: size, size after gzip, ratio to the fp32 artifact of the same format, and the recipes that made it."""
    known, wanted = results.artifacts(), {trial.artifact_key for trial in results.plan()}
    rows = [facts for key, facts in known.items() if key in wanted]
    found = frame(
        {
            "model": facts["model"],
            "recipe": facts["precision"],
            "format": facts["format"],
            "size_kb": facts["size_bytes"] / 1000,
            "packed_kb": facts.get("gzip_bytes", np.nan) / 1000,
            "sha256": facts["sha256"][:12],
            "made by": " → ".join(step["made_by"].split(".")[-1].split(":")[0] for step in facts["lineage"]),
        }
        for facts in rows
    )
    floats = found[found.recipe.map(is_plain).astype(bool)].set_index(["model", "format"]).size_kb
    same_format = [floats.get((row.model, row.format), np.nan) for row in found.itertuples()]
    found.insert(4, "times smaller", np.array(same_format) / found.size_kb)
    return found.sort_values(["model", "format", "size_kb"], ascending=[True, True, False], ignore_index=True)


def quality(results: Results) -> pd.DataFrame:
    """Fidelity and accuracy of every artifact in its runtime, with the verdict of the parity gate."""
    rows = []
    for trial, found in evaluated(results):
        passed = found.get("why_not_comparable", "passed") if found["status"] == "ok" else f"{found['status']}: {found['reason']}"
        told = assumed.beside_accuracy(results.artifacts(), trial.model) if "correct" in found else ""
        rows.append(key(trial) | {"parity": passed} | _quality_columns(trial, found) | {"accuracy assumes": told})
    table = frame(rows).drop(columns="batch").fillna({"whole numbers": ""})
    return without_empty(without_empty(table, "accuracy assumes"), "whole numbers")


def latency(results: Results) -> pd.DataFrame:
    """Latency, throughput, memory and cold start of every measured trial, with intervals where the table has them."""
    table = results.table()
    rows = []
    for trial in results.compared():
        values = table[(table.trial_id == trial.id) & (table.status == "ok")].set_index("metric")
        if "latency_mean" not in values.index:
            continue
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
                "LoadGen": loadgen(results, trial),
                "remark": assumed.of_row(results.artifacts(), trial.model),
            }
        )
    return without_empty(frame(rows), "remark")


def speed_ups(results: Results) -> pd.DataFrame:
    """Speed-up over the baseline with its interval and verdict; the A/A control is the noise floor of this run."""
    return frame(
        key(found.contender)
        | {
            "baseline": found.baseline.label,
            "speed-up": ratio_text(found.comparison),
            "rounds": found.comparison.n,
            "verdict": found.verdict,
            "caveat": found.caveat,
            "LoadGen": loadgen(results, found.baseline, found.contender),
        }
        for found in compare.speed_ups(results)
    )


def accuracy_changes(results: Results) -> pd.DataFrame:
    """Change of accuracy against the baseline on the same samples, in percentage points, with McNemar's exact test."""
    return frame(
        key(contender)
        | {
            "baseline": baseline.label,
            "points": f"{100 * change.estimate.value:+.1f} [{100 * change.estimate.low:+.1f}, {100 * change.estimate.high:+.1f}]",
            "lost": change.lost,
            "gained": change.gained,
            "p": f"{change.p_value:.2g}",
            "n": change.estimate.n,
        }
        for baseline, contender, change in compare.accuracy_changes(results)
    ).drop(columns="batch")


def not_measured(results: Results) -> pd.DataFrame:
    """Every trial without numbers, with the reason: refusal is data."""
    rows = []
    for trial in results.plan():
        status, reason = results.status(trial)
        if status != "ok":
            rows.append(key(trial) | {"status": status, "reason": reason})
    return pd.DataFrame(rows, columns=[*KEY, "status", "reason"])


def disturbances(results: Results) -> pd.DataFrame:
    """Repetitions that were thrown away and measured again, with what disturbed them."""
    attempts = [(trial, attempt) for trial in results.plan() for attempt in results.attempts(trial.id)]
    rows = [
        key(trial) | {"repetition": attempt.repetition, "reason": attempt.reason}
        for trial, attempt in attempts
        if attempt.status == "invalid"
    ]
    return pd.DataFrame(rows, columns=[*KEY, "repetition", "reason"])


def recorded(results: Results) -> pd.DataFrame:
    """Every function that was recorded: calls, time and memory; each process is one repetition, so one process carries no interval."""
    found, rows = recording.calls(results), []
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


def winners(results: Results, without: Collection[str] = ()) -> pd.DataFrame:
    """The fastest trial of each model and batch size, whatever it lost, and those not distinguishable from it.

    ``without``: ids of trials left out. A rehearsal tells nothing of the speed of its hardware, and names nobody.
    """
    rows, run = [], results.run()
    if not run["native"]:
        names = f"none: this is a rehearsal of {run['title']}, whose speed is not known"
        return pd.DataFrame([{"model": model, "fastest": names} for model in dict.fromkeys(trial.model for trial in results.compared())])
    measured = [t for t in results.compared() if results.status(t)[0] == "ok" and not t.control and t.id not in without]
    typical = {t.id: compare.typical_ns(results.measurements(t.id)) for t in measured}
    table = results.table()
    for model, batch in dict.fromkeys((trial.model, trial.batch_size) for trial in measured):
        rivals = sorted((t for t in measured if (t.model, t.batch_size) == (model, batch)), key=lambda t: typical[t.id])
        best = rivals[0]
        floor = compare.noise_floor(results, model, batch)
        against = {rival.label: replace(compare.speed_up(rival, best, results), floor=floor) for rival in rivals[1:]}
        apart = [label for label, found in against.items() if not found.comparable]
        close = [label for label, found in against.items() if found.comparable and found.verdict != "faster"]
        rows.append(
            {
                "model": model,
                "batch": batch,
                "fastest": best.label,
                "p50_ms": typical_ms(table[table.trial_id == best.id].set_index("metric")),
                "quality": _quality_text(best, results),
                "not distinguishable from it": some(close),
                "measured apart from it": some(apart),
                "LoadGen": loadgen(results, best),
            }
        )
    return without_empty(without_empty(pd.DataFrame(rows)), "measured apart from it")


def _quality_text(trial: Trial, results: Results) -> str:
    """``accuracy 98.3 [97.3, 99.0] %`` or, without labels, the agreement with the source model."""
    found = results.evaluation(trial.evaluation_id) or {}
    if not found.get("comparable", True):
        return "not comparable"
    if "correct" in found and trial.weights != "random":
        warned = assumed.warning(results.artifacts(), trial.model)
        return f"accuracy {percent(proportion(found, 'correct'))} %" + (f" (WARNING: {warned})" if warned else "")
    return f"agreement with the source model {percent(proportion(found, 'agreeing'))} %" if "agreeing" in found else ""


def frame(rows) -> pd.DataFrame:
    """A table that has its first columns even when it has no rows, and LoadGen's only where LoadGen drove."""
    rows = list(rows)
    return without_empty(pd.DataFrame(rows)) if rows else pd.DataFrame(columns=[*KEY, "format", "size_kb", "parity", "verdict"])


def key(trial: Trial) -> dict:
    """The columns that name a trial in every table."""
    return {"model": trial.model, "runtime": trial.where, "recipe": f"{trial.shown}{trial.setting}", "batch": trial.batch_size}


def _quality_columns(trial: Trial, found: dict) -> dict:
    if "n" not in found:
        return {}
    accuracy = "random weights" if trial.weights == "random" else "no labels"
    return _fidelity(found) | {
        "agreement_%": percent(proportion(found, "agreeing")) if "agreeing" in found else "no scores",
        "accuracy_%": percent(proportion(found, "correct")) if "correct" in found and trial.weights != "random" else accuracy,
        "n": found["n"],
        "samples": found["data"],
        "whole numbers": integer_parity.told(found.get("steps", {})),
    }


def _fidelity(found: dict) -> dict:
    """The worst over all outputs: SQNR, largest error, the same relative to the largest value, cosine, MSE."""
    return {
        "sqnr_db": round(found["sqnr"], 1),
        "max error": f"{found['max_abs_error']:.2g}",
        "relative": f"{found['max_rel_error']:.2g}",
        "cosine": f"{found['cosine']:.6f}",
        "output_mse": f"{found['output_mse']:.2g}",
    }
