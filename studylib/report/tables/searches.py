"""Which layers suffer from quantization, and how the search for an adaptive recipe went: tables of what the searches kept."""

import pandas as pd

from studylib.verdicts.findings import Findings, of_findings
from studylib.wording import digits

COLUMNS = ("model", "format", "layer", "operator", "parameters")

EVERY = "every layer"
_BUDGET = {True: "yes", False: "OVER BUDGET", None: "not judged"}


@of_findings
def layers(findings: Findings) -> pd.DataFrame:
    """Every layer, the most sensitive first: what is lost when only it is quantized, and what is won back when only it stays float."""
    rows = []
    for search in findings.results.searches().values():
        for one in search.get("sensitivity") or []:
            alone, rest = one["alone_quantized"], one["alone_float"]
            rows.append(
                {
                    "model": search["model"],
                    "format": search["format"],
                    "layer": one["layer"],
                    "operator": one["operator"],
                    "parameters": one["parameters"],
                    "alone quantized, dB": float(alone["sqnr_db"]),
                    "loss": _points(alone["loss"]),
                    "all others quantized, dB": float(rest["sqnr_db"]),
                    "its loss": _points(rest["loss"]),
                    "n": search.get("ranked_on"),
                    "ranked": search.get("ranking") or EVERY,
                    "chosen": search["layers"].get(one["layer"], "fp32"),
                }
            )
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=[*COLUMNS, "chosen"])


@of_findings
def searches(findings: Findings) -> pd.DataFrame:
    """Every step of every search, in order: how many layers were quantized, what that cost, how fast it was against fp32."""
    rows = []
    for search in findings.results.searches().values():
        # A step without an assignment took the time of layers: it chose nothing.
        steps = [step for step in search["steps"] if "digest" in step]
        last = max((number for number, step in enumerate(steps, 1) if step["digest"] == search["digest"]), default=0)
        for number, step in enumerate(steps, 1):
            rows.append(
                {
                    "model": search["model"],
                    "format": search["format"],
                    "step": number,
                    "what": step["what"],
                    "quantized": step["quantized"],
                    "sqnr_db": float("nan") if step["sqnr_db"] is None else float(step["sqnr_db"]),
                    "loss": _points(step["loss"]),
                    "speed-up over fp32": _ratio(step),
                    "chosen": "●" if number == last else "",
                }
            )
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=["model", "format", "step", "what"])


@of_findings
def found(findings: Findings) -> pd.DataFrame:
    """What each search found, against which budget, and why it stopped."""
    rows = [
        {
            "model": search["model"],
            "format": search["format"],
            "budget": search["facts"]["budget_words"],
            "within budget": _BUDGET[search["facts"]["within_budget"]],
            "layers": len(search["layers"]),
            "steps": len(search["steps"]),
            "stopped by": search["facts"]["stopped_by"],
            "ranked": search.get("ranking") or EVERY,
            "found": search["facts"]["why"],
        }
        for search in findings.results.searches().values()
    ]
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=["model", "format", "budget", "found"])


def _points(loss: float | None) -> str:
    return "" if loss is None else f"{100 * loss:.1f} points"


def _ratio(step: dict) -> str:
    if step.get("ratio") is None:
        return "not timed"
    interval = "" if step.get("ratio_low") is None else f" [{digits(step['ratio_low'])}, {digits(step['ratio_high'])}]"
    return f"{digits(step['ratio'])}x{interval}, {step['rounds']} rounds"
