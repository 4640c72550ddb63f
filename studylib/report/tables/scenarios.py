"""What was measured by scenario: LoadGen's numbers with its verdict, rates, and streams. LoadGen-driven, not MLPerf results."""

import pandas as pd

from studylib.results import rows
from studylib.results.records import Trial
from studylib.results.results import Results
from studylib.verdicts import compare
from studylib.verdicts.findings import Findings, of_findings
from studylib.wording import interval, typical_ms

NOTE = "LoadGen-driven, not MLPerf results."
_COLUMNS = ["model", "runtime", "recipe", "scenario", "samples a query", "driver"]


@of_findings
def scenarios(findings: Findings) -> pd.DataFrame:
    """Every trial that LoadGen drove, or whose scenario is another than one query after the other, with LoadGen's verdict.

    Early-stopping columns are LoadGen's estimates: the true percentile is at most this with 99 % confidence, by repetition; their mean.
    """
    table, found = findings.table, []
    for trial in findings.results.distinct():
        values = table[(table.trial_id == trial.id) & (table.status == "ok")].set_index("metric")
        if _belongs(trial) and len(values) and "latency_mean" in values.index:
            found.append(_row(trial, values, findings.results))
    return pd.DataFrame(found, columns=None if found else _COLUMNS)


def _belongs(trial: Trial) -> bool:
    """Whether a trial has its row here; several clients of a server have a table of their own."""
    return trial.scenario != "concurrency" and (trial.driver == "loadgen" or not trial.usual)


def _row(trial: Trial, values: pd.DataFrame, results: Results) -> dict:
    measurements = results.measurements(trial.id)
    facts = measurements[0].scenario_facts
    return {
        "model": trial.model,
        "runtime": trial.where,
        "recipe": trial.shown + (" (A/A)" if trial.control else ""),
        "scenario": trial.scenario,
        "samples a query": facts.get("samples_per_query", trial.batch_size),
        "driver": facts.get("driver", "loop"),
        "p50_ms": typical_ms(values),
        "p90_ms": interval(values, "latency_p90", 1e6),
        "p99_ms": interval(values, "latency_p99", 1e6),
        "p90 early-stopping": interval(values, "latency_p90_early_stopping", 1e6),
        "p99 early-stopping": interval(values, "latency_p99_early_stopping", 1e6),
        "samples_per_s": interval(values, "throughput", 1),
        "scheduled_qps": interval(values, "scheduled_qps", 1),
        "bound_ms": _bound(facts),
        "real-time factor": interval(values, "real_time_factor", 1),
        "n": sum(len(measurement.values_ns) for measurement in measurements),
        "valid": rows.loadgen_verdict(measurements) or _why_unjudged(trial, facts),
    }


def _bound(facts: dict) -> str:
    bound = facts.get("latency_bound_ns")
    return f"{bound / 1e6:g}" if bound else "–"


def _why_unjudged(trial: Trial, facts: dict) -> str:
    """Why LoadGen has no verdict on a trial, in words."""
    if facts.get("driver_reason"):
        return f"not judged: the loop drove, since {facts['driver_reason']}"
    return "not judged: a loop drove" + (", the next chunk when the last was answered" if trial.scenario == "streaming" else "")


@of_findings
def rates(findings: Findings) -> pd.DataFrame:
    """How the rate of each server trial was found: every test, and whether 99 of 100 queries kept the bound."""
    found = []
    for trial in findings.plan:
        campaign = max((m.campaign for m in findings.results.attempts(trial.id)), default=0)
        searched = findings.results.rate(trial.id, campaign) if trial.scenario == "server" and campaign else None
        for number, test in enumerate((searched or {"tests": []})["tests"], 1):
            told = {"test": number, "qps": test["qps"], "queries": test["queries"], "over bound": test["over_bound"]}
            found.append(
                {"model": trial.model, "runtime": trial.where, "recipe": trial.shown, "batch": trial.batch_size}
                | told
                | {"held": "yes" if test["held"] else "no"}
            )
    return pd.DataFrame(found, columns=None if found else ["model", "runtime", "recipe", "batch", "test", "held"])


@of_findings
def sentences(findings: Findings) -> list[str]:
    """For each model: the highest rate kept within the bound, and whether a stream keeps up; every number computed."""
    said, measured = [], [trial for trial in findings.results.distinct() if not trial.usual and findings.state(trial).ok]
    for model in dict.fromkeys(trial.model for trial in measured):
        servers = [trial for trial in measured if (trial.model, trial.scenario) == (model, "server")]
        streams = [trial for trial in measured if (trial.model, trial.scenario) == (model, "streaming")]
        said += [_fastest_server(servers, findings.results)] if servers else []
        said += [_fastest_stream(streams, findings.results)] if streams else []
    return said


def _fastest_server(trials: list[Trial], results: Results) -> str:
    metric = {trial.id: _metric(trial, "throughput", results) for trial in trials}
    best = max(trials, key=lambda trial: metric[trial.id].loc["throughput", "value"])
    measurements = results.measurements(best.id)
    facts = measurements[0].scenario_facts
    verdict = rows.loadgen_verdict(measurements)
    how = f"{verdict}. {NOTE}" if verdict else "Driven by a loop, which gives no verdict."
    share = interval(metric[best.id], "throughput", 1)
    return f"{best.model}, server: {best.label} answers {share} queries/s, bound {facts['latency_bound_ns'] / 1e6:g} ms at p99. {how}"


def _fastest_stream(trials: list[Trial], results: Results) -> str:
    best = min(trials, key=lambda trial: compare.typical_ns(results.measurements(trial.id)))
    factor = interval(_metric(best, "real_time_factor", results), "real_time_factor", 1)
    return f"{best.model}, streaming: {best.label} needs {factor} of the time that a chunk lasts; below 1 it keeps up."


def _metric(trial: Trial, metric: str, results: Results) -> pd.DataFrame:
    table = results.table()
    return table[(table.trial_id == trial.id) & (table.metric == metric)].set_index("metric")


@of_findings
def note(findings: Findings) -> str:
    """What the report says of LoadGen; empty when it drove nothing."""
    drove = any(m.scenario_facts.get("driver") == "loadgen" for trial in findings.plan for m in findings.results.measurements(trial.id))
    return f"Rows with a LoadGen verdict: {NOTE}" if drove else ""
