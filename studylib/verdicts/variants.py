"""A trial beside the float version that it is held against: its speed, its answers, its file; and all of a study's."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from studylib import stats
from studylib.params.recipe_names import split_recipe
from studylib.results.records import Trial
from studylib.results.results import Results
from studylib.results.rows import proportion
from studylib.results.sure import judged
from studylib.stats import Verdict
from studylib.verdicts.compare import SpeedUp
from studylib.verdicts.findings import Findings, once


@dataclass(frozen=True)
class Variant:
    """One trial at the study's smallest batch size beside the fp32 trial of the same model and runtime (``float32``)."""

    findings: Findings
    trial: Trial
    float32: Trial | None

    @property
    def results(self) -> Results:
        return self.findings.results

    @cached_property
    def evaluation(self) -> dict:
        return self.results.evaluation(self.trial.evaluation_id) or {}

    @property
    def judged(self) -> dict:
        """Its evaluation with the answers that count: without labels, those of which the source model is sure, where these are enough."""
        return judged(self.evaluation) if self.measure == "agreeing" else self.evaluation

    @property
    def measured(self) -> str:
        """What its quality is, in words."""
        where = " where the source model is sure" if self.judged is not self.evaluation else ""
        return {"correct": "accuracy", "agreeing": "agreement", "sqnr": "SQNR"}[self.measure] + where

    @property
    def artifact(self) -> dict:
        return self.results.artifacts().get(self.trial.artifact_key, {})

    @property
    def inside(self) -> dict:
        """What is inside the file, as far as it was looked into."""
        return self.results.inside().get(self.trial.artifact_key, {})

    @property
    def speed_up(self) -> SpeedUp | None:
        """Against fp32 in the same runtime; None where one of the two was not timed."""
        if self.float32 is None or self.float32.id == self.trial.id or self.stands_for is not None:
            return None
        measured = all(self.results.measurements(trial.id) for trial in (self.float32, self.trial))
        return self.findings.against(self.float32, self.trial) if measured else None

    @property
    def verdict(self) -> Verdict | None:
        """Against fp32 in the same runtime; None where one of the two was not timed."""
        return self.speed_up.verdict if self.speed_up else None

    @cached_property
    def change(self) -> stats.PairedDifference | None:
        """Right answers (or answers that agree with the source model) lost and gained against fp32 on the same samples."""
        name = self.measure
        if self.float32 is None or self.float32.id == self.trial.id or name == "sqnr":
            return None
        before = judged(self.results.evaluation(self.float32.evaluation_id) or {}).get(name)
        after = self.judged.get(name)
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
        return self.findings.doubles.get(self.trial.id)

    @property
    def independent(self) -> bool:
        """Whether one answer tells nothing of the next: only then intervals and p values of shares mean anything."""
        return bool(self.judged.get("independent")) and len(self.judged.get(self.measure, ())) == self.judged.get("n")

    @cached_property
    def quality(self) -> float:
        """In percent (accuracy, agreement) or dB (SQNR); NaN before it was evaluated."""
        if self.measure == "sqnr":
            return float(self.evaluation.get("sqnr", np.nan))
        return 100 * float(np.mean(self.judged[self.measure]))

    @cached_property
    def ms(self) -> float:
        """The typical latency of a query in milliseconds; NaN where it was not timed."""
        is_timed = self.results.measurements(self.trial.id) and self.findings.state(self.trial).ok
        return self.findings.typical_ns(self.trial) / 1e6 if is_timed else np.nan

    @property
    def sample_ns(self) -> float:
        """The typical time for one sample: of a query, shared by its samples."""
        return self.findings.typical_ns(self.trial) / self.trial.batch_size


def share(variant: Variant) -> stats.Estimate:
    """The share of right (or agreeing) answers with its exact interval where samples are independent."""
    return proportion(variant.judged, variant.measure)


# How a technique works, by how its name begins; the first that fits counts.
_FAMILIES = (
    ("pruned_channels", "structured pruning"), ("pruned_blocks", "structured pruning"), ("distilled", "distillation"),
    ("student", "distillation"), ("adaptive", "adaptive"), ("pruned", "pruning"), ("clustered", "clustering"),
    ("fp32", "float"), ("fp16", "float"), ("as it came", "as it came"),
)  # fmt: skip


def family(recipe: str) -> str:
    """The kind of technique that a recipe is, by its name or as tables show it."""
    base, last = split_recipe(recipe)
    if base and base.endswith("qat"):
        return "quantization-aware training"
    return next((name for start, name in _FAMILIES if (base or last).startswith(start)), "post-training quantization")


def variants(findings: Findings) -> list[Variant]:
    """Every trial of the smallest batch size that is not a control and could be planned; the same file and settings once."""
    return [variant for variant in every_name(findings) if variant.stands_for is None]


def doubles(findings: Findings) -> list[Variant]:
    """Those of `variants`' trials that are another one's file under a second name."""
    return [variant for variant in every_name(findings) if variant.stands_for is not None]


@once
def every_name(findings: Findings) -> list[Variant]:
    """`variants`, with every name that a file has."""
    plan = [trial for trial in findings.plan if trial.usual and not trial.control and not trial.sweep]
    smallest = min((trial.batch_size for trial in plan), default=1)
    chosen = [trial for trial in plan if trial.batch_size == smallest and not trial.reason]
    floats = {(trial.model, trial.runtime, trial.provider): trial for trial in chosen if trial.recipe == "fp32"}
    return [Variant(findings, trial, floats.get((trial.model, trial.runtime, trial.provider))) for trial in chosen]
