"""What sweeps found: each setting against the usual one of the same model and runtime, and throughput over the batch size."""

import pandas as pd

from studylib.report.figures import drawing
from studylib.report.tables import frames
from studylib.results import standing
from studylib.results.records import Trial
from studylib.results.results import Results
from studylib.results.rows import of_trial as rows_of_trial
from studylib.study.sweeps import SWEEPS
from studylib.verdicts import compare, compression
from studylib.wording import without_empty

_COLUMNS = ("model", "runtime", "sweep", "value", "p50_ms", "samples_per_s", "against the usual", "status", "LoadGen")


def settings(results: Results) -> pd.DataFrame:
    """One row for each point of each sweep, the usual one first: latency, throughput, speed per sample against the usual one."""
    plan, table = [trial for trial in results.compared() if not trial.control], results.table()
    rows = []
    for usual, name, points in _sweeps(plan):
        for trial in (usual, *points):
            values = table[table.trial_id == trial.id].set_index("metric")
            status, reason = results.status(trial)
            rows.append(
                {
                    "model": trial.model,
                    "runtime": trial.where,
                    "sweep": name,
                    "value": _value(trial, name),
                    "p50_ms": frames.typical_ms(values),
                    "samples_per_s": frames.interval(values, "throughput", 1),
                    "against the usual": "" if trial is usual else _against(usual, trial, results),
                    "status": "" if status == "ok" else f"{status}: {reason}",
                    "LoadGen": standing.loadgen(results, trial),
                }
            )
    return without_empty(pd.DataFrame(rows, columns=_COLUMNS))


def batches(results: Results):
    """Throughput over the batch size, a line for each runtime, in fp32."""
    title = "Throughput over the batch size"
    lines = _lines(results)
    if not lines:
        return None, "batch", title, "", ""
    models = list(dict.fromkeys(model for model, _ in lines))
    colours, told = drawing.colours([where for _, where in lines]), []
    with drawing.styled():
        figure, panels = drawing.beside(len(models))
        for axes, model in zip(panels, models, strict=True):
            for (_, where), found in ((key, found) for key, found in lines.items() if key[0] == model):
                sizes, rates = [size for size, _ in found], [row["value"] for _, row in found]
                lows = [rate - (row["ci_low"] or rate) for rate, (_, row) in zip(rates, found, strict=True)]
                highs = [(row["ci_high"] or rate) - rate for rate, (_, row) in zip(rates, found, strict=True)]
                axes.errorbar(sizes, rates, yerr=[lows, highs], marker="o", markersize=4, capsize=2, color=colours[where], label=where)
                best = max(range(len(sizes)), key=rates.__getitem__)
                told.append(f"{model} {where}: most at batch {sizes[best]}, {frames.digits(rates[best])} samples/s.")
            axes.set(title=model, xscale="log", yscale="log", xlabel="samples in a query (log)", ylabel="samples/s (log)")
            drawing.plain_log_ticks(axes)
            drawing.plain_log_ticks(axes, "y")
            axes.legend(fontsize=7, frameon=False)
    caption = "fp32, 95 % intervals over repetitions. A line ends where a larger batch gave no more in a first look."
    return figure, "batch", title, caption, "Line chart. " + " ".join(told)


def _sweeps(plan: list[Trial]) -> list[tuple[Trial, str, list[Trial]]]:
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


def _against(usual: Trial, trial: Trial, results: Results) -> str:
    """Speed per sample; two batch sizes are compared by their throughput."""
    if not all(results.status(one)[0] == "ok" for one in (usual, trial)):
        return ""
    found = compare.speed_up(usual, trial, results)
    return compression.speed_text(found.times(trial.batch_size / usual.batch_size), results)


def _lines(results: Results) -> dict[tuple[str, str], list[tuple[int, dict]]]:
    lines = {}
    for usual, name, points in _sweeps([trial for trial in results.compared() if not trial.control]):
        measured = [t for t in (usual, *points) if name == "batch" and results.status(t)[0] == "ok"]
        found = [(trial.batch_size, _throughput(results, trial)) for trial in measured]
        if len(found) > 1:
            lines[(usual.model, usual.where)] = found
    return lines


def _throughput(results: Results, trial: Trial) -> dict:
    rows = rows_of_trial({}, None, trial, results.measurements(trial.id))
    return next(row for row in rows if row["metric"] == "throughput")
