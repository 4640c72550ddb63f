"""How figures are drawn and saved: one style, and under each in words whether it is native, where and when it was measured."""

import contextlib
import io
import json
import textwrap
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import seaborn as sns
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from studylib import stats
from studylib.artifacts.store import write_bytes, write_text
from studylib.report.sections import FIGURES, Section, in_report
from studylib.results import standing
from studylib.results.results import Results
from studylib.verdicts.findings import Findings

_STYLE = {
    "text.parse_math": False,  # a title is text, also with a dollar in it
    "svg.hashsalt": "studylib",
    "svg.fonttype": "none",
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "axes.titlesize": 10,
    "figure.facecolor": "white",
}

_MARGIN_IN = 0.1


@dataclass(frozen=True)
class Drawing:
    """A figure before it is saved; ``alt`` says in words what it shows."""

    figure: Figure
    caption: str
    alt: str


@dataclass(frozen=True)
class Drawn:
    """A saved figure: ``name`` is its file stem; ``alt`` says in words what it shows."""

    name: str
    title: str
    caption: str
    alt: str
    note: str


def remove_others(folder: Path, drawn: list[Drawn]) -> None:
    """Remove pictures of an earlier study that this one did not draw: they would pass for its own."""
    names = {figure.name for figure in drawn}
    for path in [*folder.glob("*.svg"), *folder.glob("*.png")]:
        if path.stem not in names:
            path.unlink()


def draw_all(results: Results | Findings) -> list[Drawn]:
    """Draw and save every figure of the report for which there are numbers; returns what was saved, in reading order."""
    findings = Findings.of(results)
    folder = findings.results.folder / "figures"
    made = [(section, section.make(findings)) for section in in_report(FIGURES)]
    drawn = [save(findings.results, section, drawing) for section, drawing in made if drawing]
    remove_others(folder, drawn)
    write_text(folder / "figures.json", json.dumps([one.__dict__ for one in drawn], indent=1))
    return drawn


def save(results: Results, section: Section, drawing: Drawing) -> Drawn:
    """Write ``figures/<id>.svg`` and ``.png`` with the provenance under the figure."""
    note = standing.provenance(results)
    save_in(results.folder / "figures", section.id, drawing, note, results.run()["native"])
    return Drawn(section.id, section.title, drawing.caption, drawing.alt, note)


def save_in(folder: Path, name: str, drawing: Drawing, note: str, native: bool) -> None:
    """Write ``<name>.svg`` and ``.png`` into ``folder``, with ``note`` under the figure."""
    figure = drawing.figure
    width = int(figure.get_figwidth() * 15)
    with matplotlib.rc_context(_STYLE):
        figure.text(
            0.01, 0.0, textwrap.fill(note, width), fontsize=7, va="top", color="#444444" if native else "#a00000",
            fontweight="normal" if native else "bold",
        )  # fmt: skip
        # The layout takes longer than the drawing: it is made once for both kinds.
        FigureCanvasAgg(figure)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        within = figure.get_tightbbox().padded(_MARGIN_IN)
        for kind, options in (("svg", {"metadata": {"Date": None}}), ("png", {"dpi": 150})):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, bbox_inches=within, **options)
            write_bytes(folder / f"{name}.{kind}", buffer.getvalue())


@contextlib.contextmanager
def styled():
    with matplotlib.rc_context(_STYLE), sns.axes_style("whitegrid"):
        yield


def stacked(rows: list[int]):
    """A figure of panels above one another, each as high as its number of rows needs."""
    figure = Figure(figsize=(7.2, 0.9 * len(rows) + 0.28 * sum(rows)), layout="constrained")
    return figure, np.atleast_1d(figure.subplots(len(rows), 1, height_ratios=[count + 1 for count in rows]))


def colours(names) -> dict:
    unique = list(dict.fromkeys(names))
    return dict(zip(unique, sns.color_palette("colorblind", len(unique)), strict=True))


def beside(columns: int):
    """A figure of panels beside one another."""
    figure = Figure(figsize=(1.2 + 3.3 * columns, 3.2), layout="constrained")
    return figure, np.atleast_1d(figure.subplots(1, columns))


# What `box` draws, in words, and what it draws where values are means of many queries.
BOXES = (
    "Boxes are the middle half of all values, whiskers the 5th and 95th percentile, each repetition weighing the same; "
    "each dot is the median of one repetition (one fresh process)."
)
MEANS = (
    "Where a tool tells no single times (LiteRT's for phones), each dot is one repetition's mean of many queries, the line their mean, "
    "the band its 95 % interval."
)


def box(axes, position: int, found: list, colour) -> None:
    """All values of a trial's measurements ``found``, in ms, as one box at ``position``."""
    if any(measurement.is_of_means for measurement in found):
        _means(axes, position, found, colour)
        return
    groups = [np.array(measurement.values_ns) / 1e6 for measurement in found]
    p5, p25, p50, p75, p95 = (stats.weighted_percentile(groups, percentile) for percentile in (5, 25, 50, 75, 95))
    box = {"whislo": p5, "q1": p25, "med": p50, "q3": p75, "whishi": p95, "fliers": []}
    axes.bxp(
        [box], positions=[position], orientation="horizontal", widths=0.55, showfliers=False, patch_artist=True, manage_ticks=False,
        boxprops={"facecolor": (*colour[:3], 0.35), "edgecolor": colour}, medianprops={"color": colour, "linewidth": 2},
        whiskerprops={"color": colour}, capprops={"color": colour},
    )  # fmt: skip
    medians = [measurement.median_ns / 1e6 for measurement in found]
    axes.plot(medians, [position] * len(medians), "o", markersize=3, color="black", alpha=0.6, zorder=3)


def _means(axes, position: int, found: list, colour) -> None:
    """The mean of all repetitions with its interval, and each repetition's own as a dot: nothing is known of single queries."""
    values = [np.array(measurement.values_ns, float) / 1e6 for measurement in found]
    mean = stats.pooled_mean(values)
    if mean.low is not None:
        axes.plot([mean.low, mean.high], [position, position], color=colour, linewidth=6, alpha=0.35, solid_capstyle="butt")
    axes.plot(mean.value, position, "|", color=colour, markersize=12, markeredgewidth=2)
    axes.plot(np.concatenate(values), [position] * len(np.concatenate(values)), "o", markersize=3, color="black", alpha=0.6, zorder=3)


def plain_log_ticks(axes, which: str = "x") -> None:
    """Ticks at 1, 2 and 5 of every decade, written as plain numbers."""
    axis = {"x": axes.xaxis, "y": axes.yaxis}[which]
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def drawn_in(folder: Path) -> list[Drawn]:
    """The figures that were saved in ``folder``."""
    return [Drawn(**facts) for facts in json.loads((folder / "figures.json").read_text(encoding="utf-8"))]


def show(results: Results | Findings, section: Section):
    """Draw one figure, save it and give it to the notebook."""
    from IPython.display import Image, Markdown

    findings = Findings.of(results)
    drawing = section.make(findings)
    if drawing is None:
        return Markdown("*Nothing to draw: no trial of this study has the numbers for it.*")
    made = save(findings.results, section, drawing)
    return Image(data=(findings.results.folder / "figures" / f"{made.name}.png").read_bytes(), alt=made.alt, width=800)
