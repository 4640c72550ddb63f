"""What compression costs, as a figure: size, quality and latency of every variant, with the Pareto front."""

from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from studylib import stats
from studylib.report.figures import drawing
from studylib.results.rows import estimate
from studylib.verdicts.findings import Findings, of_findings
from studylib.verdicts.losses import lost_of
from studylib.verdicts.pareto import front
from studylib.verdicts.variants import Variant, family, share, variants

# One colour for each kind of technique in every figure of every study.
_FAMILIES = (
    "float", "post-training quantization", "quantization-aware training", "pruning", "clustering", "structured pruning",
    "distillation", "adaptive", "as it came",
)  # fmt: skip
_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")
# Float32 tells no more apart.
_MOST_SQNR_DB = 160


@of_findings
def trade_off(findings: Findings) -> drawing.Drawing | None:
    """Size against quality against latency of every variant, one panel for each model, with the Pareto front."""
    timed = [v for v in variants(findings) if not np.isnan(v.ms) and not np.isnan(v.quality)]
    if not timed:
        return None
    models = list(dict.fromkeys(variant.trial.model for variant in timed))
    best, alt = front(timed), []
    with drawing.styled():
        figure = Figure(figsize=(8.4, 4.2 * len(models)), layout="constrained")
        for axes, model in zip(np.atleast_1d(figure.subplots(len(models), 1)), models, strict=True):
            part = [variant for variant in timed if variant.trial.model == model]
            ends = sorted((variant for variant in part if variant.trial.id in best), key=lambda variant: _latency(variant).value)
            _panel(axes, part, ends)
            told = ", ".join(f"{v.trial.label} ({_latency(v).value:.3g} ms, {v.quality:.1f})" for v in ends)
            alt.append(f"{model}: of {len(part)} variants these are on the Pareto front, latency and {_axis(part[0])}: {told}.")
    caption = (
        "The upper left corner is best; the line joins the numbered variants that no other beats in both (the Pareto front). The area "
        "of a mark is the file's size; a hollow one is not known to keep the accuracy budget; bars are 95 % intervals (latency: bootstrap "
        "over repetitions; accuracy and agreement: exact binomial, where samples are independent)."
    )
    return drawing.Drawing(figure, caption, "Scatter plot. " + " ".join(alt))


def _panel(axes, part: list, ends: list) -> None:
    runtimes = dict.fromkeys(variant.trial.where for variant in part)
    markers = dict(zip(runtimes, _MARKERS * len(runtimes), strict=False))
    colours = dict(zip(_FAMILIES, drawing.colours(_FAMILIES).values(), strict=True))
    largest = max(variant.artifact.get("size_bytes", 1) for variant in part)
    kept = {variant.trial.id: lost_of(variant).within(variant.findings.budget) for variant in part}
    for variant in part:
        colour, area = colours[family(variant.trial.shown)], 25 + 275 * variant.artifact.get("size_bytes", 1) / largest
        latency, quality = _latency(variant), _quality(variant)
        bars = {"color": colour, "alpha": 0.35, "linewidth": 1, "zorder": 1}
        if latency.low is not None:
            axes.plot([latency.low, latency.high], [quality.value] * 2, **bars)
        if quality.low is not None:
            axes.plot([latency.value] * 2, [quality.low, quality.high], **bars)
        axes.scatter(
            latency.value,
            quality.value,
            s=area,
            facecolor=colour if kept[variant.trial.id] else "white",
            marker=markers[variant.trial.where],
            edgecolor="white" if kept[variant.trial.id] else colour,
            linewidth=0.7 if kept[variant.trial.id] else 1.4,
            alpha=0.9,
            zorder=3,
        )
    steps = [_latency(variant).value for variant in ends], [_quality(variant).value for variant in ends]
    axes.plot(*steps, color="#444444", linewidth=1, drawstyle="steps-post", zorder=2)
    for number, variant in enumerate(ends, 1):
        box = {"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.8}
        place = {"xytext": (7, 7), "textcoords": "offset points", "fontsize": 8, "fontweight": "bold", "zorder": 5, "bbox": box}
        axes.annotate(str(number), (_latency(variant).value, _quality(variant).value), **place)
    axes.set(xscale="log", title=part[0].trial.model, xlabel="median latency of one query, ms (log)", ylabel=_axis(part[0]))
    drawing.plain_log_ticks(axes)
    axes.legend(handles=_legend(part, ends, markers, colours), fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)


def _legend(part: list, ends: list, markers: dict, colours: dict) -> list:
    used = [name for name in _FAMILIES if any(family(variant.trial.shown) == name for variant in part)]
    dots = [Line2D([], [], color=colours[name], marker="o", linestyle="", label=name) for name in used]
    marks = [Line2D([], [], color="#555555", marker=marker, linestyle="", label=name) for name, marker in markers.items()]
    front = Line2D([], [], color="#444444", linewidth=1, label="Pareto front:")
    names = [Line2D([], [], linestyle="", label=f"{number}  {variant.trial.label}") for number, variant in enumerate(ends, 1)]
    return [*dots, *marks, front, *names]


def _latency(variant: Variant) -> stats.Estimate:
    """The median in ms with its own interval, as the table of latencies has it; where only means are known, their mean."""
    values = variant.findings.values(variant.trial)
    found = estimate(values.loc["latency_p50" if "latency_p50" in values.index else "latency_mean"])
    low, high = (None if bound is None else bound / 1e6 for bound in (found.low, found.high))
    return replace(found, value=found.value / 1e6, low=low, high=high)


def _axis(variant: Variant) -> str:
    """What is drawn upwards, with its unit."""
    if variant.measure == "sqnr":
        return "SQNR against the source model, dB"
    if variant.measure == "correct":
        return "top-1 accuracy, %"
    return "agreement with the source model, %" if variant.judged is variant.evaluation else f"{variant.measured}, %"


def _quality(variant: Variant) -> stats.Estimate:
    """In percent with its interval, or in dB as far as it can be drawn: equal outputs have an endless SQNR."""
    if variant.measure == "sqnr":
        return stats.Estimate(min(variant.quality, _MOST_SQNR_DB), None, None, stats.LEVEL, variant.evaluation["n"])
    found = share(variant)
    low, high = (None if bound is None else 100 * bound for bound in (found.low, found.high))
    return replace(found, value=100 * found.value, low=low, high=high)
