"""The report: one self-contained HTML page and a Markdown file, from stored results alone."""

import base64
import json
from pathlib import Path

from markupsafe import Markup

from studylib.artifacts.store import write_bytes, write_text
from studylib.report import summary
from studylib.report.figures import drawing, registry
from studylib.report.tables import batches, formats, frames, resources, roof, scenario_tables, sensitivity, swept
from studylib.results import standing
from studylib.results.results import Results
from studylib.verdicts import adaptive_verdicts, advice, compression, passport, why, winners
from studylib.verdicts.grounds import grounds
from studylib.verdicts.passport import Fit
from studylib.wording import plain

_TABLES = {
    "passport": ("Is this machine fit to measure?", passport.table),
    "winner": ("Winner of each model within the accuracy budget, against its baseline", winners.table),
    "projects": ("Which to choose for which project", advice.choices),
    "winners": ("Fastest of each model and batch size, whatever it lost", frames.winners),
    "techniques": ("Every technique: what it saves and what it costs", compression.techniques),
    "why": ("Why a variant is slower or worse than fp32", why.reasons),
    "adaptive": ("Adaptive recipes against uniform ones", adaptive_verdicts.verdicts),
    "found": ("What the searches for adaptive recipes found", sensitivity.verdicts),
    "sensitivity": ("Sensitivity of layers", sensitivity.layers),
    "searches": ("Every step of the searches", sensitivity.searches),
    "speed_ups": ("Speed-up over the baseline", frames.speed_ups),
    "swept": ("What each setting is worth", swept.settings),
    "latency": ("Latency, throughput, memory and cold start", frames.latency),
    "roofline": ("How far from this machine's limit", roof.rows),
    "peaks": ("What this machine can do at most", roof.peaks),
    "memory": ("Memory of the process, step by step", resources.memory),
    "energy": ("Energy of a query", resources.energy),
    "placements": ("Which provider runs which nodes", resources.placements),
    "scenarios": (f"Scenarios. {scenario_tables.NOTE}", scenario_tables.scenarios),
    "rates": ("How the rate of each server was found", scenario_tables.rates),
    "quality": ("Quality and parity", frames.quality),
    "batches": ("Batches, held against single answers before they are timed", batches.checks),
    "accuracy": ("Change of accuracy on the same samples", frames.accuracy_changes),
    "artifacts": ("Artifacts", frames.artifacts),
    "conversions": ("From format to format: every conversion", formats.conversions),
    "outputs": ("Fidelity of each output", formats.outputs),
    "inside": ("What is inside", formats.inside),
    "operators": ("Operators of each float file", formats.every_operator),
    "remarks": ("What was assumed, repaired, or cannot run", formats.remarks),
    "not_measured": ("Trials without numbers", frames.not_measured),
    "recorded": ("Functions that were recorded", frames.recorded),
    "disturbances": ("Repetitions that were thrown away", frames.disturbances),
}


def build(results: Results) -> Path:
    """Write figures and ``report/{index.html, report.md}``; returns the page's path. Needs no runtime and no hardware."""
    results.save_table()
    drawn = registry.draw_all(results)
    content = _content(results, drawn)
    folder = results.folder / "report"
    drawing.remove_others(folder, drawn)
    for figure in drawn:
        for kind in ("svg", "png"):
            write_bytes(folder / f"{figure.name}.{kind}", (results.folder / "figures" / f"{figure.name}.{kind}").read_bytes())
    write_text(folder / "report.md", _render("report.md.j2", content))
    write_text(folder / "index.html", _render("report.html.j2", content))
    return folder / "index.html"


def _content(results: Results, drawn: list[drawing.Drawn]) -> dict:
    run, first, advices = results.run(), summary.first_screen(results), advice.advise(results)
    ground = grounds(results)
    return {
        "run": run,
        "rehearsal": not run["native"],
        "measured_when": standing.measured_when(results),
        "first": first,
        "loadgen": scenario_tables.note(results),
        "summary": summary.summary(results)[len(first) :],
        "advice": advices,
        "headlines": first.decisions | set(advices.caveats[1:]),
        "sound": ground.native and ground.fitness.fit in (Fit.YES, Fit.CARE),
        "figures": [drawn_figure.__dict__ | {"number": number} for number, drawn_figure in enumerate(drawn, 1)],
        "png": {figure.name: _data_uri(results.folder / "figures" / f"{figure.name}.png") for figure in drawn},
        "tables": [
            {
                "id": name,
                "title": title,
                "number": number,
                "html": _html(frame),
                "markdown": Markup(frames.markdown(frame)),
                "empty": frame.empty,
            }
            for number, (name, (title, make)) in enumerate(_TABLES.items(), 1)
            for frame in [_telling(make(results))]
        ],
        "parameters": json.dumps(run["parameters"], indent=1),
        "settings": run["parameters"]["settings"],
    }


def _telling(frame):
    """Without the columns that say nothing for any row."""
    return frame if frame.empty else frame[[name for name in frame if not (frame[name] == "").all()]]


def _html(frame) -> str:
    return frame.to_html(index=False, escape=True, border=0, na_rep="–", float_format=frames.digits)


def _data_uri(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def _plain(value):
    """Text that stays text in Markdown. Tables escape their own cells."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return plain(value)


def _render(template: str, content: dict) -> str:
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
