"""Throughput over the batch size, as a figure."""

from studylib.report.figures import drawing
from studylib.report.tables.sweeps import swept
from studylib.results.records import Trial
from studylib.results.rows import of_trial as rows_of_trial
from studylib.verdicts.findings import Findings, of_findings
from studylib.wording import digits


@of_findings
def batch(findings: Findings) -> drawing.Drawing | None:
    """Throughput over the batch size, a line for each runtime, in fp32."""
    lines = _lines(findings)
    if not lines:
        return None
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
                told.append(f"{model} {where}: most at batch {sizes[best]}, {digits(rates[best])} samples/s.")
            axes.set(title=model, xscale="log", yscale="log", xlabel="samples in a query (log)", ylabel="samples/s (log)")
            drawing.plain_log_ticks(axes)
            drawing.plain_log_ticks(axes, "y")
            axes.legend(fontsize=7, frameon=False)
    caption = "fp32, 95 % intervals over repetitions. A line ends where a larger batch gave no more in a first look."
    return drawing.Drawing(figure, caption, "Line chart. " + " ".join(told))


def _lines(findings: Findings) -> dict[tuple[str, str], list[tuple[int, dict]]]:
    lines = {}
    for usual, name, points in swept([trial for trial in findings.compared if not trial.control]):
        measured = [t for t in (usual, *points) if name == "batch" and findings.state(t).ok]
        found = [(trial.batch_size, _throughput(findings, trial)) for trial in measured]
        if len(found) > 1:
            lines[(usual.model, usual.where)] = found
    return lines


def _throughput(findings: Findings, trial: Trial) -> dict:
    rows = rows_of_trial({}, None, trial, findings.results.measurements(trial.id))
    return next(row for row in rows if row["metric"] == "throughput")
