"""Statistics on numpy arrays. Nothing here reads a clock, a file or a setting.

Times are arrays of nanoseconds; a *group* is the array of values of one repetition (one fresh process).
Values of one process are alike, so every interval resamples whole repetitions, never single values.
Distributions come from `scipy.special`: `scipy.stats` takes a second to load, in every command.
"""

import functools
import math
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

LEVEL = 0.95
# The level of what was looked at before and measured further because it was open (docs/decisions/0044).
LATER_LEVEL = 0.98
RESAMPLES = 2000
# Student's t of fewer has tails that no ratio worth naming reaches (docs/decisions/0042).
MINIMUM_ROUNDS = 4
# From so many rounds on intervals go by ranks: one round that lies far off no longer decides how wide they are (docs/decisions/0044).
RANKED_ROUNDS = 12
# Intervals of more values than this are read off a grid of their quantiles, to keep time and memory bounded.
_GRID = 2048
# What differences of shares are off by at most, and less than any one answer of a test set weighs.
_LAST_BITS = 1e-9


class Verdict(StrEnum):
    """What a comparison says of the contender."""

    FASTER = "faster"
    SLOWER = "slower"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True)
class Estimate:
    """A value with its interval. ``low`` and ``high`` are None where the data cannot carry an interval."""

    value: float
    low: float | None
    high: float | None
    level: float
    n: int


@dataclass(frozen=True)
class Comparison:
    """``ratio`` is baseline / contender: above 1, the contender is faster. ``n`` counts paired rounds."""

    ratio: float
    low: float | None
    high: float | None
    level: float
    n: int
    verdict: Verdict

    def times(self, factor: float) -> "Comparison":
        """The same with every ratio multiplied: two queries of different size, compared by sample."""
        if self.low is None:
            return replace(self, ratio=self.ratio * factor)
        low, high = self.low * factor, self.high * factor
        return replace(self, ratio=self.ratio * factor, low=low, high=high, verdict=verdict(low, high))


def minimum_values(percentile: float, confidence: float = 0.99, discarded: int = 1) -> int:
    """Fewest values from which ``percentile`` (0 to 100) may be printed.

    The smallest n with BinomCDF(discarded; n, 1 - p) <= 1 - confidence, as in MLPerf's early stopping:
    p50 11, p90 64, p95 130, p99 662, p99.9 6636.
    """
    from scipy.special import bdtr

    if not 0 < percentile < 100:
        raise ValueError(f"percentile is {percentile}; it must lie between 0 and 100, both excluded")
    tail = 1 - percentile / 100
    low, high = discarded + 1, 2 * discarded + 2
    while bdtr(discarded, high, tail) > 1 - confidence:
        low, high = high, high * 2
    while low < high:
        middle = (low + high) // 2
        if bdtr(discarded, middle, tail) <= 1 - confidence:
            high = middle
        else:
            low = middle + 1
    return low


def pooled_percentile(
    groups: list[np.ndarray], percentile: float, *, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> Estimate | None:
    """A percentile of all groups' values together, or None where they are too few to print it.

    Each group weighs the same, however many values it has: a fast process yields more of them in the same time.
    The interval is a bootstrap over groups (whole repetitions), absent with fewer than two groups.
    """
    values = np.sort(np.concatenate(groups))
    if len(values) < minimum_values(percentile):
        return None
    grid = values if len(values) <= _GRID else values[np.linspace(0, len(values) - 1, _GRID).astype(int)]
    # below[g, k]: the share of group g's values that are at most grid[k]; a resample counts how often it drew each group.
    below = np.stack([np.searchsorted(np.sort(group), grid, side="right") / len(group) for group in groups])

    def resampled(counts: np.ndarray) -> np.ndarray:
        return grid[(counts @ below >= percentile / 100 * len(groups)).argmax(axis=1)]

    low, high = _resampled(len(groups), resampled, level, resamples, seed)
    return Estimate(weighted_percentile(groups, percentile), low, high, level, len(values))


def weighted_percentile(groups: list[np.ndarray], percentile: float) -> float:
    """A percentile of all groups' values together, each group weighing the same."""
    values, weights = np.concatenate(groups), np.concatenate([np.full(len(group), 1 / len(group)) for group in groups])
    order = np.argsort(values, kind="stable")
    target = percentile / 100 * len(groups) * (1 - 1e-12)
    return float(values[order][np.searchsorted(np.cumsum(weights[order]), target)])


def pooled_mean(groups: list[np.ndarray], *, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0) -> Estimate:
    """The mean over groups of each group's mean, with a bootstrap interval over groups."""
    means = np.array([float(np.mean(group)) for group in groups])
    low, high = _resampled(len(groups), lambda counts: counts @ means / len(groups), level, resamples, seed)
    return Estimate(float(means.mean()), low, high, level, sum(len(group) for group in groups))


def compare(baseline: np.ndarray, contender: np.ndarray, *, level: float = LEVEL) -> Comparison:
    """Ratio baseline / contender over paired rounds, with its interval and verdict, from the rounds' log ratios.

    Arguments are one number per round (a repetition's median latency, say), element i of both measured close
    in time. The ratio is the geometric mean, its interval Student's t; from `RANKED_ROUNDS` rounds on Hodges and Lehmann's estimate with
    Wilcoxon's signed ranks. With fewer than `MINIMUM_ROUNDS` there is no interval and the verdict is ``cannot tell``.
    Where nothing differs, either of a pair may be the slower one, so log ratios lie evenly around 0 whatever the noise: there
    Student's interval errs towards ``cannot tell`` (docs/decisions/0020), and that of ranks is exact.
    """
    baseline, contender = np.asarray(baseline, float), np.asarray(contender, float)
    if baseline.shape != contender.shape or baseline.ndim != 1 or not len(baseline):
        raise ValueError(f"rounds must be paired: got {baseline.shape} and {contender.shape}; give one number per round to each")
    if np.any(baseline <= 0) or np.any(contender <= 0):
        raise ValueError("a round is zero or negative; times must be positive")
    logs = np.log(baseline / contender)
    found = combined_means([logs], [1.0], level=level) if len(logs) < RANKED_ROUNDS else centre(logs, level=level)
    ratio = math.exp(found.value)
    if found.low is None:
        return Comparison(ratio, None, None, level, found.n, Verdict.CANNOT_TELL)
    low, high = math.exp(found.low), math.exp(found.high)
    return Comparison(ratio, low, high, level, found.n, verdict(low, high))


def centre(values: np.ndarray, *, level: float = LEVEL) -> Estimate:
    """The centre of what lies evenly around it: Hodges and Lehmann's estimate, the median of the means of all pairs, each value with
    itself too, and the exact interval of Wilcoxon's signed-rank test. Raises ``ValueError`` for fewer values than carry one.

    Source: Hollander, Wolfe and Chicken, "Nonparametric Statistical Methods" (2014), 3.2 and 3.3.
    """
    values = np.sort(np.asarray(values, float))
    means = np.sort(((values[:, None] + values) / 2)[np.triu_indices(len(values))])
    # How many of the means lie beyond either end: the most that the smaller sum of signed ranks stays below often enough.
    outside = int(np.searchsorted(np.cumsum(_signed_ranks(len(values))), (1 - level) / 2, side="right"))
    if not outside:
        raise ValueError(f"{len(values)} values carry no interval of signed ranks at level {level}")
    return Estimate(float(np.median(means)), float(means[outside - 1]), float(means[-outside]), level, len(values))


@functools.lru_cache
def _signed_ranks(n: int) -> np.ndarray:
    """The chance of each sum, 0 to n (n + 1) / 2, of those of the ranks 1 to n whose sign is positive, where all signs are even."""
    chances = np.ones(1)
    for rank in range(1, n + 1):
        chances = (np.pad(chances, (0, rank)) + np.pad(chances, (rank, 0))) / 2
    return chances


def combined_means(groups: list[np.ndarray], weights: list[float], *, level: float = LEVEL) -> Estimate:
    """The weighted sum of the means of independent groups (arrays of one number a round); ``n`` counts all rounds.

    The interval is Student's t, of several groups with Welch and Satterthwaite's degrees of freedom. Absent when a group has fewer
    than `MINIMUM_ROUNDS`.
    """
    groups, weights = [np.asarray(group, float) for group in groups], np.asarray(weights, float)
    if not groups or len(groups) != len(weights) or not all(group.ndim == 1 and len(group) for group in groups):
        raise ValueError(f"{len(groups)} groups and {len(weights)} weights; give one weight to each group, and each at least one number")
    value, n = float(sum(weight * group.mean() for weight, group in zip(weights, groups, strict=True))), sum(map(len, groups))
    if min(map(len, groups)) < MINIMUM_ROUNDS:
        return Estimate(value, None, None, level, n)
    variances = np.array([weight**2 * group.var(ddof=1) / len(group) for weight, group in zip(weights, groups, strict=True)])
    if not variances.any():
        return Estimate(value, value, value, level, n)
    from scipy.special import stdtrit

    free = np.array([len(group) - 1 for group in groups])
    half = float(stdtrit(variances.sum() ** 2 / (variances**2 / free).sum(), (1 + level) / 2) * math.sqrt(variances.sum()))
    return Estimate(value, value - half, value + half, level, n)


def verdict(low: float, high: float) -> Verdict:
    """``faster`` or ``slower`` when the interval of a speed-up lies wholly on one side of 1."""
    if low > 1:
        return Verdict.FASTER
    return Verdict.SLOWER if high < 1 else Verdict.CANNOT_TELL


@functools.lru_cache
def binomial_interval(successes: int, n: int, level: float = LEVEL) -> Estimate:
    """A proportion with its exact (Clopper-Pearson) interval."""
    from scipy.special import betaincinv

    low = betaincinv(successes, n - successes + 1, (1 - level) / 2) if successes else 0.0
    high = betaincinv(successes + 1, n - successes, (1 + level) / 2) if successes < n else 1.0
    return Estimate(successes / n, float(low), float(high), level, n)


@dataclass(frozen=True)
class PairedDifference:
    """Change of accuracy from reference to contender on the same samples, and McNemar's exact p value."""

    estimate: Estimate
    lost: int
    gained: int
    p_value: float


def paired_accuracy(reference: np.ndarray, contender: np.ndarray, level: float = LEVEL) -> PairedDifference:
    """Compare two boolean arrays (was this sample right?) of the same samples in the same order.

    Test: exact McNemar on the discordant pairs. Interval: Bonett and Price (2012), which stays honest
    when few pairs disagree.
    """
    from scipy.special import bdtr, ndtri

    reference, contender = np.asarray(reference, bool), np.asarray(contender, bool)
    if reference.shape != contender.shape or not reference.size:
        raise ValueError(f"samples must be paired: got {reference.shape} and {contender.shape}")
    n = reference.size
    lost, gained = int(np.sum(reference & ~contender)), int(np.sum(~reference & contender))
    p_value = min(1.0, 2 * bdtr(min(lost, gained), lost + gained, 0.5))
    down, up = (lost + 1) / (n + 2), (gained + 1) / (n + 2)
    half = ndtri((1 + level) / 2) * math.sqrt((down + up - (up - down) ** 2) / (n + 2))
    estimate = Estimate((gained - lost) / n, up - down - half, up - down + half, level, n)
    return PairedDifference(estimate, lost, gained, float(p_value))


def fewest_pairs(most: float, level: float = LEVEL) -> int:
    """Fewest samples of which none lost leaves the interval of `paired_accuracy` within ``most``; 276 for one point."""
    from scipy.special import ndtri

    return math.ceil(ndtri((1 + level) / 2) * math.sqrt(2) / most) - 2


def fewest_agreeing(most: float, level: float = LEVEL) -> int:
    """Fewest samples of which all agree leave the interval of `binomial_interval` within ``most``; 368 for one point."""
    return math.ceil(math.log((1 - level) / 2) / math.log1p(-most)) if most < 1 else 1


def sqnr_db(reference: np.ndarray, outputs: np.ndarray) -> float:
    """Signal to quantization noise ratio in dB, infinite for equal arrays.

    Where both are the same infinity (masked scores), they are equal; where only one is, minus infinity.
    """
    reference, outputs = np.asarray(reference, float), np.asarray(outputs, float)
    with np.errstate(invalid="ignore"):
        noise = float(np.sum(np.where(reference == outputs, 0.0, reference - outputs) ** 2))
    signal = float(np.sum(reference[np.isfinite(reference)] ** 2))
    if noise == 0:
        return math.inf
    ratio = signal / noise  # zero where the noise is infinite, too
    return 10 * math.log10(ratio) if ratio else -math.inf


def _resampled(groups: int, statistic, level: float, resamples: int, seed: int) -> tuple[float | None, float | None]:
    """Bootstrap percentile interval, widened for few groups (Hesterberg 2015, expanded percentiles).

    ``statistic`` takes how often each group was drawn, one row a resample, and gives one value a row.
    """
    if groups < 2:
        return None, None
    from scipy.special import ndtr, stdtrit

    counts = np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), size=resamples)
    replicas = statistic(counts)
    tail = ndtr(math.sqrt(groups / (groups - 1)) * stdtrit(groups - 1, (1 - level) / 2))
    low, high = np.quantile(replicas, [tail, 1 - tail])
    return float(low), float(high)


def at_most(share: float, most: float) -> bool:
    """Whether a counted share stays within a limit. Differences of shares are not exact: 1 - 0.99 is a little more than 0.01."""
    return share <= most + _LAST_BITS
