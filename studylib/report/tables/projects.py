"""Which configuration to choose for which kind of project, as a table."""

from dataclasses import asdict

import pandas as pd

from studylib.verdicts.advice import advise
from studylib.verdicts.findings import Findings, of_findings
from studylib.verdicts.projects import Project


@of_findings
def projects(findings: Findings) -> pd.DataFrame:
    """Which configuration to choose for which kind of project within the study's own budget, a row for each model and kind."""
    found = advise(findings)
    rows = [{"model": one.model} | asdict(project) for one in found for project in one.projects]
    rows += [{"model": one.model} | asdict(Project("", "", "none", str(one.reason))) for one in found if not one.projects]
    return pd.DataFrame(rows, columns=["model", "kind", "counts", "choice", "because"])
