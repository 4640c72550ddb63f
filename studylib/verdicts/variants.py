"""A trial beside the float version that it is held against: its speed, its answers, its file."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from studylib import stats
from studylib.results.records import Trial
from studylib.results.results import Results
from studylib.results.rows import proportion
from studylib.verdicts import compare


@dataclass(frozen=True)
class Variant:
    """One trial at the study's smallest batch size beside the fp32 trial of the same model and runtime (``float32``)."""

    results: Results
    trial: Trial
    float32: Trial | None

    @cached_property
    def evaluation(self) -> dict:
        return self.results.evaluation(self.trial.evaluation_id) or {}

    @property
    def artifact(self) -> dict:
        return self.results.artifacts().get(self.trial.artifact_key, {})

    @property
    def inside(self) -> dict:
        """What is inside the file, as far as it was looked into."""
        return self.results.inside().get(self.trial.artifact_key, {})

    @cached_property
    def speed_up(self) -> compare.SpeedUp | None:
        """Against fp32 in the same runtime; None where one of the two was not timed."""
        if self.float32 is None or self.float32.id == self.trial.id or self.stands_for is not None:
            return None
        measured = all(self.results.measurements(trial.id) for trial in (self.float32, self.trial))
        return compare.speed_up(self.float32, self.trial, self.results) if measured else None

    @property
    def verdict(self) -> str:
        """faster or slower than fp32 in the same runtime, as far as the ratio leaves this run's noise; otherwise cannot tell."""
        return "" if self.speed_up is None else compare.judged(self.speed_up, self.results)

    @cached_property
    def change(self) -> stats.PairedDifference | None:
        """Right answers (or answers that agree with the source model) lost and gained against fp32 on the same samples."""
        name = self.measure
        if self.float32 is None or self.float32.id == self.trial.id or name == "sqnr":
            return None
        before = (self.results.evaluation(self.float32.evaluation_id) or {}).get(name)
        after = self.evaluation.get(name)
        return stats.paired_accuracy(np.array(before), np.array(after)) if before and after else None

    @property
    def measure(self) -> str:
        """``correct`` where samples are labelled and weights mean something, ``agreeing`` where outputs are scores, else ``sqnr``."""
        names = ["correct"] if self.trial.weights != "random" else []
        return next((name for name in [*names, "agreeing"] if name in self.evaluation), "sqnr")

    @property
    def why_not_comparable(self) -> str:
        """Why its outputs could not be held against the source model's; empty where they were."""
        if self.evaluation.get("comparable", True) or self.measure == "correct":
            return ""
        return self.evaluation.get("why_not_comparable") or "its outputs cannot be compared one by one"

    @property
    def stands_for(self) -> "Trial | None":
        """The trial of the same file and settings that is shown in this one's place; None where it stands for itself."""
        return self.results.doubles().get(self.trial.id)

    @property
    def independent(self) -> bool:
        """Whether one answer tells nothing of the next: only then intervals and p values of shares mean anything."""
        return bool(self.evaluation.get("independent")) and len(self.evaluation.get(self.measure, ())) == self.evaluation.get("n")

    @cached_property
    def quality(self) -> float:
        """In percent (accuracy, agreement) or dB (SQNR); NaN before it was evaluated."""
        if self.measure == "sqnr":
            return float(self.evaluation.get("sqnr", np.nan))
        return 100 * float(np.mean(self.evaluation[self.measure]))

    @cached_property
    def ms(self) -> float:
        """The typical latency of a query in milliseconds; NaN where it was not timed."""
        found = self.results.measurements(self.trial.id)
        return compare.typical_ns(found) / 1e6 if found and self.results.status(self.trial)[0] == "ok" else np.nan


def share(variant: Variant) -> stats.Estimate:
    """The share of right (or agreeing) answers with its exact interval where samples are independent."""
    return proportion(variant.evaluation, variant.measure)
