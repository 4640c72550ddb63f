"""How often a comparison claims a difference where there is none, and finds one that is there: on real noise, and on its replay."""

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from studylib import stats
from studylib.opening import open_study
from studylib.params import SEED, outputs_root

_TWINS = 16
_REPLAYS = 1000
_SLOWER = 1.1
_LIMIT = 0.95


@dataclass(frozen=True)
class Rates:
    """Shares of comparisons: ``silent`` where nothing differs, ``found`` where one side was made 10 % slower; each of ``n``."""

    silent: stats.Estimate
    found: stats.Estimate

    def words(self, what: str) -> str:
        told = [_share(one) for one in (self.silent, self.found)]
        held = "holds" if self.silent.value >= _LIMIT else "DOES NOT HOLD"
        return (
            f"{what}: no difference declared in {told[0]} of {self.silent.n} A/A comparisons (at least {_LIMIT:.0%}: {held}); "
            f"a planted slow-down of {_SLOWER - 1:.0%} found in {told[1]}"
        )


def run(twins: int = _TWINS, write=print) -> dict[str, Rates]:
    """Measure one trial as ``twins`` interleaved twins; print and return the rates of all their pairs, and of a replay."""
    study = open_study("cpu", "smoke", models=("mnist_cnn",), runtimes=("onnxruntime",), recipes=("fp32",), sweeps=(), write=write)
    study = replace(study, folder=outputs_root() / ".bench" / "verdicts")
    study.evaluate(matrix=False)
    trial = study.timed[0]
    same = [replace(trial, conditions=f"{trial.conditions}-{number}") for number in range(twins)]
    study.bench.measure(same, study.results.newest_campaign() + 1)
    medians = np.array([[one.median_ns for one in study.results.measurements(twin.id)] for twin in same])
    pairs = [(medians[first], medians[second]) for first, second in combinations(range(twins), 2)]
    found = {"real noise": rates(pairs, independent=False), "replayed noise": rates(replayed(pairs, _REPLAYS, SEED))}
    for what, one in found.items():
        write(one.words(what))
    return found


def rates(pairs: list[tuple[np.ndarray, np.ndarray]], independent: bool = True) -> Rates:
    """The rates over ``pairs`` of rounds (ns, one number a round) that were measured of the same thing.

    Pairs that share their twins are not ``independent`` of each other: their shares carry no interval.
    """
    silent = sum(stats.compare(first, second).verdict == "cannot tell" for first, second in pairs)
    found = sum(stats.compare(first, second * _SLOWER).verdict == "slower" for first, second in pairs)
    shares = [stats.binomial_interval(count, len(pairs)) for count in (silent, found)]
    return Rates(*(share if independent else replace(share, low=None, high=None) for share in shares))


def _share(share: stats.Estimate) -> str:
    """``96.7 [95.4, 97.7] %``, or ``96.7 %`` where there is no interval."""
    interval = "" if share.low is None else f" [{100 * share.low:.1f}, {100 * share.high:.1f}]"
    return f"{100 * share.value:.1f}{interval} %"


def replayed(pairs: list, count: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """``count`` studies whose rounds are drawn from all rounds of ``pairs``, either of both first: nothing differs by construction."""
    rng, rounds = np.random.default_rng(seed), np.array([round_ for first, second in pairs for round_ in zip(first, second, strict=True)])
    drawn = rounds[rng.integers(len(rounds), size=(count, len(pairs[0][0])))]
    turned = rng.integers(2, size=drawn.shape[:2]).astype(bool)
    drawn[turned] = drawn[turned][:, ::-1]
    return [(study[:, 0], study[:, 1]) for study in drawn]
