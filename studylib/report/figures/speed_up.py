"""Speed-up over the baseline, as a figure."""

from studylib.report.figures import drawing
from studylib.stats import Verdict
from studylib.verdicts.findings import Findings, of_findings
from studylib.wording import digits, ratio_text

_VERDICT_COLOURS = {Verdict.FASTER: "#0173b2", Verdict.SLOWER: "#d55e00", Verdict.CANNOT_TELL: "#767676"}


@of_findings
def speed_up(findings: Findings) -> drawing.Drawing | None:
    """Speed-up over the baseline with intervals; the grey band is the A/A control."""
    found = [item for item in findings.speed_ups if item.comparison.low is not None]
    if not found:
        return None
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
        f"{i.contender.model} {i.contender.label}: {ratio_text(i.comparison)}, {i.verdict_text}." for i in told
    )
    caption = (
        "Mean ratio over repetitions, paired block by block, with its 95 % interval (98 % after further rounds). The baseline is "
        "TensorFlow fp32 where it was measured, otherwise the first fp32 trial. "
        "A/A is a trial against itself: the grey band is what noise alone looks like, and a ratio no farther from 1 than the "
        "band's far end gets no verdict."
    )
    return drawing.Drawing(figure, caption, alt)


def _forest(axes, part: list) -> None:
    control = next((item.comparison for item in part if item.contender.control), None)
    if control is not None:
        axes.axvspan(control.low, control.high, color="#bbbbbb", alpha=0.5, linewidth=0)
    for position, item in enumerate(reversed(part)):
        comparison, verdict = item.comparison, item.verdict
        colour = _VERDICT_COLOURS[verdict]
        axes.plot([comparison.low, comparison.high], [position, position], color=colour, linewidth=2)
        axes.plot(comparison.ratio, position, "o", color=colour, markersize=5)
        axes.annotate(
            f"{digits(comparison.ratio)}x, {verdict}",
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
