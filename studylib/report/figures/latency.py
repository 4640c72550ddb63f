"""Latency distributions, as a figure."""

from studylib.report.figures import drawing
from studylib.verdicts.findings import Findings, of_findings


@of_findings
def latency(findings: Findings) -> drawing.Drawing | None:
    """Latency distributions of every measured trial, with each repetition's median."""
    measured = [(trial, findings.results.measurements(trial.id)) for trial in findings.compared if findings.state(trial).ok]
    if not measured:
        return None
    panels = list(dict.fromkeys((trial.model, trial.batch_size) for trial, _ in measured))
    heights = [sum((t.model, t.batch_size) == panel for t, _ in measured) for panel in panels]
    colours = drawing.colours([trial.runtime for trial, _ in measured])
    with drawing.styled():
        figure, axes_list = drawing.stacked(heights)
        for axes, panel in zip(axes_list, panels, strict=True):
            part = [(trial, found) for trial, found in measured if (trial.model, trial.batch_size) == panel]
            for position, (trial, found) in enumerate(reversed(part)):
                drawing.box(axes, position, found, colours[trial.runtime])
            axes.set_yticks(range(len(part)), [trial.label for trial, _ in reversed(part)], fontsize=8)
            axes.set(xscale="log", title=f"{panel[0]}, batch {panel[1]}", ylim=(-0.6, len(part) - 0.4))
            drawing.plain_log_ticks(axes)
            axes.grid(axis="y", visible=False)
        axes_list[-1].set_xlabel("latency of one query, ms (log)")
    count = sum(len(m.values_ns) for _, found in measured for m in found)
    of_means = any(m.is_of_means for _, found in measured for m in found)
    single = any(not m.is_of_means for _, found in measured for m in found)
    caption = " ".join([*([drawing.BOXES] if single else []), *([drawing.MEANS] if of_means else [])])
    told, drawn = ("means", "Dots and means") if of_means else ("percentiles", "Box plots")
    alt = f"{drawn} of {count} measured values of {len(measured)} trials; the latency table gives their {told}."
    return drawing.Drawing(figure, caption, alt)
