"""Latency under other scenarios than one query after the other, as a figure."""

from studylib.report.figures import drawing
from studylib.report.tables.scenarios import NOTE
from studylib.verdicts.findings import Findings, of_findings
from studylib.wording import interval


@of_findings
def scenarios(findings: Findings) -> drawing.Drawing | None:
    """Latency distributions by scenario, one panel for each model and scenario; a server's bound is a line."""
    measured = [
        (trial, findings.results.measurements(trial.id))
        for trial in findings.results.distinct()
        if not trial.usual and trial.scenario != "concurrency" and findings.state(trial).ok
    ]
    if not measured:
        return None
    panels = list(dict.fromkeys((trial.model, trial.scenario) for trial, _ in measured))
    heights = [sum((trial.model, trial.scenario) == panel for trial, _ in measured) for panel in panels]
    colours = drawing.colours([trial.where for trial, _ in measured])
    table, told = findings.table, []
    with drawing.styled():
        figure, axes_list = drawing.stacked(heights)
        for axes, panel in zip(axes_list, panels, strict=True):
            part = [(trial, found) for trial, found in measured if (trial.model, trial.scenario) == panel]
            names = []
            for position, (trial, found) in enumerate(reversed(part)):
                drawing.box(axes, position, found, colours[trial.where])
                values = table[table.trial_id == trial.id].set_index("metric")
                names.append(trial.label.removesuffix(f" {trial.scenario}"))
                if "scheduled_qps" in values.index:
                    names[-1] += f", {interval(values, 'scheduled_qps', 1, interval=False)} queries/s"
                told.append(f"{trial.model} {trial.label}: median {interval(values, 'latency_p50', 1e6, interval=False)} ms.")
                if any(measurement.scenario_facts.get("valid") is False for measurement in found):
                    names[-1] += " (LoadGen: invalid)"
            for bound in {measurement.scenario_facts.get("latency_bound_ns") for _, found in part for measurement in found} - {None}:
                axes.axvline(bound / 1e6, color="#d00000", linewidth=1, linestyle="--", label=f"bound {bound / 1e6:g} ms")
                axes.legend(fontsize=7, frameon=False)
            axes.set_yticks(range(len(part)), names, fontsize=8)
            axes.set(xscale="log", title=f"{panel[0]}, {panel[1]}", ylim=(-0.6, len(part) - 0.4))
            drawing.plain_log_ticks(axes)
            axes.grid(axis="y", visible=False)
        axes_list[-1].set_xlabel("latency of one query, ms (log)")
    return drawing.Drawing(figure, f"{drawing.BOXES} {NOTE}", "Box plots. " + " ".join(told))
