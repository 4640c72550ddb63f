"""The case of the photographs as pictures: where the time of each step goes, and some photographs with what was answered."""

import base64
import io

import numpy as np
from matplotlib.figure import Figure

from studylib.report.figures import drawing
from studylib.results.case_results import CaseResult
from studylib.verdicts.cases import image as image_case
from studylib.wording import digits

_STAGES = {"decode": "#1f77b4", "resize": "#8c564b", "normalise": "#e377c2", "infer": "#ff7f0e", "name": "#9aa0a6"}
_COLUMNS = 6
_RIGHT, _WRONG = "#1a7f37", "#a00000"


def steps(result: CaseResult) -> drawing.Drawing | None:
    """Bars of the stages of each step, and the latency of a photograph with its 95 % interval beside the bound."""
    timed = [way for way in result.story if not way.reason]
    if not timed:
        return None
    said = []
    with drawing.styled():
        figure = Figure(figsize=(7.4, 0.9 + 0.62 * len(timed)), layout="constrained")
        axes = figure.subplots()
        for position, way in enumerate(timed[::-1]):
            left = 0.0
            for name, colour in _STAGES.items():
                width = float(np.median(way.stages_ns[name])) / 1e6
                axes.barh(position, width, left=left, height=0.55, color=colour, label=name if position == 0 else None)
                left += width
            slow = image_case.latency_ms(way, image_case.PERCENTILE)
            if slow and slow.low is not None:
                axes.errorbar(
                    slow.value, position, xerr=[[slow.value - slow.low], [slow.high - slow.value]], fmt="k|", capsize=2, markersize=9
                )
                said.append(f"{way.name}: p99 {digits(slow.value)} ms")
        axes.axvline(image_case.BOUND_MS, color="#777777", linestyle="--", linewidth=1)
        axes.set_yticks(range(len(timed)), [way.name.replace(", ", "\n+ ", 1) for way in timed[::-1]], fontsize=7)
        axes.set(xlabel=f"ms of a photograph; dashed: {image_case.BOUND_MS:g} ms", xlim=(0, None))
        axes.grid(axis="y", visible=False)
        figure.legend(*axes.get_legend_handles_labels(), fontsize=7, frameon=False, loc="outside upper center", ncols=len(_STAGES))
    caption = (
        "Bars: the median of each stage, from a photograph's bytes to its names. Marks: the 99th percentile of whole photographs with its "
        "95 % interval (bootstrap over rounds). Decoding beside inference overlaps; pictures computed together wait for each other."
    )
    return drawing.Drawing(figure, caption, f"Bars. {'; '.join(said) or 'Too few values for a 99th percentile'}.")


def photographs(result: CaseResult) -> drawing.Drawing | None:
    """Some of the photographs with the first name that the chosen way gave each, and how sure it was."""
    from PIL import Image

    chosen, facts = image_case.chosen(result), result.facts
    if chosen is None:
        return None
    answers, said = dict(map(tuple, chosen.answers)), []
    with drawing.styled():
        rows = -(-len(facts["shown"]) // _COLUMNS)
        figure = Figure(figsize=(7.4, 1.55 * rows), layout="constrained")
        panels = figure.subplots(rows, _COLUMNS, squeeze=False).flat
        for axes, (shown, content) in zip(panels, facts["shown"].items(), strict=False):
            place = int(shown)
            number, score = answers[place][0]
            label, name = facts["labels"][place], facts["names"][str(number)]
            axes.imshow(Image.open(io.BytesIO(base64.b64decode(content))))
            colour = "#444444" if label < 0 else _RIGHT if label == number else _WRONG
            mark = "" if label < 0 else " ✓" if label == number else " ✗"
            axes.set_title(f"{name[:18]}{mark}\n{score:.0%}", fontsize=7, color=colour)
            said.append(f"{facts['files'][place]}: {name}, {score:.0%}{', wrong' if mark == ' ✗' else ''}")
        for axes in figure.axes:
            axes.set_axis_off()
    caption = f"What {chosen.name} names first, and its score. ✓ right, ✗ wrong, neither where nobody labelled it. Of: {facts['source']}."
    return drawing.Drawing(figure, caption, f"Photographs. {'; '.join(said)}.")
