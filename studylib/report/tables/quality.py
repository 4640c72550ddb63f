"""Whether artifacts are still the same model, and how well they answer, as tables."""

import pandas as pd

from studylib.quality import integer_parity
from studylib.report.tables.frames import frame, key
from studylib.results import assumed
from studylib.results.records import Trial
from studylib.results.rows import proportion
from studylib.results.standing import evaluated
from studylib.results.sure import SURE, band
from studylib.verdicts import compare
from studylib.verdicts.findings import Findings, of_findings
from studylib.wording import percent, without_empty

# Agreement by how sure the source model is of its answer.
_SURE, _UNSURE = f"source above {SURE:g}: agreement_%", "below"


@of_findings
def quality(findings: Findings) -> pd.DataFrame:
    """Fidelity and accuracy of every artifact in its runtime, with the verdict of the parity gate."""
    rows = []
    for trial, found in evaluated(findings.results):
        passed = found.get("why_not_comparable", "passed") if found["status"] == "ok" else f"{found['status']}: {found['reason']}"
        told = assumed.beside_accuracy(findings.results.artifacts(), trial.model) if "correct" in found else ""
        rows.append(key(trial) | {"parity": passed} | _quality_columns(trial, found) | {"accuracy assumes": told})
    table = frame(rows).drop(columns="batch").fillna(dict.fromkeys(("whole numbers", _SURE, _UNSURE), ""))
    for name in ("accuracy assumes", "whole numbers", _SURE, _UNSURE):
        table = without_empty(table, name)
    return table


@of_findings
def accuracy_changes(findings: Findings) -> pd.DataFrame:
    """Change of accuracy against the baseline on the same samples, in percentage points, with McNemar's exact test."""
    return frame(
        key(contender)
        | {
            "baseline": baseline.label,
            "points": f"{100 * change.estimate.value:+.1f} [{100 * change.estimate.low:+.1f}, {100 * change.estimate.high:+.1f}]",
            "lost": change.lost,
            "gained": change.gained,
            "p": f"{change.p_value:.2g}",
            "n": change.estimate.n,
        }
        for baseline, contender, change in compare.accuracy_changes(findings.results)
    ).drop(columns="batch")


def _quality_columns(trial: Trial, found: dict) -> dict:
    if "n" not in found:
        return {}
    accuracy = "random weights" if trial.weights == "random" else "no labels"
    return _fidelity(found) | {
        "agreement_%": percent(proportion(found, "agreeing")) if "agreeing" in found else "no scores",
        _SURE: _of_band(found, True),
        _UNSURE: _of_band(found, False),
        "accuracy_%": percent(proportion(found, "correct")) if "correct" in found and trial.weights != "random" else accuracy,
        "n": found["n"],
        "samples": found["data"],
        "whole numbers": integer_parity.told(found.get("steps", {})),
    }


def _of_band(found: dict, sure: bool) -> str:
    """The agreement where the source model is ``sure``, or is not, with the number of those samples; labels tell more."""
    answers = band(found, sure) if "confidence" in found and "correct" not in found else []
    return f"{100 * sum(answers) / len(answers):.1f} (n {len(answers)})" if answers else ""


def _fidelity(found: dict) -> dict:
    """The worst over all outputs: SQNR, largest error, the same relative to the largest value, cosine, MSE."""
    return {
        "sqnr_db": round(found["sqnr"], 1),
        "max error": f"{found['max_abs_error']:.2g}",
        "relative": f"{found['max_rel_error']:.2g}",
        "cosine": f"{found['cosine']:.6f}",
        "output_mse": f"{found['output_mse']:.2g}",
    }
