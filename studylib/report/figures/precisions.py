"""Figure of the graph of every quantized file: which operators compute in integers, the float islands between, the conversions."""

from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from studylib.report.figures import drawing
from studylib.verdicts.findings import Findings, of_findings
from studylib.verdicts.variants import Variant, variants

# In the order of the legend; what ``studylib.formats.inside.islands`` calls them.
_KINDS = {
    "integer": ("#0173b2", "integer"),
    "float": ("#bfbfbf", "float, before, behind or beside the integers"),
    "island": ("#de8f05", "float island between integers"),
    "neutral": ("#ededed", "moves data only"),
}
_CONVERSION = "#c1272d"


@of_findings
def precisions(findings: Findings) -> drawing.Drawing | None:
    """Every quantized graph from its input (left) to its output, one strip a file, conversions as red lines."""
    chosen = {variant.trial.artifact_key: variant for variant in variants(findings)}
    strips = [(variant, found) for variant in chosen.values() if (found := variant.inside.get("float_islands"))]
    if not strips:
        return None
    places = list(dict.fromkeys(_place(variant) for variant, _ in strips))
    panels = [[(variant, found) for variant, found in strips if _place(variant) == place] for place in places]
    with drawing.styled():
        figure, axes_list = drawing.stacked([len(part) for part in panels])
        for axes, part, (model, format) in zip(axes_list, panels, places, strict=True):
            for position, (_, found) in enumerate(reversed(part)):
                _strip(axes, position, found["course"])
            axes.set_yticks(range(len(part)), [_label(variant, found) for variant, found in reversed(part)], fontsize=7)
            axes.set(title=f"{model}, {format}", xlim=(0, 1), ylim=(-0.6, len(part) - 0.4))
            axes.set_xticks([])
            axes.grid(visible=False)
        axes_list[-1].set_xlabel("operators in the order of computation, from the input to the output")
        patches = [Patch(color=colour, label=words) for colour, words in _KINDS.values()]
        line = Line2D([], [], color=_CONVERSION, linewidth=1.2, label="quantize or dequantize")
        figure.legend(handles=[*patches, line], fontsize=7, loc="outside upper right", ncols=3, frameon=False)
    caption = (
        "Every strip is the whole graph of one file. An operator between a dequantizer and a quantizer counts as integer, since runtimes "
        "fuse the three; conversions that are fused so are drawn all the same. A file that computes nowhere in integers is not shown."
    )
    return drawing.Drawing(figure, caption, "Strips. " + " ".join(_told(variant, found) for variant, found in strips))


def _place(variant: Variant) -> tuple[str, str]:
    return variant.trial.model, variant.artifact.get("format", "")


def _label(variant: Variant, found: dict) -> str:
    islands = sum(count for kind, count in found["course"] if kind == "island")
    return f"{variant.trial.shown}  {islands} in islands"


def _told(variant: Variant, found: dict) -> str:
    counts = {name: sum(count for kind, count in found["course"] if kind == name) for name in ("integer", "island")}
    conversions = found["quantize"] + found["dequantize"]
    model, format = _place(variant)
    return (
        f"{model} {format} {variant.trial.shown}: {counts['integer']} operators in integers, {counts['island']} in float islands, "
        f"{conversions} conversions."
    )


def _strip(axes, position: int, course: list) -> None:
    """Conversions take no width of their own: they lie between two operators."""
    whole = sum(count for kind, count in course if kind in _KINDS) or 1
    done, lines = 0, []
    for kind, count in course:
        if kind not in _KINDS:
            lines.append(done / whole)
            continue
        axes.barh(position, count / whole, left=done / whole, height=0.62, color=_KINDS[kind][0], linewidth=0)
        done += count
    axes.vlines(lines, position - 0.4, position + 0.4, color=_CONVERSION, linewidth=0.6)
