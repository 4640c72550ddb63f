"""Size on disk, as a figure."""

from studylib.report.figures import drawing
from studylib.report.tables.artifacts import artifacts
from studylib.verdicts.findings import Findings, of_findings


@of_findings
def size(findings: Findings) -> drawing.Drawing | None:
    """Size on disk of every artifact."""
    frame = artifacts(findings)
    if frame.empty:
        return None
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
    return drawing.Drawing(figure, "Compression ratio is against the fp32 artifact of the same format.", alt)
