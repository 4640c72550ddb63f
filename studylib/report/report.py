"""The report: one self-contained HTML page and a Markdown file, from stored results alone."""

import base64
import json
from pathlib import Path

from markupsafe import Markup

from studylib.artifacts.store import write_bytes, write_text
from studylib.report import summary
from studylib.report.figures import drawing
from studylib.report.sections import TABLES, Section, in_report
from studylib.report.tables import scenarios
from studylib.results import standing
from studylib.results.results import Results
from studylib.verdicts import advice
from studylib.verdicts.findings import Findings
from studylib.verdicts.grounds import grounds
from studylib.verdicts.passport import Fit
from studylib.wording import digits, markdown, plain


def build(results: Results) -> Path:
    """Write figures and ``report/{index.html, report.md}``; returns the page's path. Needs no runtime and no hardware."""
    results.save_table()
    findings = Findings.of(results)
    drawn = drawing.draw_all(findings)
    content = _content(findings, drawn)
    folder = results.folder / "report"
    drawing.remove_others(folder, drawn)
    for figure in drawn:
        for kind in ("svg", "png"):
            write_bytes(folder / f"{figure.name}.{kind}", (results.folder / "figures" / f"{figure.name}.{kind}").read_bytes())
    write_text(folder / "report.md", render("report.md.j2", content))
    write_text(folder / "index.html", render("report.html.j2", content))
    return folder / "index.html"


def _content(findings: Findings, drawn: list[drawing.Drawn]) -> dict:
    run, first, advices, folder = findings.run, summary.first_screen(findings), advice.advise(findings), findings.results.folder
    ground = grounds(findings)
    return {
        "run": run,
        "rehearsal": not run["native"],
        "measured_when": standing.measured_when(findings.results),
        "first": first,
        "loadgen": scenarios.note(findings),
        "summary": summary.summary(findings)[len(first) :],
        "advice": advices,
        "headlines": first.decisions | set(advices.caveats[1:]),
        "sound": ground.native and ground.fitness.fit in (Fit.YES, Fit.CARE),
        "figures": [drawn_figure.__dict__ | {"number": number} for number, drawn_figure in enumerate(drawn, 1)],
        "png": {figure.name: _data_uri(folder / "figures" / f"{figure.name}.png") for figure in drawn},
        "tables": [_table(number, section, findings) for number, section in enumerate(in_report(TABLES), 1)],
        "parameters": json.dumps(run["parameters"], indent=1),
        "settings": run["parameters"]["settings"],
    }


def _table(number: int, section: Section, findings: Findings) -> dict:
    frame = _telling(section.make(findings))
    shown = {"html": html_of(frame), "markdown": Markup(markdown(frame)), "empty": frame.empty}
    return {"id": section.id, "title": section.title, "number": number} | shown


def _telling(frame):
    """Without the columns that say nothing for any row."""
    return frame if frame.empty else frame[[name for name in frame if not (frame[name] == "").all()]]


def html_of(frame) -> str:
    """A table of the page."""
    return frame.to_html(index=False, escape=True, border=0, na_rep="–", float_format=digits)


def _data_uri(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def _plain(value):
    """Text that stays text in Markdown. Tables escape their own cells."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return plain(value)


def render(template: str, content: dict) -> str:
    """A page or a Markdown file of one of our templates."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(enabled_extensions=("html.j2",)),
        undefined=StrictUndefined,
        finalize=_plain if template.endswith(".md.j2") else None,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(content)
