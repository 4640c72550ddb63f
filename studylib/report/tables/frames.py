"""What tables for people share: the columns that name a trial, and a frame of rows."""

import pandas as pd

from studylib.results.records import Trial
from studylib.wording import without_empty

KEY = ["model", "runtime", "recipe", "batch"]


def frame(rows) -> pd.DataFrame:
    """A table that has its first columns even when it has no rows, and LoadGen's only where LoadGen drove."""
    rows = list(rows)
    return without_empty(pd.DataFrame(rows)) if rows else pd.DataFrame(columns=[*KEY, "format", "size_kb", "parity", "verdict"])


def key(trial: Trial) -> dict:
    """The columns that name a trial in every table."""
    return {"model": trial.model, "runtime": trial.where, "recipe": f"{trial.shown}{trial.setting}", "batch": trial.batch_size}
