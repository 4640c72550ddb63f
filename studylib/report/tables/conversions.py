"""Tables about conversion: what happened to each model on its way to each format, and what is inside the files."""

from collections import Counter

import pandas as pd

from studylib.quality import integer_parity
from studylib.results.records import Conversion, is_plain
from studylib.results.results import Results
from studylib.results.states import Status
from studylib.verdicts.findings import Findings, of_findings
from studylib.wording import blanked, digits

_COLUMNS = ["model", "from", "to", "status"]
_MADE = (Status.OK, Status.WRITTEN)


def cell_text(results: Results, cell: Conversion) -> str:
    """``ok 118 dB, 2.1 s, 383 kB`` or the status alone."""
    status = results.conversion_state(cell).status
    if status not in _MADE:
        return str(status)
    facts = _facts(results, cell)
    parity = f" {facts['sqnr_db']:.0f} dB," if facts["sqnr_db"] is not None else ""
    return f"{status}{parity} {digits(facts['seconds'])} s, {digits(facts['size_kb'])} kB"


@of_findings
def conversions(findings: Findings) -> pd.DataFrame:
    """Every cell of the matrix as a row: parity, seconds, size, and the reason or what was repaired on the way."""
    rows = []
    for cell in findings.results.conversions():
        state = findings.results.conversion_state(cell)
        row = {"model": cell.model, "from": cell.source, "to": cell.target, "status": str(state.status)}
        found = (findings.results.evaluation(cell.trial.evaluation_id) if cell.trial else None) or {}
        if "n" in found:
            row |= {"sqnr_db": round(found["sqnr"], 1), "max error": f"{found['max_abs_error']:.2g}", "cosine": f"{found['cosine']:.6f}"}
            row |= {"n": str(found["n"]), "samples": found["data"]}
            row |= {"whole numbers": told} if (told := integer_parity.told(found.get("steps", {}))) else {}
        facts = _facts(findings.results, cell) if state.status in _MADE else {}
        row |= {name: digits(facts[name]) if facts else "" for name in ("seconds", "size_kb")}
        remarks = "; ".join(filter(None, (found.get("why_not_comparable"), _remarks(findings.results, cell))))
        rows.append(row | {"reason or remark": state.why or remarks})
    return blanked(pd.DataFrame(rows)) if rows else pd.DataFrame(columns=_COLUMNS)


@of_findings
def inside(findings: Findings) -> pd.DataFrame:
    """What each file holds: operators, parameters, multiply-accumulates of one sample, version of the operator set."""
    rows = []
    for facts, found in looked_into(findings.results):
        operators = Counter(found["operators"])
        rows.append(
            {
                "model": facts["model"],
                "recipe": facts["precision"],
                "format": facts["format"],
                "made from": _parent(facts),
                "operators": sum(operators.values()),
                "most frequent": ", ".join(f"{count} {name}" for name, count in operators.most_common(4)),
                "parameters": f"{found['parameters']:,}",
                "MACs": f"{found['macs']:,}" if found["macs"] is not None else f"unknown: {found['macs_why']}",
                "operator set": _opset(found),
                "size_kb": facts["size_bytes"] / 1000,
                "in float": _islands(found),
            }
        )
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=["model", "recipe", "format"])


@of_findings
def outputs(findings: Findings) -> pd.DataFrame:
    """Fidelity of each output of every model that has several, in every runtime; the parity gate goes by the worst."""
    trials = [trial for trial in findings.plan if trial.evaluation_id and not trial.control and not trial.sweep]
    trials += [cell.trial for cell in findings.results.conversions() if cell.trial]
    rows = []
    for trial in {trial.evaluation_id: trial for trial in trials}.values():
        each = (findings.results.evaluation(trial.evaluation_id) or {}).get("outputs", [])
        for one in each if len(each) > 1 else []:
            row = {"model": trial.model, "format": trial.format, "runtime": trial.runtime, "recipe": trial.shown, "output": one["name"]}
            row |= {"sqnr_db": round(one["sqnr"], 1), "max error": f"{one['max_abs_error']:.2g}", "relative": f"{one['max_rel_error']:.2g}"}
            rows.append(row | {"cosine": f"{one['cosine']:.6f}", "agreement_%": _share(one)})
    return pd.DataFrame(rows, columns=None if rows else ["model", "format", "runtime", "recipe", "output"])


def _share(one: dict) -> str:
    return f"{100 * one['agreement']:.1f}" if one.get("agreement") is not None else "no scores"


@of_findings
def operators(findings: Findings, model: str | None = None) -> pd.DataFrame:
    """Operators by type, one row for each type, one column for each float file: of one model, or of all with its name before each row."""
    if model is not None:
        return _operators(findings, model)
    models = dict.fromkeys(facts["model"] for facts, _ in looked_into(findings.results))
    parts = [_operators(findings, name) for name in models]
    for name, part in zip(models, parts, strict=True):
        part.insert(0, "model", name)
    return blanked(pd.concat(parts, ignore_index=True)) if parts else pd.DataFrame(columns=["model", "operator"])


def _operators(findings: Findings, model: str) -> pd.DataFrame:
    columns = {}
    for facts, found in looked_into(findings.results):
        if facts["model"] == model and is_plain(facts["precision"]):
            columns.setdefault(f"{_parent(facts)} → {facts['format']}" if _parent(facts) else facts["format"], found["operators"])
    table = pd.DataFrame(columns).fillna(0).astype(int)
    table = table.loc[table.sum(axis=1).sort_values(ascending=False, kind="stable").index]
    return table.rename_axis("operator").reset_index()


@of_findings
def signatures(findings: Findings) -> pd.DataFrame:
    """Inputs and outputs of each source model."""
    rows = [
        {"model": facts["model"], "end": end[:-1], "name": tensor["name"], "shape": _shape(tensor["shape"]), "type": tensor["dtype"]}
        for facts, found in looked_into(findings.results)
        if not _parent(facts)
        for end in ("inputs", "outputs")
        for tensor in found[end]
    ]
    return pd.DataFrame(rows, columns=["model", "end", "name", "shape", "type"])


@of_findings
def remarks(findings: Findings) -> pd.DataFrame:
    """What was assumed, repaired or cannot run, in words: whatever a user should know of these files before production does."""
    rows = []
    for facts in (facts for facts in findings.results.artifacts().values() if facts["format"] != "inside"):
        for name, note in (facts["lineage"][-1].get("notes") or {}).items():
            where = "samples" if facts["format"] == "samples" else f"{facts['precision']} {facts['format']}"
            rows += [{"model": facts["model"], "where": where, "remark": text} for text in _words(name, note)]
    for facts, found in looked_into(findings.results):
        where = f"{facts['precision']} {facts['format']}"
        rows += [{"model": facts["model"], "where": where, "remark": text} for text in found["consequences"]]
    frame = pd.DataFrame(rows, columns=["model", "where", "remark"])
    return frame.drop_duplicates(ignore_index=True).sort_values(["model", "where"], ignore_index=True)


def looked_into(results: Results):
    """(artifact facts, what is inside) of every artifact that was looked into, source first, in a steady order."""
    known, found = results.artifacts(), results.inside()
    keys = [key for key in found if key in known]
    return [(known[key], found[key]) for key in keys]


def _facts(results: Results, cell: Conversion) -> dict:
    """Seconds of all steps of a cell, size of its artifact, SQNR of its worst output."""
    artifacts = results.artifacts()
    found = (results.evaluation(cell.trial.evaluation_id) if cell.trial else None) or {}
    made = artifacts[cell.keys[-1]]
    seconds = sum(artifacts[key]["made_in_s"] for key in cell.keys if key in artifacts)
    return {"seconds": seconds, "size_kb": made["size_bytes"] / 1000, "sqnr_db": found.get("sqnr")}


def _remarks(results: Results, cell: Conversion) -> str:
    artifacts = results.artifacts()
    steps = [artifacts[key]["lineage"][-1] for key in cell.keys if key in artifacts]
    return "; ".join(text for step in steps for name, note in (step.get("notes") or {}).items() for text in _words(name, note))


def _words(name: str, note) -> list[str]:
    """A note of a recipe in words; timings of its stages are for the lineage only."""
    if name == "seconds" or not note:
        return []
    if isinstance(note, dict):
        return [f"{name}: " + ", ".join(f"{key} {value}" for key, value in note.items())]
    if isinstance(note, list):
        return [str(text) for text in note]
    return [f"{name} {note}"]


def _parent(facts: dict) -> str:
    """The formats it went through, the source first; empty for a source model."""
    return " → ".join(step["from"] for step in facts["lineage"] if "from" in step)


def _opset(found: dict) -> str:
    return ", ".join(f"{name or 'ai.onnx'} {version}" for name, version in found["opset"].items())


def _islands(found: dict) -> str:
    """How much of a quantized graph stays float; empty for a float file."""
    islands = found["float_islands"]
    if islands is None:
        return ""
    kinds = Counter(operator["type"] for operator in islands["operators"])
    named = ", ".join(f"{count} {name}" for name, count in kinds.most_common(3))
    return (
        f"{islands['count']} operators"
        + (f" ({named})" if named else "")
        + f"; {islands['quantize']} quantize, {islands['dequantize']} dequantize"
    )


def _shape(shape: list) -> str:
    return "×".join("any" if size is None else str(size) for size in shape) or "scalar"
