"""How often a study declares a difference where there is none, and finds one that is there: on real noise, and on its replay."""

from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np

from studylib import stats
from studylib.errors import TrialError
from studylib.params import SEED, outputs_root
from studylib.stats import Verdict
from studylib.study.opening import open_study
from studylib.verdicts import compare

_TWINS = 16
_REPLAYS = 1000
_SLOWER = 1.1
_LIMIT = 0.95
# What one study compares: a baseline, a contender, and the A/A control of the baseline.
_ROLES = 3


@dataclass(frozen=True)
class Rates:
    """Shares of A/A studies, each of ``n``: ``silent``, nothing declared; ``by_interval``, what the interval alone would be silent in;
    ``found``, one side made 10 % slower and that declared."""

    silent: stats.Estimate
    by_interval: stats.Estimate
    found: stats.Estimate

    def words(self, what: str) -> str:
        silent, by_interval, found = (_share(one) for one in (self.silent, self.by_interval, self.found))
        held = "holds" if self.silent.value >= _LIMIT else "DOES NOT HOLD"
        return (
            f"{what}: no difference declared in {silent} of {self.silent.n:,} A/A studies (at least {_LIMIT:.0%}: {held}; by the interval "
            f"alone, without the noise floor of the A/A control: {by_interval}); a planted slow-down of {_SLOWER - 1:.0%} found in {found}"
        )


def run(twins: int = _TWINS, write=print) -> dict[str, Rates]:
    """Measure one trial as ``twins`` interleaved twins; print and return the rates of every three of them, and of a replay."""
    study = open_study("cpu", "smoke", models=("mnist_cnn",), runtimes=("onnxruntime",), recipes=("fp32",), sweeps=(), write=write)
    study = replace(study, folder=outputs_root() / ".bench" / "verdicts")
    study.evaluate(matrix=False)
    trial = study.timed[0]
    same = [replace(trial, conditions=f"{trial.conditions}-{number}") for number in range(twins)]
    study.bench.measure(same, study.results.newest_campaign() + 1)
    medians = complete([{one.repetition: one.median_ns for one in study.results.measurements(twin.id)} for twin in same])
    every = medians[list(permutations(range(twins), _ROLES))]
    found = {"real noise": rates(every, independent=False), "replayed noise": rates(replayed(medians, _REPLAYS, SEED))}
    for what, one in found.items():
        write(one.words(what))
    return found


def complete(twins: list[dict[int, float]]) -> np.ndarray:
    """The medians of the rounds that every twin has, shape (twins, rounds). Raises `TrialError` when too few are left for a verdict."""
    rounds = sorted(set.intersection(*(set(twin) for twin in twins)))
    if len(rounds) < stats.MINIMUM_ROUNDS:
        raise TrialError(
            f"only {len(rounds)} rounds were measured of all {len(twins)} twins, and a verdict needs {stats.MINIMUM_ROUNDS}: something "
            "disturbed this machine. Run it again at a quieter hour."
        )
    return np.array([[twin[number] for number in rounds] for twin in twins])


def rates(studies: np.ndarray, independent: bool = True) -> Rates:
    """The rates over ``studies``: shape (studies, 3, rounds), medians in ns of baseline, contender and control of the same thing.

    Studies that share their twins are not ``independent`` of each other: their shares carry no interval.
    """
    silent = by_interval = found = 0
    for baseline, contender, control in studies:
        floor, plain = compare.floor_of(stats.compare(baseline, control)), stats.compare(baseline, contender)
        by_interval += plain.verdict is Verdict.CANNOT_TELL
        silent += compare.beyond(plain, floor) is Verdict.CANNOT_TELL
        found += compare.beyond(stats.compare(baseline, contender * _SLOWER), floor) is Verdict.SLOWER
    shares = [stats.binomial_interval(count, len(studies)) for count in (silent, by_interval, found)]
    return Rates(*(share if independent else replace(share, low=None, high=None) for share in shares))


def replayed(medians: np.ndarray, count: int, seed: int) -> np.ndarray:
    """``count`` studies drawn from the recorded ``medians`` (twins, rounds): nothing differs by construction.

    Each round of a study is one that was recorded, dealt out anew among baseline, contender and control, so that what hit all twins
    of a round still hits all three. Shape (count, 3, rounds).
    """
    rng, (twins, rounds) = np.random.default_rng(seed), medians.shape
    drawn = rng.integers(rounds, size=(count, rounds))
    dealt = rng.permuted(np.broadcast_to(np.arange(twins), (count, rounds, twins)), axis=2)[..., :_ROLES]
    return np.moveaxis(medians[dealt, drawn[..., None]], 2, 1)


def _share(share: stats.Estimate) -> str:
    """``96.7 [95.4, 97.7] %``, or ``96.7 %`` where there is no interval."""
    interval = "" if share.low is None else f" [{100 * share.low:.1f}, {100 * share.high:.1f}]"
    return f"{100 * share.value:.1f}{interval} %"
