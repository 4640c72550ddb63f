"""The page of a case study, from its stored result alone: the question, the decision, pictures and tables."""

import base64
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from studylib.artifacts.store import write_text
from studylib.errors import InputError, lookup
from studylib.report.figures import drawing
from studylib.report.figures import image_case as image_figures
from studylib.report.report import html_of, render
from studylib.report.tables import image_case as image_tables
from studylib.results import case_results
from studylib.results.case_results import CaseResult
from studylib.verdicts.cases import image as image_case
from studylib.wording import markdown


@dataclass(frozen=True)
class Told:
    """How a case is told. ``decision``: its sentences; figures and tables by file name, with their titles."""

    decision: Callable[[CaseResult], list[str]]
    figures: dict[str, tuple[str, Callable[[CaseResult], drawing.Drawing | None]]]
    tables: dict[str, tuple[str, Callable[[CaseResult], pd.DataFrame]]]


TOLD = {
    "image": Told(
        image_case.decision,
        {
            "photographs": ("What was answered", image_figures.photographs),
            "steps": ("Where the time of a photograph goes, step by step", image_figures.steps),
        },
        {
            "steps": ("Each step, and what it brought", image_tables.steps),
            "tried": ("Every runtime and precision, picture by picture", image_tables.tried),
            "stages": ("Where the time goes: milliseconds of a photograph by stage", image_tables.stages),
        },
    ),
}


def result_of(folder: Path, case: str) -> CaseResult:
    """What was kept of a case below the results ``folder`` of a hardware set. Raises `InputError` where there is nothing."""
    lookup(TOLD, "case", case)
    found = case_results.read(folder, case)
    if found is None:
        raise InputError(f"nothing is kept of the case '{case}' in {folder.name}. Run `make case CASE={case} HW={folder.name}` first.")
    return found


def ground(result: CaseResult) -> str:
    """What the numbers stand on, in one line."""
    kind = f"REHEARSAL of {result.hardware} ({'; '.join(result.mismatches)})" if result.mismatches else "Native"
    return f"{kind}: measured on {result.host}, effort {result.effort}, {result.measured_at[:10]}; {result.facts['source']}."


def decision(result: CaseResult) -> list[str]:
    """What the case decides, in sentences."""
    return TOLD[result.case].decision(result)


def table(result: CaseResult, name: str):
    """One of its tables, by name."""
    from studylib.report.tables.shown import Table

    _, make = lookup(TOLD[result.case].tables, "table", name)
    return Table(make(result))


def figure(result: CaseResult, name: str):
    """One of its figures, by name, for a notebook."""
    from IPython.display import Image, Markdown

    _, make = lookup(TOLD[result.case].figures, "figure", name)
    found = make(result)
    if found is None:
        return Markdown("*Nothing to draw: no way of this case has numbers.*")
    with tempfile.TemporaryDirectory(prefix="studylib-") as folder:
        drawing.save_in(Path(folder), name, found, ground(result), not result.mismatches)
        return Image(data=(Path(folder) / f"{name}.png").read_bytes(), alt=found.alt, width=800)


def build(folder: Path, case: str) -> Path:
    """Write ``cases/<case>/index.html``, ``case.md`` and the figures; returns the page's path."""
    result, told = result_of(folder, case), TOLD[case]
    target, note = folder / "cases" / case, ground(result)
    drawn = []
    for name, (title, make) in told.figures.items():
        if found := make(result):
            drawing.save_in(target, name, found, note, not result.mismatches)
            png = "data:image/png;base64," + base64.b64encode((target / f"{name}.png").read_bytes()).decode()
            drawn.append({"name": name, "title": title, "caption": found.caption, "alt": found.alt, "png": png})
    frames = [(title, make(result).fillna("")) for title, make in told.tables.values()]
    content = {
        "case": case,
        "question": result.question,
        "rehearsal": bool(result.mismatches),
        "ground": note,
        "decision": decision(result),
        "figures": drawn,
        "tables": [{"title": title, "html": html_of(frame)} for title, frame in frames],
    }
    write_text(target / "index.html", render("case.html.j2", content))
    lines = [f"# {result.question}", "", f"**{note}**", "", *(f"{line}\n" for line in content["decision"])]
    lines += [f"![{one['alt']}]({one['name']}.svg)\n\n**{one['title']}.** {one['caption']}\n" for one in drawn]
    lines += [f"## {title}\n\n{markdown(frame)}\n" for title, frame in frames]
    write_text(target / "case.md", "\n".join(lines))
    return target / "index.html"
