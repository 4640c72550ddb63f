"""Whole studies as they were recorded, with fewer values of each repetition, and everything that is told of them, as text.

``smoke`` is a study of mnist_cnn with EFFORT=smoke, ``all`` the same with RECIPE=all.
``python -m tests.report.recorded_study`` writes the texts again after a change that is meant; ``… NAME FOLDER`` packs the results in a
folder (``outputs/cpu``) first.
"""

import dataclasses
import json
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np

from studylib.report import summary
from studylib.report.by_name import tables
from studylib.report.sections import FIGURES, in_report
from studylib.results.results import Results
from studylib.verdicts import advice

FOLDER = Path(__file__).parent / "recorded"
STUDIES = ("smoke", "all")
# Enough of each repetition for its median; the file stays small.
_VALUES = {"smoke": 60, "all": 20}


def archive_of(name: str) -> Path:
    return FOLDER / f"{name}.tar.xz"


def told_of(name: str) -> Path:
    """The text of everything that is told of the study."""
    return FOLDER / f"{name}.txt"


def unpacked(name: str, folder: Path) -> Results:
    with tarfile.open(archive_of(name)) as archive:
        archive.extractall(folder, filter="data")
    return Results(folder / "cpu")


def told(results: Results) -> str:
    """Every table, sentence and figure's data of results, in lines that a comparison can show."""
    parts = ["# summary", *summary.summary(results), "# advice", str(advice.advise(results))]
    for name in dir(tables):
        parts += [f"# table {name}", *_rows(getattr(tables, name)(results))]
    for section in in_report(FIGURES):
        if made := section.make(results):
            parts += [f"# figure {section.id}", section.title, made.caption, made.alt, *_drawn(made.figure)]
    return "\n".join(parts).replace(str(results.folder.parent), "OUTPUTS") + "\n"


def _rows(table) -> list[str]:
    return [" | ".join(map(str, table.columns)), *(" | ".join(map(_plain, row)) for row in table.itertuples(index=False))]


def _plain(value) -> str:
    return f"{value:.6g}" if isinstance(value, float | np.floating) else str(value)


def _drawn(figure) -> list[str]:
    """The numbers and words of each axes: lines, points, bars, texts."""
    lines = []
    for axes in figure.axes:
        lines.append(f"axes {axes.get_title()} / {axes.get_xlabel()} / {axes.get_ylabel()}")
        lines += ["line " + _numbers(line.get_xydata()) for line in axes.lines]
        lines += ["points " + _numbers(points.get_offsets()) for points in axes.collections]
        lines += ["bar " + _numbers(bar.get_bbox().get_points()) for bar in axes.patches if hasattr(bar, "get_bbox")]
        words = [text.get_text() for text in (*axes.texts, *axes.get_xticklabels(), *axes.get_yticklabels())]
        lines.append("words " + " ; ".join(word for word in words if word))
    return lines


def _numbers(values) -> str:
    return " ".join(f"{value:.5g}" for value in np.ravel(np.ma.filled(np.ma.asarray(values, dtype=float), np.nan)))


def packed(name: str, source: Path) -> None:
    """Write the archive from the results in ``source``: raw values thinned evenly, everything else as it is."""
    before = Results(source)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "cpu"
        drop = shutil.ignore_patterns("notebooks", "figures", "report", "adaptive", "*.parquet", "c[0-9]*.json")
        shutil.copytree(source, target, ignore=drop)
        after = Results(target)
        for trial in before.plan():
            for measurement in before.attempts(trial.id):
                step = max(1, len(measurement.values_ns) // _VALUES[name])
                after.record(dataclasses.replace(measurement, values_ns=measurement.values_ns[::step][: _VALUES[name]], warmup_ns=()))
        FOLDER.mkdir(exist_ok=True)
        with tarfile.open(archive_of(name), "w:xz") as archive:
            archive.add(target, "cpu")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        packed(sys.argv[1], Path(sys.argv[2]))
    for name in STUDIES:
        with tempfile.TemporaryDirectory() as place:
            told_of(name).write_text(told(unpacked(name, Path(place))), encoding="utf-8")
        print(json.dumps({path.name: path.stat().st_size for path in (archive_of(name), told_of(name))}))
