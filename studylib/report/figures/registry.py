"""Figures from results. Every figure says in words whether it is native or a rehearsal, where and when it was measured."""

import json

from studylib.artifacts.store import write_text
from studylib.report.figures import drawing
from studylib.report.figures.budget import within_budget
from studylib.report.figures.drawing import show as show
from studylib.report.figures.formats import contents, matrix
from studylib.report.figures.precisions import precisions
from studylib.report.figures.roofline import roofline
from studylib.report.figures.scenario_figures import scenarios
from studylib.report.figures.trade_off import sensitivities, trade_off
from studylib.report.tables import frames
from studylib.report.tables.swept import batches
from studylib.results.results import Results
from studylib.verdicts import compare

_VERDICT_COLOURS = {"faster": "#0173b2", "slower": "#d55e00", "cannot tell": "#767676"}


def draw_all(results: Results) -> list[drawing.Drawn]:
    """Draw and save every figure for which there are numbers; returns what was saved, in reading order."""
    every = (
        within_budget,
        trade_off,
        speed_ups,
        roofline,
        distributions,
        scenarios,
        sizes,
        sensitivities,
        precisions,
        batches,
        matrix,
        contents,
    )
    drawn = [made for draw in every if (made := drawing.save(results, *draw(results)))]
    drawing.remove_others(results.folder / "figures", drawn)
    write_text(results.folder / "figures" / "figures.json", json.dumps([made.__dict__ for made in drawn], indent=1))
    return drawn


def speed_ups(results: Results):
    """Speed-up over the baseline with intervals; the grey band is the A/A control."""
    title = "Speed-up over the baseline, and this run's noise floor"
    found = [item for item in compare.speed_ups(results) if item.comparison.low is not None]
    if not found:
        return None, "speed-up", title, "", ""
    panels = list(dict.fromkeys((item.contender.model, item.contender.batch_size) for item in found))
    heights = [sum((i.contender.model, i.contender.batch_size) == panel for i in found) for panel in panels]
    with drawing.styled():
        figure, axes_list = drawing.stacked(heights)
        for axes, panel in zip(axes_list, panels, strict=True):
            part = [i for i in found if (i.contender.model, i.contender.batch_size) == panel]
            _forest(axes, part)
            baseline = next((i.baseline.label for i in part if not i.contender.control), part[0].baseline.label)
            axes.set_title(f"{panel[0]}, batch {panel[1]} (baseline: {baseline})")
        axes_list[-1].set_xlabel("speed-up = baseline / contender (log); right of 1 is faster")
    told = [item for item in found if not item.contender.control]
    alt = "Interval plot. " + " ".join(
        f"{i.contender.model} {i.contender.label}: {frames.ratio_text(i.comparison)}, {i.verdict}." for i in told
    )
    caption = (
        "Geometric mean over paired, interleaved rounds with a 95 % interval (Student's t). The baseline is TensorFlow fp32 where "
        "it was measured, otherwise the first fp32 trial. "
        "A/A is a trial against itself: the grey band is what noise alone looks like, and a ratio within its far end carries no verdict."
    )
    return figure, "speed-up", title, caption, alt


def distributions(results: Results):
    """Latency distributions of every measured trial, with each repetition's median."""
    title = "Latency distributions"
    measured = [(trial, results.measurements(trial.id)) for trial in results.compared() if results.status(trial)[0] == "ok"]
    if not measured:
        return None, "latency", title, "", ""
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
    return figure, "latency", title, caption, alt


def sizes(results: Results):
    """Size on disk of every artifact."""
    title = "Size on disk"
    frame = frames.artifacts(results)
    if frame.empty:
        return None, "size", title, "", ""
    models = list(dict.fromkeys(frame.model))
    heights = [int((frame.model == model).sum()) for model in models]
    colours = drawing.colours(frame["format"])
    with drawing.styled():
        figure, axes_list = drawing.stacked(heights)
        for axes, model in zip(axes_list, models, strict=True):
            part = frame[frame.model == model].iloc[::-1]
            labels = [f"{row.format} {row.recipe}" for row in part.itertuples()]
            axes.barh(labels, part.size_kb, color=[colours[name] for name in part["format"]], height=0.7)
            for position, (size, ratio) in enumerate(zip(part.size_kb, part["times smaller"], strict=True)):
                axes.text(
                    size, position, f" {size:,.0f} kB, {ratio:.2g}x smaller" if ratio > 1 else f" {size:,.0f} kB", va="center", fontsize=7
                )
            axes.set(title=model, xlim=(0, part.size_kb.max() * 1.3))
            axes.grid(axis="y", visible=False)
        axes_list[-1].set_xlabel("kB (1000 bytes)")
    smallest = frame.loc[frame.groupby("model").size_kb.idxmin()]
    alt = "Bar chart. " + " ".join(f"{r.model}: smallest is {r.format} {r.recipe} with {r.size_kb:.0f} kB." for r in smallest.itertuples())
    return figure, "size", title, "Compression ratio is against the fp32 artifact of the same format.", alt


def _forest(axes, part: list) -> None:
    control = next((item.comparison for item in part if item.contender.control), None)
    if control is not None:
        axes.axvspan(control.low, control.high, color="#bbbbbb", alpha=0.5, linewidth=0)
    for position, item in enumerate(reversed(part)):
        comparison, verdict = item.comparison, item.verdict.split(":")[0]
        colour = _VERDICT_COLOURS[verdict]
        axes.plot([comparison.low, comparison.high], [position, position], color=colour, linewidth=2)
        axes.plot(comparison.ratio, position, "o", color=colour, markersize=5)
        axes.annotate(
            f"{frames.digits(comparison.ratio)}x, {verdict}",
            (comparison.high, position),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=7,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
        )
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks(range(len(part)), [item.contender.label for item in reversed(part)], fontsize=8)
    axes.set(xscale="log", ylim=(-0.6, len(part) - 0.4))
    low, high = axes.get_xlim()
    axes.set_xlim(low, high * (high / low) ** 0.3)
    drawing.plain_log_ticks(axes)
    axes.grid(axis="y", visible=False)
