"""The roofline as a figure: what was achieved against how many operations there are for each byte, under the roofs of this host."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from studylib.report.figures import drawing
from studylib.report.tables.roofline import points, size_text
from studylib.results.peaks import Peaks
from studylib.verdicts.findings import Findings, of_findings
from studylib.wording import digits

_MARKERS = {"float32": "o", "int8": "s"}
_ROOFS = {"float32": "#777777", "int8": "#222222"}
_LEVELS = (("main memory", "-"), ("fastest cache", "--"))
_SUSPICIOUS = "#d00000"
# Points nearer than this to one another look like one.
_SPOT_PX = 6
# Where a label may stand beside its point: offsets in points, horizontal alignment.
_PLACES = (
    (7, -3, "left"), (-7, -3, "right"), (0, 7, "center"), (0, -12, "center"),
    (-3, 6, "right"), (3, 6, "left"), (-3, -11, "right"), (3, -11, "left"),
)  # fmt: skip


@of_findings
def roofline(findings: Findings) -> drawing.Drawing | None:
    """Achieved operations a second over intensity, log-log, one panel for each model and number of threads, with the roofs as lines."""
    # What a sweep varies, and other ways to ask, are rows of the table: here they would only hide the usual one.
    placed = [point for point in points(findings) if not point.reason and not point.setting]
    if not placed:
        return None
    panels = list(dict.fromkeys((point.trial.model, point.trial.threads) for point in placed))
    colours = drawing.colours(point.trial.where for point in placed)
    told = []
    with drawing.styled():
        figure = Figure(figsize=(8.4, 4.2 * len(panels)), layout="constrained")
        FigureCanvasAgg(figure)
        drawn = []
        for axes, (model, threads) in zip(np.atleast_1d(figure.subplots(len(panels), 1)), panels, strict=True):
            part = [point for point in placed if (point.trial.model, point.trial.threads) == (model, threads)]
            host, _ = findings.results.peaks_of(part[0].trial)
            _panel(axes, part, host, colours)
            axes.set(title=f"{model}, {threads} threads")
            drawn.append((axes, part))
            best = max(part, key=lambda point: point.fraction.value)
            told.append(f"{model}, {threads} threads: {best.trial.label} reaches most of its roof, {100 * best.fraction.value:.3g} %.")
        figure.draw_without_rendering()
        for axes, part in drawn:
            _label(axes, part)
    return drawing.Drawing(figure, _caption(placed), "Scatter plot under roofs. " + " ".join(told))


def _caption(placed: list) -> str:
    caption = (
        "Roofs are what this host reached, the fastest of all rounds; bars are the 95 % interval of the median latency. Operations are "
        "twice the multiply-accumulates; bytes are a lower bound: weights, inputs and outputs. Each point is compared with the "
        "roof of its own arithmetic and of its own working-set size, which lies between the two slopes; labels give the share of that "
        "roof where there is room, and the table gives every point."
    )
    suspicious = sum(point.is_suspicious for point in placed)
    return caption + (f" SUSPICIOUS: {suspicious} of {len(placed)} points lie above their roof; the table says why." if suspicious else "")


def _panel(axes, part: list, host: Peaks, colours: dict) -> None:
    compute = {name: peak.per_s for name, peak in (("float32", host.float32), ("int8", host.int8)) if peak}
    slopes = dict(zip([name for name, _ in _LEVELS], (host.main_memory, host.bandwidth(0)[1]), strict=True))
    intensities = [point.intensity for point in part]
    ridges = [per_s / host.main_memory.peak.per_s for per_s in compute.values()]
    left, right = min(*intensities, *ridges) / 3, max(*intensities, *ridges) * 3
    _roofs(axes, compute, slopes, left, right)
    for point in part:
        low, high = point.achieved.low, point.achieved.high
        gaps = None if low is None else [[max(0.0, point.achieved.value - low) / 1e9], [max(0.0, high - point.achieved.value) / 1e9]]
        axes.errorbar(
            point.intensity, point.achieved.value / 1e9, yerr=gaps, fmt=_MARKERS[point.arithmetic], markersize=6, linewidth=1,
            color=colours[point.trial.where], zorder=3, markeredgewidth=1.8 if point.is_suspicious else 0.6,
            markeredgecolor=_SUSPICIOUS if point.is_suspicious else "white",
        )  # fmt: skip
    lowest = min(point.achieved.value for point in part) / 1e9
    highest = max(*compute.values(), *(point.achieved.value for point in part)) / 1e9
    axes.set(xscale="log", yscale="log", xlim=(left, right), ylim=(lowest / 3, highest * 2))
    axes.set(xlabel="operations for each byte that must be moved (log)", ylabel="achieved, Gop/s (log)")
    drawing.plain_log_ticks(axes)
    axes.yaxis.set_major_locator(LogLocator(numticks=9))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    handles = _legend(part, host, slopes, colours)
    axes.legend(handles=handles, fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)


def _roofs(axes, compute: dict, slopes: dict, left: float, right: float) -> None:
    """Each arithmetic is flat from where the fastest memory feeds it; each memory rises until it feeds the fastest arithmetic."""
    fastest = max(level.peak.per_s for level in slopes.values())
    for name, per_s in compute.items():
        axes.plot([max(left, per_s / fastest), right], [per_s / 1e9] * 2, color=_ROOFS[name], linewidth=2, zorder=1)
        words = f"{name}: {digits(per_s / 1e9)} Gop/s "
        axes.annotate(words, (right, per_s / 1e9), xytext=(0, 3), textcoords="offset points", ha="right", fontsize=7, color=_ROOFS[name])
    for name, style in _LEVELS:
        bandwidth = slopes[name].peak.per_s
        ends = np.array([left, max(compute.values()) / bandwidth])
        axes.plot(ends, ends * bandwidth / 1e9, color="#555555", linewidth=1.2, linestyle=style, zorder=1)


def _legend(part: list, host: Peaks, slopes: dict, colours: dict) -> list:
    runtimes = dict.fromkeys(point.trial.where for point in part)
    dots = [Line2D([], [], color=colours[name], marker="o", linestyle="", label=name) for name in runtimes]
    kinds = dict.fromkeys(point.arithmetic for point in part)
    marks = [Line2D([], [], color="#999999", marker=_MARKERS[name], linestyle="", label=f"computes in {name}") for name in kinds]
    slopes_ = [Line2D([], [], color="#555555", linestyle=style, label=f"{_level_name(name, slopes[name])} GB/s") for name, style in _LEVELS]
    above = {"color": "white", "marker": "o", "markeredgecolor": _SUSPICIOUS, "markeredgewidth": 1.8, "label": "above its roof"}
    odd = [Line2D([], [], linestyle="", **above)] if any(point.is_suspicious for point in part) else []
    busy = [Line2D([], [], linestyle="", label="host was busy: roofs may be too low")] if host.busy else []
    return [*dots, *marks, *odd, *slopes_, *busy]


def _level_name(name: str, level) -> str:
    of = "" if name == "main memory" else f", {size_text(level.working_set_bytes)}"
    return f"{name}{of}: {digits(level.peak.per_s / 1e9)}"


def _label(axes, part: list) -> None:
    """Name points with the share of their roof, the nearest to it first, where a label hides nothing and can be of no other point."""
    renderer = axes.figure.canvas.get_renderer()
    within, boxes, named = axes.get_window_extent(renderer), [], []
    spots = axes.transData.transform([(point.intensity, point.achieved.value / 1e9) for point in part])
    for number in sorted(range(len(part)), key=lambda number: part[number].fraction.value, reverse=True):
        gaps = np.hypot(*(spots - spots[number]).T)
        if any(gaps[other] < _SPOT_PX for other in named):
            continue  # one label for what lies on one spot
        point, others = part[number], spots[gaps >= _SPOT_PX]
        for right, up, side in _PLACES:
            place = {"xytext": (right, up), "textcoords": "offset points", "ha": side, "fontsize": 6.5, "zorder": 4}
            words = _words(point) + (f" (+{together} here)" if (together := int((gaps < _SPOT_PX).sum()) - 1) else "")
            text = axes.annotate(words, (point.intensity, point.achieved.value / 1e9), **place)
            text.set_in_layout(False)
            box = text.get_window_extent(renderer)
            inside = within.x0 <= box.x0 and box.x1 <= within.x1 and within.y0 <= box.y0 and box.y1 <= within.y1
            own = _distance(box, spots[number : number + 1]).min()
            clear = not len(others) or _distance(box, others).min() > own + _SPOT_PX
            if inside and clear and not any(box.overlaps(other) for other in boxes):
                boxes.append(box)
                named.append(number)
                break
            text.remove()


def _words(point) -> str:
    batch = f" x{point.trial.batch_size}" if point.trial.batch_size > 1 else ""
    return f"{point.trial.shown}{batch} {digits(100 * point.fraction.value)} %"


def _distance(box, spots: np.ndarray) -> np.ndarray:
    """Pixels from a box to each of ``spots``, shape (n, 2); 0 inside."""
    x, y = spots.T
    return np.hypot(np.maximum(0, np.maximum(box.x0 - x, x - box.x1)), np.maximum(0, np.maximum(box.y0 - y, y - box.y1)))
