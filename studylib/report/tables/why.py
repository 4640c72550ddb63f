"""Why variants are slower or worse than fp32, as a table."""

import pandas as pd

from studylib.verdicts.findings import Findings, of_findings
from studylib.verdicts.why import explained

_NOT_KNOWN = "not known: neither its operators nor its neighbours tell"


@of_findings
def why(findings: Findings) -> pd.DataFrame:
    """Every variant that is slower or worse than fp32 in the same runtime: by how much, and why as far as evidence tells."""
    columns = ["model", "runtime", "recipe", "what", "why"]
    found = [(one.variant.trial, one) for one in explained(findings)]
    rows = [[trial.model, trial.where, trial.shown, one.what, "; ".join(one.why) or _NOT_KNOWN] for trial, one in found]
    return pd.DataFrame(rows, columns=columns)
