"""Write a finished study into the front page and the example: ``make readme`` after ``make study HW=cpu``.

docs/example/ gets the whole report, its pictures in fewer colours; README.md, where the run was fit, a few lines and one picture.
"""

import base64
import io
import re
import shutil
import sys

import pandas as pd
from PIL import Image

from studylib.params.paths import root
from studylib.report import report
from studylib.report.figures import drawing
from studylib.results import standing
from studylib.results.results import Results
from studylib.verdicts.grounds import grounds
from studylib.verdicts.losses import lost
from studylib.verdicts.passport import Fit
from studylib.verdicts.winners import Winner, smallest_batch
from studylib.wording import markdown, typical_ms

BEGIN, END = "<!-- generated: begin (make readme) -->", "<!-- generated: end -->"
PICTURE = "within-budget"
_EMBEDDED = re.compile(r"data:image/png;base64,([A-Za-z0-9+/=]+)")


def main() -> int:
    results = standing.read_results("cpu")
    report.build(results)
    _write_example(results)
    ground = grounds(results)
    if not ground.native or ground.fitness.fit is Fit.NO:
        # The example says of itself what it is worth; the front page answers, and an answer needs a machine that can give one.
        print(f"docs/example is written. The front page stays as it is, since it shows a run that was fit: {ground.words}", file=sys.stderr)
        return 1
    path = root() / "README.md"
    block = "\n\n".join([BEGIN, *content(results), END])
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: block, text, flags=re.DOTALL), encoding="utf-8")
    return 0


def content(results: Results) -> list[str]:
    """The parts of the generated block: what the numbers stand on, a row a model, one picture (none of a rehearsal)."""
    rows = [_row(one) for one in smallest_batch(results)]
    drawn = [figure for figure in drawing.drawn_in(results.folder / "figures") if figure.name == PICTURE]
    pictures = [
        f"[![{figure.alt}](docs/example/{PICTURE}.svg)](docs/example/report.md)\n\n*{figure.title}. {figure.caption}*" for figure in drawn
    ]
    command = f"`{results.run()['command']}`. {grounds(results).words}"
    return [command, markdown(pd.DataFrame(rows)), *pictures]


def _row(one: Winner) -> dict:
    if one.variant is None:
        return {"model": one.model, "deploy": f"none: {one.reason}", "median": "", "over the baseline": "", "lost": "", "equally fast": ""}
    values = one.variant.findings.values(one.variant.trial)
    return {
        "model": one.model,
        "deploy": one.variant.trial.label,
        "median": f"{typical_ms(values)} ms",
        "over the baseline": one.words,
        "lost": lost(one.variant).words,
        "equally fast": len(one.ties),
    }


def _write_example(results: Results) -> None:
    folder = root() / "docs" / "example"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    made = results.folder / "report"
    for path in [made / "report.md", *made.glob("*.svg")]:
        shutil.copy(path, folder / path.name)
    page = (made / "index.html").read_text(encoding="utf-8")
    (folder / "index.html").write_text(_EMBEDDED.sub(lambda match: _in_fewer_colours(match[1]), page), encoding="utf-8")


def _in_fewer_colours(png: str) -> str:
    """The same picture with 64 colours: a third of its bytes."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB").quantize(64).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


if __name__ == "__main__":
    sys.exit(main())
