"""A variant that lost against fp32, with all that may explain it: its file's operators and lineage, the processor, its neighbours."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from studylib.verdicts.variants import Variant


@dataclass(frozen=True)
class Case:
    """One variant that lost, with all that may explain it."""

    variant: Variant
    others: list[Variant]
    isa: frozenset

    @property
    def recipe(self) -> str:
        return self.variant.trial.recipe

    def count(self, *operators: str) -> int:
        """How many operators of these types its file has."""
        return sum(self.variant.inside.get("operators", {}).get(name, 0) for name in operators)

    def more(self, *operators: str) -> int:
        """How many more of them than the fp32 file."""
        return self.count(*operators) - sum(self.before.get("operators", {}).get(name, 0) for name in operators)

    @cached_property
    def before(self) -> dict:
        return Variant(self.variant.findings, self.variant.float32, None).inside if self.variant.float32 else {}

    @property
    def baseline_ms(self) -> float:
        """The latency of fp32 in the same runtime."""
        return Variant(self.variant.findings, self.variant.float32, None).ms if self.variant.float32 else np.nan

    @property
    def islands(self) -> dict:
        return self.variant.inside.get("float_islands") or {}

    @cached_property
    def notes(self) -> dict:
        """What the recipes noted of how they made it."""
        return {key: value for step in self.variant.artifact.get("lineage", []) for key, value in (step.get("notes") or {}).items()}

    def neighbour(self, recipe: str) -> Variant | None:
        """The same model in the same runtime by another recipe, where it was evaluated."""
        ours = self.variant.trial
        alike = (v for v in self.others if (v.trial.model, v.trial.runtime, v.trial.provider) == (ours.model, ours.runtime, ours.provider))
        return next((v for v in alike if v.trial.recipe == recipe and "sqnr" in v.evaluation), None)
