"""Who wins on this machine: for each model the fastest within the accuracy budget, against TensorFlow fp32, and how sure that is."""

import math
from dataclasses import dataclass, field, replace

import numpy as np

from studylib import stats, wording
from studylib.errors import Kind, Reason
from studylib.results.records import Trial
from studylib.verdicts import compare
from studylib.verdicts.contenders import at_smallest_batch, baseline, contenders, models, sample_ns, unjudged, why_none
from studylib.verdicts.decisions import decide
from studylib.verdicts.findings import Findings, once
from studylib.verdicts.losses import lost
from studylib.verdicts.variants import Variant

LATENCY, THROUGHPUT = "latency", "throughput"
# Choosing by three quarters of the rounds; docs/decisions/0018 says what two or as many as rounds would do.
_FOLDS = 4


@dataclass(frozen=True)
class Winner:
    """The fastest of one model for one goal: ``latency`` (one ``batch_size``) or ``throughput`` (any batch, time for one sample).

    ``baseline``: TensorFlow fp32 (at its own fastest batch for throughput), otherwise the first fp32; None where none was timed.
    ``ties`` are not distinguishable from the winner; ``apart`` were never measured in one round with it; ``over_budget`` are faster and
    do not keep the budget, by the unfavourable end of the paired interval (`studylib.verdicts.losses`). Without a winner, as in every
    rehearsal, ``reason`` says why.
    """

    model: str
    goal: str
    batch_size: int | None = None
    variant: Variant | None = None
    baseline: Trial | None = None
    ties: tuple[Variant, ...] = ()
    apart: tuple[Variant, ...] = ()
    over_budget: tuple[Variant, ...] = ()
    reason: Reason | None = None

    @property
    def against(self) -> compare.SpeedUp | None:
        """The winner against the baseline; None where it is the baseline, or there is none."""
        if self.variant is None or self.baseline is None or self.baseline.id == self.variant.trial.id:
            return None
        return self.variant.findings.against(self.baseline, self.variant.trial)

    @property
    def words(self) -> str:
        """``3.10x [2.95, 3.21], faster``."""
        if self.variant is None:
            return ""
        if self.baseline is None:
            return "no fp32 was timed beside it"
        return "the baseline itself" if self.against is None else self.against.words


@dataclass(frozen=True)
class OverModels:
    """The geometric mean of the winners' speed-ups: ``estimate`` with n rounds, each model's ``baselines``, who is ``left_out`` and why."""

    estimate: stats.Estimate
    baselines: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.words

    @property
    def reading(self) -> str:
        """``2.97x [2.81, 3.14]``."""
        if self.estimate.low is None:
            return f"{wording.digits(self.estimate.value)}x (no interval: fewer than {stats.MINIMUM_ROUNDS} rounds)"
        return f"{wording.digits(self.estimate.value)}x [{wording.digits(self.estimate.low)}, {wording.digits(self.estimate.high)}]"

    @property
    def named(self) -> str:
        """Which models over which baselines."""
        of = dict.fromkeys(self.baselines.values())
        return "; ".join(f"{', '.join(model for model in self.baselines if self.baselines[model] == label)} over {label}" for label in of)

    @property
    def words(self) -> str:
        without = "".join(f"; {model} is left out: {reason}" for model, reason in self.left_out.items())
        count = f"{len(self.baselines)} model{'s' * (len(self.baselines) > 1)}"
        return f"{self.reading}, geometric mean over {count}, n {self.estimate.n} rounds ({self.named}){without}"


@once
def winners(findings: Findings, max_accuracy_loss: float | None = None) -> list[Winner]:
    """For each model the winner at its smallest batch, at each larger one, and for throughput; or why there is none.

    ``max_accuracy_loss``: a share; None means the study's own budget.
    """
    most = findings.budget if max_accuracy_loss is None else max_accuracy_loss
    timed = contenders(findings)
    ours = {model: [variant for variant in timed if variant.trial.model == model] for model in models(findings)}
    return [one for model, found in ours.items() for one in _winners(model, found, most, findings)]


@once
def smallest_batch(findings: Findings, max_accuracy_loss: float | None = None) -> list[Winner]:
    """Of each model the winner where one sample is asked at a time, or the smallest batch that was measured."""
    first = {}
    for one in winners(findings, max_accuracy_loss):
        if one.goal == LATENCY:
            first.setdefault(one.model, one)
    return list(first.values())


@once
def geometric_mean(findings: Findings, goal: str = LATENCY, max_accuracy_loss: float | None = None) -> OverModels | None:
    """The geometric mean over models of winner against baseline; None where no model has both, timed together. For latency at the
    smallest batch of each.

    Each model's ratio is the geometric mean over its paired rounds, as in every comparison here, and every model weighs the same. The
    interval is Student's t over the interleaved rounds (Welch and Satterthwaite's degrees of freedom): models are different trials and
    share no round's noise. It holds for these models, not for models in general.

    The fastest of several equals looks faster than it is. So a round's ratio is that of the winner which the rounds of the other three
    folds choose among it and its ties: where the winner is clear that changes nothing; among equals it takes the flattery out. In
    simulation (docs/decisions/0018) 95 % intervals covered the truth in 90 to 95 % of studies, plain ones in 70 to 95 %.
    """
    logs, baselines, left_out = [], {}, {}
    chosen = smallest_batch(findings, max_accuracy_loss)
    for one in chosen if goal == LATENCY else [one for one in winners(findings, max_accuracy_loss) if one.goal == goal]:
        found = _logs(one) if one.variant and one.baseline else np.array([])
        if not len(found):
            apart = "winner and baseline were measured apart" if one.variant and one.baseline else one.reason or "no fp32 was timed"
            left_out[one.model] = str(apart)
            continue
        logs.append(found)
        baselines[one.model] = one.baseline.label
    if not logs:
        return None
    mean = stats.combined_means(logs, [1 / len(logs)] * len(logs))
    value, low, high = (None if bound is None else math.exp(bound) for bound in (mean.value, mean.low, mean.high))
    return OverModels(stats.Estimate(value, low, high, mean.level, mean.n), baselines, left_out)


def _winners(model: str, timed: list[Variant], most: float, findings: Findings) -> list[Winner]:
    if not timed:
        return [Winner(model, goal, reason=why_none(findings, model)) for goal in (LATENCY, THROUGHPUT)]
    sizes = sorted({variant.trial.batch_size for variant in timed if not variant.trial.sweep})
    sizes = sizes or [at_smallest_batch(timed)[0].trial.batch_size]
    at_size = [[variant for variant in timed if variant.trial.batch_size == size] for size in sizes]
    latency = [_winner(Winner(model, LATENCY, size), rivals, most, findings) for size, rivals in zip(sizes, at_size, strict=True)]
    return [*latency, _winner(Winner(model, THROUGHPUT), timed, most, findings)]


def keeping(rivals: list[Variant], most: float) -> list[Variant]:
    """Those that keep the budget; where none does, the float versions that could not be judged."""
    return [variant for variant in rivals if lost(variant).within(most)] or unjudged(rivals)


def _winner(asked: Winner, rivals: list[Variant], most: float, findings: Findings) -> Winner:
    """Who wins among ``rivals`` what is ``asked``."""
    kept = keeping(rivals, most)
    if not kept:
        closest = min(rivals, key=sample_ns)
        words = f"nothing within the budget; the fastest, {closest.trial.label}: {lost(closest).text}"
        return replace(asked, reason=Reason(Kind.OVER_LIMIT, words))
    found = decide(kept, rivals, findings)
    if found.best is None:
        return replace(asked, reason=found.reason)
    apart = tuple(tie for tie in found.ties if not findings.against(tie.trial, found.best.trial).comparable)
    over = sorted((v for v in rivals if v not in kept and sample_ns(v) < sample_ns(found.best)), key=sample_ns)
    start = baseline(rivals)
    ties = tuple(tie for tie in found.ties if tie not in apart)
    return replace(asked, variant=found.best, baseline=start and start.trial, ties=ties, apart=apart, over_budget=tuple(over))


def _logs(one: Winner) -> np.ndarray:
    """The logarithm of each round's speed-up over the baseline, the winner chosen among it and its ties by other rounds."""
    rounds = {}
    for variant in (one.variant, *one.ties):
        before, after = compare.paired_rounds(one.baseline, variant.trial, variant.results)
        rounds[variant.trial.id] = np.log(before / after * (variant.trial.batch_size / one.baseline.batch_size))
    first = rounds[one.variant.trial.id]
    # Rounds that not all of them share cannot choose between them.
    return chosen_by_the_others(np.stack([logs for logs in rounds.values() if len(logs) == len(first)]))


def chosen_by_the_others(rivals: np.ndarray) -> np.ndarray:
    """From each round the number of the rival that the rounds of the other folds choose. Shape (rivals, rounds) to (rounds,)."""
    chosen, fold = rivals[0].copy(), np.arange(rivals.shape[1]) % _FOLDS
    for number in range(_FOLDS if min(rivals.shape) > 1 else 0):
        best = rivals[:, fold != number].sum(axis=1).argmax()
        chosen[fold == number] = rivals[best, fold == number]
    return chosen
