"""What a mixed model may lose, and what one has lost on held-back samples."""

import math
from dataclasses import dataclass

import numpy as np

from studylib.adaptive.layers import Run, check_samples
from studylib.errors import InputError, RefusedError
from studylib.models.zoo import Samples
from studylib.params.defaults import RANDOM_SQNR_DB
from studylib.quality import metrics
from studylib.quality.answers import stacked
from studylib.results.sure import counted
from studylib.stats import at_most

_RESAMPLES = 1000
# Held-back samples are few, and the best of many candidates was lucky on them: chance that a loss over the budget looks as small as it.
_CHANCE = 0.05


@dataclass(frozen=True)
class Budget:
    """The largest loss of accuracy (0.01 is one point) and the least SQNR in dB; None does not apply, both given both hold.

    With labels the loss is of accuracy; for scores without labels it is the share of answers that are no longer the
    source model's; for other outputs it has no meaning and 20 dB of SQNR stand for it.
    """

    max_accuracy_loss: float | None = 0.01
    min_sqnr_db: float | None = None


@dataclass(frozen=True)
class Judgement:
    """``sqnr_db`` with the low end of its 95 % interval, and ``loss`` (a share, 0.01 is one point) of ``answers``.

    ``lost`` counts answers that were right, or were the source model's, and are not any more; ``loss`` is None without scores.
    """

    sqnr_db: float
    sqnr_low_db: float
    loss: float | None
    lost: int
    answers: int


@dataclass(frozen=True)
class DefiniteBudget:
    """A budget made definite for one model. ``measure``: accuracy, agreement or none of them."""

    measure: str | None
    loss: float | None
    sqnr_db: float | None

    def holds(self, found: Judgement) -> bool:
        """Whether the budget holds as measured."""
        return self._loss_holds(found.loss) and (self.sqnr_db is None or found.sqnr_db >= self.sqnr_db)

    def holds_safely(self, found: Judgement) -> bool:
        """Whether it holds with the margin: so few lost, gains not set against them; the low end of the SQNR's interval."""
        if self.loss is not None and found.lost > self.most_lost(found.answers):
            return False
        return self._loss_holds(found.loss) and (self.sqnr_db is None or found.sqnr_low_db >= self.sqnr_db)

    def is_lost(self, found: Judgement, share: float) -> bool:
        """Whether the answers of a ``share`` of the samples are enough to know that the budget does not hold safely."""
        return self.loss is not None and found.lost > self.most_lost(round(found.answers / share))

    def most_lost(self, answers: int) -> int:
        """How many of ``answers`` may be lost so that one candidate's true loss keeps the budget with 95 % confidence.

        Answers count as independent. None where even that does not carry the confidence: fewer than 299 for one point.
        """
        from scipy.special import bdtr

        return int(max(0, np.searchsorted(bdtr(np.arange(answers + 1), answers, self.loss), _CHANCE, side="right") - 1))

    def _loss_holds(self, loss: float | None) -> bool:
        return self.loss is None or (loss is not None and at_most(loss, self.loss))

    def words(self, answers: int) -> str:
        parts = []
        if self.loss is not None:
            few = " (too few answers to be sure of the budget)" if (1 - self.loss) ** answers > _CHANCE else ""
            most = f"at most {self.most_lost(answers)} of {answers} held-back answers lost{few}"
            parts.append(f"at most {100 * self.loss:g} points of {self.measure}, as a margin {most}")
        if self.sqnr_db is not None:
            parts.append(f"at least {self.sqnr_db:g} dB SQNR, also at the low end of its 95 % interval over held-back samples")
        return "; ".join(parts)


def limit(budget: Budget, labels: np.ndarray | None, task: str) -> DefiniteBudget:
    """Which part of ``budget`` applies. Raises `InputError` when it allows anything."""
    if budget.max_accuracy_loss is None and budget.min_sqnr_db is None:
        raise InputError("The budget allows any loss; give max_accuracy_loss (0.01 is one point), min_sqnr_db, or both.")
    measure = None
    if budget.max_accuracy_loss is not None and task in metrics.SCORED_TASKS:
        measure = "accuracy" if labels is not None and task == "classification" else "agreement"
    if measure is None:
        return DefiniteBudget(None, None, RANDOM_SQNR_DB if budget.min_sqnr_db is None else budget.min_sqnr_db)
    return DefiniteBudget(measure, budget.max_accuracy_loss, budget.min_sqnr_db)


@dataclass(frozen=True)
class Judge:
    """Runs held-back samples and compares with the source model's outputs, arrays (n, …) as `studylib.build.sources.answer` gives."""

    samples: Samples
    reference: dict[str, np.ndarray]
    task: str
    seed: int = 0

    def __post_init__(self):
        check_samples(self.samples, "held-back")
        for name, values in self.reference.items():
            if len(values) != len(self.samples):
                raise InputError(
                    f"The reference '{name}' has {len(values)} answers for {len(self.samples)} held-back samples; give one each."
                )

    def first(self, n: int) -> "Judge":
        """The same with the first ``n`` samples only."""
        return Judge(
            self.samples.taken(range(min(n, len(self.samples)))),
            {name: values[:n] for name, values in self.reference.items()},
            self.task,
            self.seed,
        )

    def __call__(self, run: Run) -> Judgement:
        outputs = stacked(run, self.samples)
        found = metrics.metrics(outputs, self.reference, self.samples.labels, self.task)
        low = min(self._low(mine, wanted) for _, mine, wanted in metrics.matched(outputs, self.reference))
        if "correct" in found:
            before = np.asarray(metrics.metrics(self.reference, self.reference, self.samples.labels, self.task)["correct"])
            now = np.asarray(found["correct"])
            return Judgement(found["sqnr"], low, float(before.mean() - now.mean()), int((before & ~now).sum()), len(now))
        if "agreeing" in found:
            agreeing = np.asarray(counted(found))
            return Judgement(found["sqnr"], low, float(1 - agreeing.mean()), int((~agreeing).sum()), len(agreeing))
        return Judgement(found["sqnr"], low, None, 0, 0)

    def _low(self, outputs: np.ndarray, reference: np.ndarray) -> float:
        """The low end of the SQNR's 95 % interval: samples drawn again and again (bootstrap), dB."""
        if not np.isfinite(outputs).all():
            return -math.inf
        noise = ((outputs - reference) ** 2).reshape(len(reference), -1).sum(1)
        signal = (reference**2).reshape(len(reference), -1).sum(1)
        if not noise.any():
            return math.inf
        if not signal.any():
            return -math.inf
        counts = np.random.default_rng(self.seed).multinomial(len(noise), np.full(len(noise), 1 / len(noise)), size=_RESAMPLES)
        with np.errstate(divide="ignore"):
            return float(np.quantile(10 * np.log10(counts @ signal / np.maximum(counts @ noise, 1e-300)), 0.025))


def check_apart(calibration: Samples, held_back: Samples) -> None:
    """Raise `RefusedError` when a held-back sample is a calibration sample: a loss measured on it would look too small."""
    seen = {calibration.content(index) for index in range(len(calibration))}
    same = [index for index in range(len(held_back)) if held_back.content(index) in seen]
    if same:
        raise RefusedError(
            f"{len(same)} of {len(held_back)} held-back samples are calibration samples as well (first: number {same[0]}); "
            "the loss must be measured on others, give samples that calibration has not seen"
        )
