"""Who wins on this machine: for each model the fastest within the accuracy budget, against TensorFlow fp32, and how sure that is."""

import math
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from studylib import stats, wording
from studylib.results import standing
from studylib.results.records import Trial
from studylib.results.results import Results
from studylib.verdicts import compare
from studylib.verdicts.compression import speed_text
from studylib.verdicts.contenders import at_smallest_batch, baseline, contenders, for_one_sample, models, sample_ns, unjudged, why_none
from studylib.verdicts.decisions import decide
from studylib.verdicts.losses import budget_of, lost
from studylib.verdicts.variants import Variant
from studylib.wording import some, without_empty

GOALS = ("latency", "throughput")
# Choosing by three quarters of the rounds; docs/decisions/0018 says what two or as many as rounds would do.
_FOLDS = 4
_COLUMNS = (
    "model", "target", "for", "winner", "p50_ms", "samples_per_s", "over the baseline", "rounds", "baseline", "lost",
    "not distinguishable from it", "faster, but over the budget", "LoadGen",
)  # fmt: skip


@dataclass(frozen=True)
class Winner:
    """The fastest of one model for one goal: ``latency`` (smallest batch) or ``throughput`` (any batch, time for one sample).

    ``baseline``: TensorFlow fp32 (at its own fastest batch for throughput), otherwise the first fp32; None where none was timed.
    ``ties`` are not distinguishable from the winner; ``over_budget`` are faster and do not keep the budget, by the unfavourable end of
    the paired interval (`studylib.verdicts.losses`). Without a winner, as in every rehearsal, ``reason`` says why.
    """

    model: str
    goal: str
    variant: Variant | None = None
    baseline: Trial | None = None
    ties: tuple[Variant, ...] = ()
    over_budget: tuple[Variant, ...] = ()
    reason: str = ""

    @property
    def against(self) -> compare.SpeedUp | None:
        """The winner against the baseline; None where it is the baseline, or there is none."""
        if self.variant is None or self.baseline is None or self.baseline.id == self.variant.trial.id:
            return None
        return for_one_sample(self.baseline, self.variant.trial, self.variant.results)

    @property
    def words(self) -> str:
        """``3.10x [2.95, 3.21], faster``."""
        if self.variant is None:
            return ""
        if self.baseline is None:
            return "no fp32 was timed beside it"
        return "the baseline itself" if self.against is None else speed_text(self.against, self.variant.results)


@dataclass(frozen=True)
class OverModels:
    """The geometric mean of the winners' speed-ups: ``estimate`` with n rounds, each model's ``baselines``, who is ``left_out`` and why."""

    estimate: stats.Estimate
    baselines: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.words

    @property
    def words(self) -> str:
        of = dict.fromkeys(self.baselines.values())
        named = [f"{', '.join(model for model in self.baselines if self.baselines[model] == label)} over {label}" for label in of]
        reading = f"{wording.digits(self.estimate.value)}x (no interval: fewer than {stats.MINIMUM_ROUNDS} rounds)"
        if self.estimate.low is not None:
            reading = f"{wording.digits(self.estimate.value)}x [{wording.digits(self.estimate.low)}, {wording.digits(self.estimate.high)}]"
        without = "".join(f"; {model} is left out: {reason}" for model, reason in self.left_out.items())
        count = f"{len(self.baselines)} model{'s' * (len(self.baselines) > 1)}"
        return f"{reading}, geometric mean over {count}, n {self.estimate.n} rounds ({'; '.join(named)}){without}"


def winners(results: Results, max_accuracy_loss: float | None = None) -> list[Winner]:
    """For each model and goal the winner, or why there is none. ``max_accuracy_loss``: a share; None means the study's own budget."""
    most = budget_of(results) if max_accuracy_loss is None else max_accuracy_loss
    timed = contenders(results)
    ours = {model: [variant for variant in timed if variant.trial.model == model] for model in models(results)}
    return [_winner(model, goal, found, most, results) for model, found in ours.items() for goal in GOALS]


def table(results: Results, max_accuracy_loss: float | None = None) -> pd.DataFrame:
    """A row for each model and goal: the winner with ratio, interval and verdict, its ties, and what was too lossy."""
    run = results.run()
    target = f"{run['hardware']} ({'native' if run['native'] else 'REHEARSAL'})"
    rows = [_row(one, target, results) for one in winners(results, max_accuracy_loss)]
    return without_empty(pd.DataFrame(rows, columns=_COLUMNS))


def geometric_mean(results: Results, goal: str = "latency", max_accuracy_loss: float | None = None) -> OverModels | None:
    """The geometric mean over models of winner against baseline; None where no model has both, timed together.

    Each model's ratio is the geometric mean over its paired rounds, as in every comparison here, and every model weighs the same. The
    interval is Student's t over the interleaved rounds (Welch and Satterthwaite's degrees of freedom): models are different trials and
    share no round's noise. It holds for these models, not for models in general.

    The fastest of several equals looks faster than it is. So a round's ratio is that of the winner which the rounds of the other three
    folds choose among it and its ties: where the winner is clear that changes nothing; among equals it takes the flattery out. In
    simulation (docs/decisions/0018) 95 % intervals covered the truth in 90 to 95 % of studies, plain ones in 70 to 95 %.
    """
    logs, baselines, left_out = [], {}, {}
    for one in winners(results, max_accuracy_loss):
        if one.goal != goal:
            continue
        found = _logs(one) if one.variant and one.baseline else np.array([])
        if not len(found):
            apart = "winner and baseline were measured apart" if one.variant and one.baseline else one.reason or "no fp32 was timed"
            left_out[one.model] = apart
            continue
        logs.append(found)
        baselines[one.model] = one.baseline.label
    if not logs:
        return None
    mean = stats.combined_means(logs, [1 / len(logs)] * len(logs))
    value, low, high = (None if bound is None else math.exp(bound) for bound in (mean.value, mean.low, mean.high))
    return OverModels(stats.Estimate(value, low, high, mean.level, mean.n), baselines, left_out)


def _winner(model: str, goal: str, timed: list[Variant], most: float, results: Results) -> Winner:
    if not timed:
        return Winner(model, goal, reason=why_none(results, model))
    rivals = at_smallest_batch(timed) if goal == "latency" else timed
    kept = [variant for variant in rivals if lost(variant).within(most)] or unjudged(rivals)
    if not kept:
        closest = min(rivals, key=sample_ns)
        return Winner(model, goal, reason=f"nothing within the budget; the fastest, {closest.trial.label}: {lost(closest).text}")
    found = decide(kept, rivals, results)
    if found.best is None:
        return Winner(model, goal, reason=found.reason)
    over = sorted((v for v in rivals if v not in kept and sample_ns(v) < sample_ns(found.best)), key=sample_ns)
    start = baseline(rivals)
    return Winner(model, goal, found.best, start and start.trial, found.ties, tuple(over))


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


def _row(one: Winner, target: str, results: Results) -> dict:
    shared = {"model": one.model, "target": target, "for": one.goal}
    if one.variant is None:
        return dict.fromkeys(_COLUMNS, "") | shared | {"winner": f"none: {one.reason}"}
    trial, table = one.variant.trial, results.table()
    values = table[table.trial_id == trial.id].set_index("metric")
    return shared | {
        "winner": trial.label,
        "p50_ms": wording.typical_ms(values),
        "samples_per_s": wording.interval(values, "throughput", 1),
        "over the baseline": one.words,
        "rounds": one.against.comparison.n if one.against else len(results.measurements(trial.id)),
        "baseline": one.baseline.label if one.baseline else "",
        "lost": lost(one.variant).words,
        "not distinguishable from it": some([variant.trial.label for variant in one.ties]),
        "faster, but over the budget": some([f"{v.trial.label} ({lost(v).text})" for v in one.over_budget]),
        "LoadGen": standing.loadgen(results, trial, *([one.baseline] if one.baseline else [])),
    }
