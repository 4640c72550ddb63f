"""Every machine in an outputs folder, side by side."""

from pathlib import Path

import pandas as pd

from studylib import tables
from studylib.artifact import write_text
from studylib.errors import InputError
from studylib.results import Results


def studies(outputs: Path) -> dict[str, Results]:
    """The stored studies by hardware set."""
    return {path.parent.name: Results(path.parent) for path in sorted(outputs.glob("[!.]*/plan.json"))}


def medians(outputs: Path) -> pd.DataFrame:
    """Median latency of every measured trial, one column for each machine, headed native or REHEARSAL."""
    columns = {}
    for name, results in studies(outputs).items():
        try:
            frame = tables.latency(results)
        except InputError:
            continue  # `write` says why
        heading = f"{name} ({'native' if results.run()['native'] else 'REHEARSAL'}) p50_ms"
        if not frame.empty:
            columns[heading] = frame.set_index(tables.KEY).p50_ms
    if not columns:
        raise InputError(f"nothing is measured in {outputs}. Run `make study HW=…` first.")
    return pd.DataFrame(columns).fillna("–").reset_index()


def write(outputs: Path) -> Path:
    """Write ``compare.md``; returns its path. Machines are listed, never merged: each column is its own study."""
    lines = ["# Machines side by side", "", tables.markdown(medians(outputs)), ""]
    for name, results in studies(outputs).items():
        try:
            lines.append(f"- **{name}**: {tables.provenance(results)}")
        except InputError as error:
            lines.append(f"- **{name}** is left out: {error}")
    path = outputs / "compare.md"
    write_text(path, "\n".join(lines) + "\n")
    return path
