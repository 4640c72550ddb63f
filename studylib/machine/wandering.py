"""Whether the speed of this machine wanders, as it does where others compute on the same cores: how much, and how fast."""

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# One piece of work takes some 0.2 ms, so that a second holds thousands and each block of a study some twenty.
_WORK = bytes(2**18)
_LOOK_S = 1.0
# Slower by this much in the slow tenth than in the fast one: less is the machine's usual unrest.
_WANDERS = 1.2
# Standard deviation of the log ratio of two processes of the same file that has nothing to do with time: placement, layout (measured,
# docs/decisions/0042).
PROCESS = 0.009


@dataclass(frozen=True)
class Wandering:
    """``factor``: how much longer the same work takes in the slow tenth of the time than in the fast one. ``slow_share``: the share of
    the time that is nearer to the slow end. ``change_s``: how long it stays at one, on average. ``floor``: what two repetitions of the
    same thing will differ by, as a ratio over 1, with so many ``repetitions``.
    """

    factor: float
    slow_share: float
    change_s: float
    floor: float
    repetitions: int

    @property
    def is_much(self) -> bool:
        return self.factor > _WANDERS

    @property
    def cause(self) -> str:
        often = f"{1000 * self.change_s:.0f} ms" if self.change_s < 1 else "second or less often"
        return (
            f"its speed wanders: the same work takes {self.factor:.2g} times as long in {self.slow_share:.0%} of the time, and that "
            f"changes every {often}"
        )

    @property
    def remedy(self) -> str:
        return (
            f"compare ratios, which processes that take turns keep: {self.repetitions} repetitions should tell differences of about "
            f"{self.floor - 1:.0%}; latencies of one trial hold all of it, and need a quieter hour or cores of your own"
        )


def look(
    repetitions: int,
    block_s: float,
    blocks: int,
    seconds: float = _LOOK_S,
    work: Callable[[], object] | None = None,
    clock=time.perf_counter,
) -> Wandering:
    """Do the same small work again and again for ``seconds``, and tell how its duration varies.

    ``block_s``, ``blocks``: how long a block of a study lasts, and how many each of its ``repetitions`` has at least.
    """
    work = work or (lambda: hashlib.sha256(_WORK).digest())
    begun = last = clock()
    took = []
    while last - begun < seconds:
        work()
        now = clock()
        took.append(now - last)
        last = now
    took = np.array(took)
    fast, slow = np.percentile(took, [10, 90])
    is_slow = took > math.sqrt(fast * slow)
    changes = int(np.count_nonzero(np.diff(is_slow)))
    change_s = seconds / changes if changes and slow > fast else seconds
    return Wandering(
        slow / fast, float(took[is_slow].sum() / took.sum()), change_s, _floor(took, repetitions, block_s, blocks), repetitions
    )


def _floor(took: np.ndarray, repetitions: int, block_s: float, blocks: int) -> float:
    """What a pair that takes turns would read of itself: neighbouring blocks of this work, as a study compares them."""
    from scipy.special import stdtrit

    medians = [np.median(part) for part in np.array_split(took, max(2, round(took.sum() / block_s)))]
    logs = np.diff(np.log(medians))
    error = 1.2533 * 1.4826 * float(np.median(np.abs(logs - np.median(logs)))) / math.sqrt(blocks)
    return math.exp(float(stdtrit(repetitions - 1, 0.975)) * math.hypot(error, PROCESS) / math.sqrt(repetitions))
