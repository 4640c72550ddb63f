"""The sensitivity of every layer, as a figure."""

from matplotlib.lines import Line2D

from studylib.report.figures import drawing
from studylib.report.tables import searches
from studylib.verdicts.findings import Findings, of_findings

# A network has hundreds of layers; those that matter are at the top.
_SHOWN_LAYERS = 25
# Beyond this a layer does no harm that anybody could see.
_LEAST_DB, _MOST_DB = -20, 80


@of_findings
def sensitivity(findings: Findings) -> drawing.Drawing | None:
    """How much each layer costs when only it is quantized, the most sensitive first, one panel for each model and format."""
    frame = searches.layers(findings)
    if frame.empty:
        return None
    panels = [part.head(_SHOWN_LAYERS).iloc[::-1] for _, part in frame.groupby(["model", "format"], sort=False)]
    told = []
    with drawing.styled():
        figure, axes_list = drawing.stacked([len(part) for part in panels])
        for axes, part in zip(axes_list, panels, strict=True):
            kept = [name == "fp32" for name in part.chosen]
            colours = ["#de8f05" if floating else "#0173b2" for floating in kept]
            axes.barh(range(len(part)), part["alone quantized, dB"].clip(_LEAST_DB, _MOST_DB), color=colours, height=0.7)
            axes.set_yticks(range(len(part)), [f"{row.operator} {row.layer[-40:]}" for row in part.itertuples()], fontsize=6)
            of = frame[(frame.model == part.model.iloc[0]) & (frame.format == part.format.iloc[0])]
            shown = f", the {len(part)} most sensitive of {len(of)} layers" if len(of) > len(part) else ""
            shown += f" ({of.ranked.iloc[0].split(',')[0]})" if of.ranked.iloc[0] != searches.EVERY else ""
            axes.set(title=f"{part.model.iloc[0]}, {part.format.iloc[0]}{shown}", ylim=(-0.6, len(part) - 0.4))
            axes.grid(axis="y", visible=False)
            worst = part.iloc[-1]
            told.append(f"{worst.model} {worst.format}: {worst.layer} ({worst.operator}) with {worst['alone quantized, dB']:.1f} dB.")
        axes_list[-1].set_xlabel("SQNR when only this layer is quantized, dB (short bars are the sensitive layers)")
        marks = [Line2D([], [], color=colour, marker="s", linestyle="") for colour in ("#0173b2", "#de8f05")]
        names = ["quantized by the adaptive recipe", "left in float"]
        figure.legend(marks, names, fontsize=7, loc="outside upper right", ncols=2, frameon=False)
    caption = "Measured on held-back samples, never on those that calibrate."
    return drawing.Drawing(figure, caption, "Bar chart. The most sensitive layer of " + " Of ".join(told))
