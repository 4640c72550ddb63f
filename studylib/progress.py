"""Progress in plain lines: what is under way, how many of how many, how long it will take."""

import time
from collections.abc import Callable

DECIDES_NOTHING = "what is printed"

# A line at most this often, and ever more rarely in long runs, so that a log stays readable; first and last are always printed.
_INTERVAL_S = 3.0
_INTERVAL_SHARE = 0.04


class Progress:
    """Counts steps. ``weights``: how long each takes against the others; ``write`` gets whole lines; ``clock``: seconds."""

    def __init__(self, what: str, weights: list[float], write: Callable[[str], None] = print, clock: Callable[[], float] = time.monotonic):
        self.what, self.total, self.done = what, len(weights), 0
        self._weights, self._write, self._clock = weights, write, clock
        self._begun, self._last = clock(), float("-inf")

    def begin(self, label: str) -> None:
        """Say that the step after the finished ones begins."""
        now = self._clock()
        if self._is_due(now):
            self._write(f"{self.what} {self.done + 1} of {self.total}: {label}{self._remaining(now)}")

    def within(self, label: str) -> None:
        """Say what the step under way is doing; how long it will take is not known from the finished ones."""
        if self._is_due(self._clock()):
            self._write(f"{self.what} {self.done + 1} of {self.total}: {label}")

    def end(self) -> None:
        """Count one step as finished."""
        self.done += 1
        if self.done == self.total:
            self._write(f"{self.what}: {self.total} done in {duration(self._clock() - self._begun)}")

    def _is_due(self, now: float) -> bool:
        if self._last > float("-inf") and now - self._last < max(_INTERVAL_S, _INTERVAL_SHARE * (now - self._begun)):
            return False
        self._last = now
        return True

    def _remaining(self, now: float) -> str:
        if not self.done:
            return ""
        share = sum(self._weights[self.done :]) / sum(self._weights[: self.done])
        return f", about {duration((now - self._begun) * share)} left"


def duration(seconds: float) -> str:
    """``42 s`` or ``3 min 10 s``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
