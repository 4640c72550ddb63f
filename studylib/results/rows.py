"""Rows of the long table, computed from what was measured of one trial."""

from dataclasses import replace

import numpy as np

from studylib import stats

PERCENTILES = (50, 90, 95, 99)
MEDIAN = "latency_p50"
# Resident (rss) and virtual (vms) memory: framework imported, artifact loaded, first query answered, and the most there ever was.
MEMORY = (*(f"{kind}_{moment}" for kind in ("rss", "vms") for moment in ("before", "after_load", "after_first", "peak")), "gpu_memory")
# Over all outputs the worst of each; relative errors are to the largest reference value of the output.
FIDELITY = {"output_mse": "1", "sqnr": "dB", "max_abs_error": "1", "max_rel_error": "1", "cosine": "1"}


def of_trial(artifact: dict, evaluation: dict | None, trial, measurements: list) -> list[dict]:
    """All rows of one trial: size, quality, times, memory; each with metric, value, unit, interval and n."""
    return [*_size_rows(artifact), *_quality_rows(evaluation, trial), *_time_rows(trial, measurements)]


def of_roof(flops: float | None, point) -> list[dict]:
    """What a sample costs in operations, and the share of its host's roof that the trial reaches (see `studylib.results.roof`)."""
    rows = [] if flops is None else [row("flops", flops, "op/sample", n=1)]
    fraction = point.fraction if point else None
    return rows + ([_estimate_row("fraction_of_peak", fraction, "1")] if fraction else [])


def estimate(row) -> stats.Estimate:
    """The estimate in a row, of the long table or of this module; intervals that are absent are None."""
    low, high = (None if bound is None or np.isnan(bound) else float(bound) for bound in (row["ci_low"], row["ci_high"]))
    return stats.Estimate(float(row["value"]), low, high, row.get("level", stats.LEVEL), int(row["n"]))


def row(metric: str, value: float, unit: str, low: float | None = None, high: float | None = None, n: int | None = None) -> dict:
    return {"metric": metric, "value": value, "unit": unit, "ci_low": low, "ci_high": high, "n": n}


def _estimate_row(metric: str, estimate: stats.Estimate, unit: str) -> dict:
    return row(metric, estimate.value, unit, estimate.low, estimate.high, estimate.n)


def _size_rows(artifact: dict) -> list[dict]:
    names = {"size": "size_bytes", "size_gzip": "gzip_bytes"}
    return [row(metric, artifact[name], "byte", n=1) for metric, name in names.items() if artifact and name in artifact]


def _quality_rows(evaluation: dict | None, trial) -> list[dict]:
    """Fidelity for every model; accuracy only where samples are labelled and weights are not random.

    Samples that are not independent (crops of a few photographs) carry no interval: a binomial one would be far too narrow.
    """
    if not evaluation or "n" not in evaluation:
        return []
    rows = [row(metric, evaluation[metric], unit, n=evaluation["n"]) for metric, unit in FIDELITY.items()]
    if "agreeing" in evaluation:
        rows.append(_estimate_row("agreement", proportion(evaluation, "agreeing"), "1"))
    if "correct" in evaluation and trial.weights != "random":
        rows.append(_estimate_row("top1_accuracy", proportion(evaluation, "correct"), "1"))
    return rows


def proportion(evaluation: dict, name: str) -> stats.Estimate:
    """The share of true values of an evaluation's list, with an exact interval where samples are independent."""
    estimate = stats.binomial_interval(sum(evaluation[name]), len(evaluation[name]))
    # One answer a sample: frames of one recording, or tokens of one text, are no independent draws.
    independent = evaluation["independent"] and len(evaluation[name]) == evaluation["n"]
    return estimate if independent else replace(estimate, low=None, high=None)


def _time_rows(trial, measurements: list) -> list[dict]:
    if not measurements:
        return []
    groups = [np.array(measurement.values_ns, float) for measurement in measurements]
    mean = stats.pooled_mean(groups)
    rows = [_estimate_row("latency_mean", mean, "ns")]
    if not any(measurement.is_of_means for measurement in measurements):
        rows += _spread_rows(groups)
    rows.append(_throughput_row(trial, measurements, mean))
    return rows + _scenario_rows(measurements) + _process_rows(measurements) + _energy_rows(measurements)


def _spread_rows(groups: list[np.ndarray]) -> list[dict]:
    """How single queries differ: absent where values are means of many, which tell nothing of one."""
    values, rows = np.concatenate(groups), []
    if len(values) > 1:
        rows.append(row("latency_stdev", float(values.std(ddof=1)), "ns", n=len(values)))
    for percentile in PERCENTILES:
        estimate = stats.pooled_percentile(groups, percentile)
        if estimate is not None:
            rows.append(_estimate_row(f"latency_p{percentile}", estimate, "ns"))
    return rows


def _throughput_row(trial, measurements: list, mean: stats.Estimate) -> dict:
    """Samples a second: by the clock where queries wait, clients are several or LoadGen hands over all, otherwise from the mean latency."""
    counted = [m.scenario_facts.get("completed_samples_per_s") for m in measurements]
    by_loadgen = all(m.scenario_facts.get("driver") == "loadgen" for m in measurements)
    if all(counted) and (trial.scenario in ("server", "concurrency") or (trial.scenario == "offline" and by_loadgen)):
        return _estimate_row("throughput", _over_repetitions(counted), "samples/s")
    value, low, high = (None if bound is None else 1e9 * trial.batch_size / bound for bound in (mean.value, mean.high, mean.low))
    return row("throughput", value, "samples/s", low, high, mean.n)


def _over_repetitions(values: list[float]) -> stats.Estimate:
    """The mean of one number of each repetition."""
    return stats.pooled_mean([np.array([value], float) for value in values])


def _scenario_rows(measurements: list) -> list[dict]:
    """What only some scenarios and drivers know: rates, LoadGen's early-stopping estimates and verdict, the real-time factor."""
    facts = [measurement.scenario_facts for measurement in measurements]
    rows = []
    for metric, unit in (("scheduled_qps", "queries/s"), ("target_qps", "queries/s")):
        found = [one[metric] for one in facts if one.get(metric)]
        rows += [_estimate_row(metric, _over_repetitions(found), unit)] if found else []
    for percentile in sorted({name for one in facts for name in one.get("early_stopping_ns", {})}):
        found = [one["early_stopping_ns"][percentile] for one in facts if percentile in one.get("early_stopping_ns", {})]
        rows.append(_estimate_row(f"latency_p{percentile}_early_stopping", _over_repetitions(found), "ns"))
    judged = [one["valid"] for one in facts if one.get("valid") is not None]
    rows += [row("loadgen_valid", sum(judged) / len(judged), "1", n=len(judged))] if judged else []
    chunks = {one.get("chunk_s") for one in facts} - {None}
    if len(chunks) == 1:
        groups = [np.array(measurement.values_ns, float) / 1e9 / min(chunks) for measurement in measurements]
        rows.append(_estimate_row("real_time_factor", stats.pooled_mean(groups), "1"))
    return rows


def loadgen_verdict(measurements: list) -> str:
    """LoadGen's verdict on repetitions in words, with its reason where one is INVALID; empty where LoadGen drove none."""
    judged = [m.scenario_facts for m in measurements if m.scenario_facts.get("valid") is not None]
    if not judged:
        return ""
    reasons = [one["invalid_reason"] for one in judged if not one["valid"]]
    if not reasons:
        return f"LoadGen: VALID in {len(judged)} of {len(judged)} repetitions"
    return f"LoadGen: INVALID in {len(reasons)} of {len(judged)} repetitions: {reasons[0]}"


def _process_rows(measurements: list) -> list[dict]:
    """Memory and cold start: one value a process, so n is the number of repetitions.

    Older records lack some, and so does what a phone told; those rows are absent.
    """
    memory = [measurement.memory_bytes for measurement in measurements]
    cold = [measurement.cold_start_ns for measurement in measurements]
    columns = {
        **{(name, "byte"): [m[name] for m in memory if name in m] for name in MEMORY},
        ("rss_model", "byte"): _added(memory, "rss"),
        ("vms_model", "byte"): _added(memory, "vms"),
        ("load_time", "ns"): [c["load"] for c in cold],
        ("first_inference", "ns"): [c["first_inference"] for c in cold],
        ("cold_start", "ns"): [c["total"] for c in cold if "total" in c],
    }
    return [
        _estimate_row(metric, stats.pooled_mean([np.array([value]) for value in values]), unit)
        for (metric, unit), values in columns.items()
        if len(values) == len(measurements)
    ]


def _added(memory: list[dict], kind: str) -> list[int]:
    """What the model added to a process in which the framework was there already: after the first answer, minus before loading.

    A phone's tool tells it itself: by how much its peak grew. Of a server it is all of its process.
    """
    names = f"{kind}_after_first", f"{kind}_before"
    told = f"{kind}_added"
    return [m[told] if told in m else m[names[0]] - m[names[1]] for m in memory if told in m or (names[0] in m and names[1] in m)]


def _energy_rows(measurements: list) -> list[dict]:
    """Energy of one query in joules, where every repetition was metered; otherwise no row."""
    metered = [sum(m.energy["joules"].values()) / m.energy.get("queries", len(m.values_ns)) for m in measurements if "joules" in m.energy]
    if len(metered) < len(measurements):
        return []
    return [_estimate_row("energy", stats.pooled_mean([np.array([value]) for value in metered]), "J/query")]
