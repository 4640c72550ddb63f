"""Figures about conversion: the matrix of formats, and what is inside the files."""

import numpy as np
from matplotlib.figure import Figure

from studylib.report.figures import drawing
from studylib.report.tables import conversions
from studylib.results.records import is_plain
from studylib.results.results import Results
from studylib.verdicts.findings import Findings, of_findings

_CELLS = {"ok": "#cfe3f1", "written": "#fdf3cf", "failed": "#f6c9a8", "no path": "#e6e6e6", "pending": "#ffffff"}


@of_findings
def formats(findings: Findings) -> drawing.Drawing | None:
    """From format by to format, one panel for each model: what became of each conversion."""
    cells = findings.results.conversions()
    if not cells:
        return None
    models = {model: [cell for cell in cells if cell.model == model] for model in dict.fromkeys(cell.model for cell in cells)}
    targets = list(dict.fromkeys(cell.target for cell in cells))
    heights = [len({cell.source for cell in part}) for part in models.values()]
    with drawing.styled():
        figure = Figure(figsize=(1.5 + 1.25 * len(targets), 0.75 * len(models) + 0.62 * sum(heights)), layout="constrained")
        panels = np.atleast_1d(figure.subplots(len(models), 1, height_ratios=[height + 0.6 for height in heights]))
        for axes, (model, part) in zip(panels, models.items(), strict=True):
            _grid(axes, findings.results, part, targets)
            axes.set_title(model)
    counts = {status: sum(findings.results.conversion_state(cell).status == status for cell in cells) for status in _CELLS}
    alt = "Matrix. " + ", ".join(f"{count} conversions {status}" for status, count in counts.items() if count) + "."
    caption = (
        "Rows are what is converted, columns what it becomes. Each cell that is ok was opened in its own runtime and holds the worst SQNR "
        "of its outputs against the source model, the seconds it took and its size; the table of conversions gives every reason."
    )
    return drawing.Drawing(figure, caption, alt)


@of_findings
def inside(findings: Findings) -> drawing.Drawing | None:
    """How many operators each float file holds, with its parameters and multiply-accumulates."""
    table = conversions.inside(findings)
    table = table[table.recipe.map(is_plain)] if len(table) else table
    if table.empty:
        return None
    models = list(dict.fromkeys(table.model))
    heights = [int((table.model == model).sum()) for model in models]
    colours = drawing.colours(table["format"])
    with drawing.styled():
        figure, panels = drawing.stacked(heights)
        for axes, model in zip(panels, models, strict=True):
            part = table[table.model == model].iloc[::-1]
            labels = [f"{row._4} → {row.format}" if row._4 else f"{row.format} (source)" for row in part.itertuples()]
            axes.barh(range(len(part)), part.operators, color=[colours[name] for name in part["format"]], height=0.7)
            axes.set_yticks(range(len(part)), labels, fontsize=8)
            for position, row in enumerate(part.itertuples()):
                axes.text(row.operators, position, f" {row.operators}: {row._6}", va="center", fontsize=7)
            axes.set(title=f"{model}: {_size_of(model, findings)}", xlim=(0, max(1, part.operators.max()) * 2.1))
            axes.grid(axis="y", visible=False)
        panels[-1].set_xlabel("operators (layers in a Keras file)")
    alt = "Bar chart. " + " ".join(f"{row.model} {row.format}: {row.operators} operators." for row in table.itertuples())
    caption = "Operators of the same model differ between formats: converters fuse some, and split others into several."
    return drawing.Drawing(figure, caption, alt)


def _grid(axes, results: Results, part: list, targets: list[str]) -> None:
    sources = list(dict.fromkeys(cell.source for cell in part))
    for cell in part:
        column, row = targets.index(cell.target), sources.index(cell.source)
        status = results.conversion_state(cell).status
        axes.add_patch(_square(column, row, _CELLS[status]))
        text = conversions.cell_text(results, cell).removeprefix("ok ").replace(", ", "\n")
        axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=7)
    axes.set(xlim=(0, len(targets)), ylim=(len(sources), 0))
    axes.set_xticks(np.arange(len(targets)) + 0.5, targets, fontsize=8)
    axes.set_yticks(np.arange(len(sources)) + 0.5, [f"from {source}" for source in sources], fontsize=8)
    axes.grid(visible=False)
    axes.tick_params(length=0)


def _square(column: int, row: int, colour: str):
    from matplotlib.patches import Rectangle

    return Rectangle((column + 0.02, row + 0.03), 0.96, 0.94, facecolor=colour, edgecolor="none")


def _size_of(model: str, findings: Findings) -> str:
    """Parameters and MACs of a model: the source's own count, or the first file's that tells."""
    files = [
        found for facts, found in conversions.looked_into(findings.results) if facts["model"] == model and is_plain(facts["precision"])
    ]
    macs = next((f"{found['macs']:,}" for found in files if found["macs"] is not None), "unknown")
    return f"{files[0]['parameters']:,} parameters, {macs} MACs a sample"
