"""Figures of what compression costs: the trade-off of every variant with its Pareto front, and the sensitivity of every layer."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from studylib import stats
from studylib.report.figures import drawing
from studylib.report.tables import sensitivity
from studylib.results.results import Results
from studylib.verdicts import compression
from studylib.verdicts.losses import budget_of, lost_of

# One colour for each kind of technique in every figure of every study.
_FAMILIES = (
    "float", "post-training quantization", "quantization-aware training", "pruning", "clustering", "structured pruning",
    "distillation", "adaptive", "as it came",
)  # fmt: skip
_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")
_QUALITY = {"correct": "top-1 accuracy, %", "agreeing": "agreement with the source model, %", "sqnr": "SQNR against the source model, dB"}
# A network has hundreds of layers; those that matter are at the top.
_SHOWN_LAYERS = 25
# Beyond this a layer does no harm that anybody could see.
_LEAST_DB, _MOST_DB = -20, 80
# Float32 tells no more apart.
_MOST_SQNR_DB = 160


def trade_off(results: Results):
    """Size against quality against latency of every variant, one panel for each model, with the Pareto front."""
    title = "Size, quality and latency of every variant"
    timed = [v for v in compression.variants(results) if not np.isnan(v.ms) and not np.isnan(v.quality)]
    if not timed:
        return None, "trade-off", title, "", ""
    models = list(dict.fromkeys(variant.trial.model for variant in timed))
    best, alt = compression.front(timed), []
    with drawing.styled():
        figure = Figure(figsize=(8.4, 4.2 * len(models)), layout="constrained")
        for axes, model in zip(np.atleast_1d(figure.subplots(len(models), 1)), models, strict=True):
            part = [variant for variant in timed if variant.trial.model == model]
            ends = sorted((variant for variant in part if variant.trial.id in best), key=lambda variant: variant.ms)
            _panel(axes, part, ends)
            told = ", ".join(f"{v.trial.label} ({v.ms:.3g} ms, {v.quality:.1f})" for v in ends)
            alt.append(f"{model}: of {len(part)} variants these are on the Pareto front, latency and {_QUALITY[part[0].measure]}: {told}.")
    caption = (
        "The upper left corner is best; the line joins the numbered variants that no other beats in both (the Pareto front). The area "
        "of a mark is the file's size; a hollow one is not known to keep the accuracy budget; bars are 95 % intervals (latency: bootstrap "
        "over repetitions; accuracy and agreement: exact binomial, where samples are independent)."
    )
    return figure, "trade-off", title, caption, "Scatter plot. " + " ".join(alt)


def sensitivities(results: Results):
    """How much each layer costs when only it is quantized, the most sensitive first, one panel for each model and format."""
    title = "Sensitivity of layers"
    frame = sensitivity.layers(results)
    if frame.empty:
        return None, "sensitivity", title, "", ""
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
            shown += f" ({of.ranked.iloc[0].split(',')[0]})" if of.ranked.iloc[0] != sensitivity.EVERY else ""
            axes.set(title=f"{part.model.iloc[0]}, {part.format.iloc[0]}{shown}", ylim=(-0.6, len(part) - 0.4))
            axes.grid(axis="y", visible=False)
            worst = part.iloc[-1]
            told.append(f"{worst.model} {worst.format}: {worst.layer} ({worst.operator}) with {worst['alone quantized, dB']:.1f} dB.")
        axes_list[-1].set_xlabel("SQNR when only this layer is quantized, dB (short bars are the sensitive layers)")
        marks = [Line2D([], [], color=colour, marker="s", linestyle="") for colour in ("#0173b2", "#de8f05")]
        names = ["quantized by the adaptive recipe", "left in float"]
        figure.legend(marks, names, fontsize=7, loc="outside upper right", ncols=2, frameon=False)
    caption = "Measured on held-back samples, never on those that calibrate."
    return figure, "sensitivity", title, caption, "Bar chart. The most sensitive layer of " + " Of ".join(told)


def _panel(axes, part: list, ends: list) -> None:
    runtimes = dict.fromkeys(variant.trial.where for variant in part)
    markers = dict(zip(runtimes, _MARKERS * len(runtimes), strict=False))
    colours = dict(zip(_FAMILIES, drawing.colours(_FAMILIES).values(), strict=True))
    largest = max(variant.artifact.get("size_bytes", 1) for variant in part)
    kept = {variant.trial.id: lost_of(variant).within(budget_of(variant.results)) for variant in part}
    for variant in part:
        colour, area = colours[compression.family(variant.trial.shown)], 25 + 275 * variant.artifact.get("size_bytes", 1) / largest
        axes.errorbar(
            variant.ms, _height(variant), xerr=_gaps(variant.ms, _latency(variant)), yerr=_gaps(_height(variant), _quality(variant)),
            fmt="none", ecolor=colour, alpha=0.35, linewidth=1, zorder=1,
        )  # fmt: skip
        axes.scatter(
            variant.ms,
            _height(variant),
            s=area,
            facecolor=colour if kept[variant.trial.id] else "white",
            marker=markers[variant.trial.where],
            edgecolor="white" if kept[variant.trial.id] else colour,
            linewidth=0.7 if kept[variant.trial.id] else 1.4,
            alpha=0.9,
            zorder=3,
        )
    axes.plot([v.ms for v in ends], [_height(v) for v in ends], color="#444444", linewidth=1, drawstyle="steps-post", zorder=2)
    for number, variant in enumerate(ends, 1):
        box = {"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.8}
        place = {"xytext": (7, 7), "textcoords": "offset points", "fontsize": 8, "fontweight": "bold", "zorder": 5, "bbox": box}
        axes.annotate(str(number), (variant.ms, _height(variant)), **place)
    axes.set(xscale="log", title=part[0].trial.model, xlabel="typical latency of one query, ms (log)", ylabel=_QUALITY[part[0].measure])
    drawing.plain_log_ticks(axes)
    axes.legend(handles=_legend(part, ends, markers, colours), fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)


def _legend(part: list, ends: list, markers: dict, colours: dict) -> list:
    used = [name for name in _FAMILIES if any(compression.family(variant.trial.shown) == name for variant in part)]
    dots = [Line2D([], [], color=colours[name], marker="o", linestyle="", label=name) for name in used]
    marks = [Line2D([], [], color="#555555", marker=marker, linestyle="", label=name) for name, marker in markers.items()]
    front = Line2D([], [], color="#444444", linewidth=1, label="Pareto front:")
    names = [Line2D([], [], linestyle="", label=f"{number}  {variant.trial.label}") for number, variant in enumerate(ends, 1)]
    return [*dots, *marks, front, *names]


def _height(variant) -> float:
    """The quality as far as it can be drawn: equal outputs have an endless SQNR."""
    return min(variant.quality, _MOST_SQNR_DB) if variant.measure == "sqnr" else variant.quality


def _latency(variant) -> tuple[float | None, float | None]:
    groups = [np.array(measurement.values_ns, float) for measurement in variant.results.measurements(variant.trial.id)]
    of_means = any(measurement.is_of_means for measurement in variant.results.measurements(variant.trial.id))
    found = stats.pooled_mean(groups) if of_means else stats.pooled_percentile(groups, 50)
    return (None, None) if found is None or found.low is None else (found.low / 1e6, found.high / 1e6)


def _quality(variant) -> tuple[float | None, float | None]:
    if variant.measure == "sqnr":
        return None, None
    found = compression.share(variant)
    return (None, None) if found.low is None else (100 * found.low, 100 * found.high)


def _gaps(value: float, bounds: tuple) -> list[list[float]]:
    low, high = bounds
    return [[0.0], [0.0]] if low is None else [[max(0.0, value - low)], [max(0.0, high - value)]]
