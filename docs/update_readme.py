"""Write the figure and the table of a finished study into README.md: ``make readme`` after ``make study HW=cpu``."""

import re
import shutil

from studylib import params
from studylib.report import report, summary
from studylib.report.tables import frames
from studylib.results import standing
from studylib.verdicts import adaptive_verdicts, compression, winners

BEGIN, END = "<!-- generated: begin (make readme) -->", "<!-- generated: end -->"
FIGURES = ("trade-off", "roofline", "formats")
# Columns of the table of techniques that a reader of the front page needs; the report has all.
COLUMNS = ["model", "runtime", "recipe", "times smaller", "gzip_kb", "quality", "change", "p50_ms", "against fp32", "front", "status"]


def main() -> None:
    results = standing.read_results("cpu")
    report.build(results)
    folder = params.root() / "docs" / "figures"
    folder.mkdir(exist_ok=True)
    drawn = {figure.name: figure for figure in report.drawing.drawn_in(results.folder / "figures")}
    for name in FIGURES:
        shutil.copy(results.folder / "figures" / f"{name}.png", folder / f"{name}.png")
    path = params.root() / "README.md"
    block = "\n\n".join([BEGIN, *content(results, drawn), END])
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: block, text, flags=re.DOTALL), encoding="utf-8")


def content(results, drawn: dict) -> list[str]:
    """The parts of the generated block."""
    run = results.run()
    pictures = [f"![{drawn[name].alt}](docs/figures/{name}.png)\n\n*{drawn[name].title}. {drawn[name].caption}*" for name in FIGURES]
    command = f"`{run['command']}`. {standing.provenance(results)}"
    found = "\n".join(f"- {sentence}" for sentence in summary.summary(results))
    techniques = frames.markdown(compression.techniques(results)[COLUMNS])
    folded = f"<details>\n<summary>Every technique of this run</summary>\n\n{techniques}\n\n</details>"
    adaptive = frames.markdown(adaptive_verdicts.verdicts(results))
    return [command, found, *pictures, frames.markdown(winners.table(results)), adaptive, folded]


if __name__ == "__main__":
    main()
