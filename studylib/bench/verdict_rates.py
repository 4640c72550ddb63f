"""How often a study declares a difference where there is none, and finds one that is there: simulated, real, and on its replay.

A *study* here is three twins of one trial that took turns: baseline, contender, and the A/A control of the baseline. Its latencies are
an array of shape (3, rounds, blocks), as `studylib.verdicts.compare` pairs them. It looks at the planned rounds, and where these do not
decide, at all of them (`studylib.study.further_rounds`).
"""

import contextlib
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np

from studylib import stats
from studylib.errors import TrialError
from studylib.machine.wandering import PROCESS
from studylib.params.defaults import SEED
from studylib.params.efforts import EFFORTS
from studylib.params.paths import outputs_root
from studylib.stats import Verdict
from studylib.study.opening import open_study
from studylib.verdicts import compare
from studylib.verdicts.undecided import are_equal
from studylib.wording import digits

_STUDIES = 20
_AT_ONCE = 5  # as many studies take turns together, each of three twins
# How many times the planned rounds a study has at most: what the time for further rounds allows three twins.
_FURTHER = 3
_SIMULATED = 1000
_SLOWER = (1.05, 1.1)
# What one study compares: a baseline, a contender, and the A/A control of the baseline.
_ROLES = 3
# What a noise must reach: the share of A/A studies that stay silent, and in which each slow-down is found.
_SILENT, _FOUND = 0.98, {1.05: 0.8, 1.1: 0.95}


@dataclass(frozen=True)
class Rates:
    """Shares of A/A studies: ``silent``, nothing declared; ``covered``, the interval holds 1; ``found``, by planted slow-down."""

    silent: stats.Estimate
    covered: stats.Estimate
    found: dict[float, stats.Estimate]

    def words(self, what: str, wanted: dict[float, float] | None = None) -> str:
        """``wanted``: the least share in which each slow-down must be found; None: what it must on a quiet machine."""
        wanted = _FOUND if wanted is None else wanted
        found = "; ".join(f"planted {slower - 1:.0%} found in {_share(one)}" for slower, one in self.found.items())
        short = [f"silent in less than {_SILENT:.0%}"] if self.silent.value < _SILENT else []
        short += [
            f"{slower - 1:.0%} found in less than {least:.0%}" for slower, least in wanted.items() if self.found[slower].value < least
        ]
        held = f"DOES NOT HOLD: {', '.join(short)}" if short else "holds"
        return (
            f"{what}: nothing declared in {_share(self.silent)} of {self.silent.n:,} A/A studies, whose intervals hold 1 in "
            f"{_share(self.covered)}; {found} ({held})"
        )


def run(effort: str = "smoke", studies: int = _STUDIES, write=print) -> dict[str, Rates]:
    """Simulate; then measure ``studies`` real ones on a machine as it is, and beside a busy process. Prints and returns their rates."""
    found = {f"simulated, {name}": rates(simulated(name, effort), EFFORTS[effort].repetitions) for name in NOISES}
    for what, one in found.items():
        write(one.words(what))
    for what, limit, wanted, beside in (
        ("quiet", {"smoke": 1.05}.get(effort, 1.03), _FOUND, contextlib.nullcontext),
        ("beside a busy process", 1.1, {}, busy),
    ):
        with beside():
            twins = [measured(effort, write) for _ in range(-(-studies // _AT_ONCE))]
        planned = EFFORTS[effort].repetitions
        write(f"{what}: {controls_in_words(twins, limit, planned)}")
        real = _joined([rates(_dealt(one), planned, independent=False) for one in twins])
        for name, one in (("real", real), ("replayed", rates(replayed(twins, _SIMULATED, SEED), planned))):
            found[f"{what}, {name}"] = one
            write(found[f"{what}, {name}"].words(f"{what}, {name} noise, {effort}", wanted))
    return found


def measured(effort: str, write=print) -> np.ndarray:
    """Twins of one trial that took turns, as a study of ``effort`` measures at most: shape (twins, rounds, blocks), in ns."""
    choice = {"models": ("mnist_cnn",), "runtimes": ("onnxruntime",), "recipes": ("fp32",), "batch_sizes": (1,), "sweeps": ()}
    study = replace(open_study("cpu", effort, write=write, **choice), folder=outputs_root() / ".bench" / "verdicts")
    study.evaluate(matrix=False)
    trial = study.timed[0]
    same = [replace(trial, conditions=f"{trial.conditions}-{number}") for number in range(_ROLES * _AT_ONCE)]
    planned = study.params.settings.repetitions
    study.bench.measure(same, study.results.newest_campaign() + 1)
    study.bench.further(same, range(planned, _FURTHER * planned), math.inf)
    return complete([{one.repetition: one.block_medians_ns for one in study.results.measurements(twin.id)} for twin in same])


def complete(twins: list[dict[int, dict[int, float]]]) -> np.ndarray:
    """The medians of the blocks of every twin, by round, NaN behind the last of a short one: shape (twins, rounds, blocks).

    Raises `TrialError` when too few rounds are left for a verdict.
    """
    rounds = sorted(set.intersection(*(set(twin) for twin in twins)))
    if len(rounds) < stats.MINIMUM_ROUNDS:
        raise TrialError(
            f"only {len(rounds)} rounds were measured of all {len(twins)} twins, and a verdict needs {stats.MINIMUM_ROUNDS}: something "
            "disturbed this machine. Run it again at a quieter hour."
        )
    found = np.full((len(twins), len(rounds), max(len(twin[number]) for twin in twins for number in rounds)), np.nan)
    for place, twin in enumerate(twins):
        for number, medians in enumerate(list(twin[number].values()) for number in rounds):
            found[place, number, : len(medians)] = medians
    return found


def rates(studies: np.ndarray, planned: int | None = None, independent: bool = True) -> Rates:
    """The rates over ``studies``, shape (studies, 3, rounds, blocks), of the same thing each. ``planned``: the rounds of the first look;
    None: all of them.

    Studies that share their twins are not ``independent`` of each other: their shares carry no interval.
    """
    silent = covered = 0
    found = dict.fromkeys(_SLOWER, 0)
    for baseline, contender, control in studies:
        pair, itself = _paired(baseline, contender), _paired(baseline, control)
        plain, floor = _looked_at(pair, itself, planned)
        covered += plain.verdict is Verdict.CANNOT_TELL
        silent += compare.beyond(plain, floor) is Verdict.CANNOT_TELL
        for slower in found:
            found[slower] += compare.beyond(*_looked_at((pair[0], pair[1] * slower), itself, planned)) is Verdict.SLOWER
    shares = [stats.binomial_interval(count, len(studies)) for count in (silent, covered, *found.values())]
    silent, covered, *planted = shares if independent else [replace(share, low=None, high=None) for share in shares]
    return Rates(silent, covered, dict(zip(found, planted, strict=True)))


def replayed(twins: list[np.ndarray], count: int, seed: int) -> np.ndarray:
    """``count`` studies drawn from recorded ``twins``: nothing differs by construction. Shape (count, 3, rounds, blocks).

    Each round of a study is one that was recorded, dealt out anew among baseline, contender and control, so that what hit all twins
    of a round still hits all three.
    """
    blocks = max(one.shape[2] for one in twins)
    padded = [np.pad(one, ((0, 0), (0, 0), (0, blocks - one.shape[2])), constant_values=np.nan) for one in twins]
    recorded = [one[:, number] for one in padded for number in range(one.shape[1])]
    rng, rounds = np.random.default_rng(seed), min(one.shape[1] for one in twins)
    drawn = [[recorded[number] for number in rng.integers(len(recorded), size=rounds)] for _ in range(count)]
    return np.array([np.stack([one[rng.permutation(len(one))[:_ROLES]] for one in study], axis=1) for study in drawn])


def simulated(noise: str, effort: str, seed: int = SEED) -> np.ndarray:
    """Studies of ``noise`` in every block, and of what belongs to a process; nothing differs. Shape (studies, 3, rounds, blocks)."""
    from studylib.scenarios.blocks import BLOCK_S

    rng, settings = np.random.default_rng(seed), EFFORTS[effort]
    shape = (_SIMULATED, _ROLES, _FURTHER * settings.repetitions, round(settings.min_duration_s / BLOCK_S))
    process = rng.normal(0, PROCESS / np.sqrt(2), (*shape[:3], 1))
    return 1e6 * np.exp(process + NOISES[noise](rng, shape))


# Logarithms of how much longer a block takes than it would.
NOISES: dict[str, Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]] = {
    "normal, 3 %": lambda rng, shape: rng.normal(0, 0.03, shape),
    "Student's t, 3 degrees, 3 %": lambda rng, shape: 0.03 * rng.standard_t(3, shape),
    "one in seven disturbed by 30 %": lambda rng, shape: np.where(rng.random(shape) < 1 / 7, np.log1p(rng.exponential(0.3, shape)), 0),
    "lognormal (-3, 1)": lambda rng, shape: np.log1p(rng.lognormal(-3, 1, shape)),
    "two speeds, three in ten at half": lambda rng, shape: np.where(rng.random(shape) < 0.3, np.log(2), 0) + rng.normal(0, 0.01, shape),
}


def controls_in_words(twins: list[np.ndarray], limit: float, planned: int | None = None) -> str:
    """What the A/A controls of separate studies read, and in how many of them the interval keeps ``limit``."""
    pairs = [_paired(one[place], one[place + 2]) for one in twins for place in range(0, len(one) - 2, _ROLES)]
    read = [_looked_at(pair, pair, planned)[0] for pair in pairs]
    kept = sum(1 / limit <= one.low and one.high <= limit for one in read)
    held = "holds" if kept == len(read) else "DOES NOT HOLD"
    return (
        f"the intervals of {len(read)} A/A controls lie between {digits(min(one.low for one in read))} and "
        f"{digits(max(one.high for one in read))}; {kept} of {len(read)} within [{digits(1 / limit)}, {digits(limit)}] ({held})"
    )


def _paired(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two twins, shape (rounds, blocks) each, as `compare.paired_rounds` pairs what took turns."""
    before = np.nanmedian(first, axis=-1)
    return before, before / np.nanmedian(first / second, axis=-1)


def _looked_at(pair: tuple, itself: tuple, planned: int | None) -> tuple[stats.Comparison, float | None]:
    """The comparison of a ``pair`` and the noise floor, of the planned rounds, or of all where these leave either open."""
    every = len(pair[0])
    for rounds, level in ((planned or every, stats.LEVEL), (every, stats.LATER_LEVEL)):
        plain, control = (stats.compare(*(one[:rounds] for one in compared), level=level) for compared in (pair, itself))
        floor = compare.floor_of(control)
        if compare.beyond(plain, floor) is not Verdict.CANNOT_TELL or rounds == every or (are_equal(plain) and are_equal(control)):
            break
    return plain, floor


def _dealt(twins: np.ndarray) -> np.ndarray:
    """Every three of the twins, as studies."""
    return twins[list(permutations(range(len(twins)), _ROLES))]


def _joined(found: list[Rates]) -> Rates:
    """The mean of the shares of several runs."""

    def mean(shares: list[stats.Estimate]) -> stats.Estimate:
        return replace(shares[0], value=float(np.mean([one.value for one in shares])), n=sum(one.n for one in shares))

    planted = {slower: mean([one.found[slower] for one in found]) for slower in _SLOWER}
    return Rates(mean([one.silent for one in found]), mean([one.covered for one in found]), planted)


@contextlib.contextmanager
def busy() -> Iterator[None]:
    """Another process that computes all the time."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _share(share: stats.Estimate) -> str:
    """``96.7 [95.4, 97.7] %``, or ``96.7 %`` where there is no interval."""
    interval = "" if share.low is None else f" [{100 * share.low:.1f}, {100 * share.high:.1f}]"
    return f"{100 * share.value:.1f}{interval} %"
