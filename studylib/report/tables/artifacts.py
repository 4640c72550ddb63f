"""The artifacts of a study as a table."""

import numpy as np
import pandas as pd

from studylib.report.tables.frames import frame
from studylib.results.records import is_plain
from studylib.verdicts.findings import Findings, of_findings


@of_findings
def artifacts(findings: Findings) -> pd.DataFrame:
    """Every artifact of the plan: size, size after gzip, ratio to the fp32 artifact of the same format, and the recipes that made it."""
    known, wanted = findings.results.artifacts(), {trial.artifact_key for trial in findings.plan}
    rows = [facts for key, facts in known.items() if key in wanted]
    found = frame(
        {
            "model": facts["model"],
            "recipe": facts["precision"],
            "format": facts["format"],
            "size_kb": facts["size_bytes"] / 1000,
            "packed_kb": facts.get("gzip_bytes", np.nan) / 1000,
            "sha256": facts["sha256"][:12],
            "made by": " → ".join(step["made_by"].split(".")[-1].split(":")[0] for step in facts["lineage"]),
        }
        for facts in rows
    )
    floats = found[found.recipe.map(is_plain).astype(bool)].set_index(["model", "format"]).size_kb
    same_format = [floats.get((row.model, row.format), np.nan) for row in found.itertuples()]
    found.insert(4, "times smaller", np.array(same_format) / found.size_kb)
    return found.sort_values(["model", "format", "size_kb"], ascending=[True, True, False], ignore_index=True)
