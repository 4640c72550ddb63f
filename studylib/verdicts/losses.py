"""What a variant lost, and whether that keeps the budget: one rule for winner, advice, projects, searches and tables."""

import math
from dataclasses import dataclass, replace

import numpy as np

from studylib import stats
from studylib.params.defaults import RANDOM_SQNR_DB
from studylib.results.records import Trial
from studylib.results.results import Results
from studylib.verdicts.variants import Variant, share

# What is said of a loss that keeps the budget, does not, or is not known.
KEPT = {True: "kept", False: "OVER BUDGET", None: "not known"}


@dataclass(frozen=True)
class Lost:
    """What a variant lost on the test samples: a share of right or agreeing answers, or for random weights its SQNR in dB.

    ``worst``: the interval's unfavourable end, None where samples depend on each other and for SQNR. ``is_reference``: it is what
    others are held against. ``why``: why nothing is known. ``among``: of how many samples those ``n`` are the ones on which the source
    model is sure; 0 where all count.
    """

    measure: str
    value: float
    n: int
    worst: float | None = None
    is_reference: bool = False
    why: str = ""
    among: int = 0

    @property
    def words(self) -> str:
        """``0.2 points of accuracy (n 1000), up to 0.7 within the interval``."""
        if np.isnan(self.value):
            return f"not known: {self.why.removeprefix('not comparable: ') or 'fp32 was not evaluated beside it'}"
        if self.measure == "sqnr":
            return f"SQNR {self.value:.1f} dB (n {self.n})"
        name = {"correct": "accuracy", "agreeing": "agreement"}[self.measure]
        where, count = (" where the source model is sure", f"{self.n} of {self.among}") if self.among else ("", str(self.n))
        end = "" if self.end <= self.value else f", up to {100 * self.end:.1f} within the interval"
        return f"{100 * self.value + 0.0:.1f} points of {name}{where} (n {count}){end}"

    @property
    def text(self) -> str:
        """The same as a predicate: ``lost 0.2 points …``, ``SQNR 30.0 dB …``, ``its fidelity is not known: …``."""
        if np.isnan(self.value):
            return f"its fidelity is {self.words}"
        if self.measure == "correct" and self.value < 0:
            end = f", and up to {100 * self.end:.1f} lost within the interval" if self.end > 0 else ""
            return f"gained {-100 * self.value:.1f} points of accuracy (n {self.n}){end}"
        return self.words if self.measure == "sqnr" else f"lost {self.words}"

    @property
    def end(self) -> float:
        """The unfavourable end of what may have been lost; as measured where there is no interval."""
        return self.value if self.worst is None else max(self.worst, self.value)

    def within(self, most: float) -> bool | None:
        """Whether the budget is kept: at most ``most`` lost by the unfavourable end, or the least fidelity; the reference keeps it.

        None where what was lost is not known. This is the one rule for a loss: winner, advice, projects, searches and tables ask it.
        """
        if np.isnan(self.value):
            return None
        if self.measure == "sqnr":
            return bool(self.value >= RANDOM_SQNR_DB)
        return self.is_reference or bool(stats.at_most(self.end, most))

    def samples_needed(self, most: float) -> int | None:
        """How many samples could tell that ``most`` is kept, if none is lost; None where there are enough, or their number is not why."""
        if np.isnan(self.value) or self.worst is None or most <= 0 or not stats.at_most(self.value, most):
            return None
        needed = (stats.fewest_pairs if self.measure == "correct" else stats.fewest_agreeing)(most)
        if needed <= self.n:
            return None
        return math.ceil(needed * self.among / self.n) if self.among else needed  # of more samples the source is sure of the same share


def lost(variant: Variant) -> Lost:
    """What ``variant`` lost against its ``float32``; of answers without labels, against the source model."""
    n = variant.evaluation.get("n", 0)
    if variant.why_not_comparable:
        return Lost("sqnr", np.nan, n, why=variant.why_not_comparable)
    if variant.trial.weights == "random" or variant.measure == "sqnr":
        return Lost("sqnr", float(variant.evaluation.get("sqnr", np.nan)), n)
    is_reference = variant.float32 is not None and variant.float32.evaluation_id == variant.trial.evaluation_id
    if variant.measure == "agreeing":
        low, value = share(variant).low, 1 - variant.quality / 100
        worst = value if is_reference else None if low is None else 1 - low
        among = 0 if variant.judged is variant.evaluation else n
        return Lost("agreeing", value, variant.judged["n"], worst, is_reference, among=among)
    if is_reference:
        return Lost("correct", 0.0, n, 0.0, is_reference=True)
    if variant.change is None:
        return Lost("correct", np.nan, n)
    return Lost("correct", -variant.change.estimate.value, n, -variant.change.estimate.low if variant.independent else None)


def lost_of(variant: Variant) -> Lost:
    """What ``variant`` lost against the float version that winner and advice hold answers against, whatever its own ``float32`` is."""
    findings = variant.findings
    return lost(replace(variant, float32=reference_of(findings.compared, variant.trial.model, findings.results)))


def reference_of(plan: list[Trial], model: str, results: Results) -> Trial | None:
    """What answers of ``model`` are held against: TensorFlow fp32, else the first fp32 that was evaluated."""
    usual = [trial for trial in plan if not trial.sweep and not trial.control]
    floats = [trial for trial in usual if (trial.model, trial.recipe) == (model, "fp32") and results.evaluation(trial.evaluation_id)]
    return next((trial for trial in floats if trial.runtime == "tensorflow"), floats[0] if floats else None)
