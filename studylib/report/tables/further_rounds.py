"""Which comparisons got further rounds, because they decide something and were open after the planned ones."""

import pandas as pd

from studylib.verdicts.findings import Findings, of_findings
from studylib.wording import ratio_text

_COLUMNS = ("model", "batch", "contender", "baseline", "reads", "level_%", "rounds", "planned", "ended by")


@of_findings
def further_rounds(findings: Findings) -> pd.DataFrame:
    """A row for each: what it reads now, of how many rounds, and why there are no more. Empty where the planned rounds were enough."""
    kept, trials = findings.results.further(), {trial.id: trial for trial in findings.plan}
    rows = []
    for pair in kept.get("pairs", ()):
        baseline, contender = trials.get(pair["baseline"]), trials.get(pair["contender"])
        if baseline and contender:
            found = findings.against(baseline, contender)
            what = {"model": contender.model, "batch": contender.batch_size, "contender": contender.label, "baseline": baseline.label}
            reads = f"{ratio_text(found.comparison)}, {found.verdict_text}"
            told = {"reads": reads, "level_%": round(100 * found.comparison.level), "rounds": found.comparison.n}
            rows.append(what | told | {"planned": kept["planned"], "ended by": pair["ended"]})
    return pd.DataFrame(rows, columns=_COLUMNS)
