"""Measured peaks as they are kept and read back."""

from dataclasses import dataclass

# STREAM's rule: arrays of four times the largest cache are main memory.
FAR_BEYOND = 4
# Beyond this share of the processor time for others, peaks are used and not kept.
_BUSY_SHARE = 0.1
_FACTS = ("host_id", "threads", "cache_bytes", "without", "others_share", "measured_at", "seconds")


@dataclass(frozen=True)
class Peak:
    """``per_s``: operations or bytes a second, the fastest block of all rounds. ``slowest_round_per_s``: the fastest block of the
    slowest of ``rounds`` rounds. ``how``: what reached it.
    """

    per_s: float
    slowest_round_per_s: float
    rounds: int
    how: str

    def text(self, unit: str) -> str:
        """``271 Gop/s (slowest of 5 rounds 240) by numpy matmul 512``."""
        return f"{self.per_s / 1e9:.4g} G{unit}/s (slowest of {self.rounds} rounds {self.slowest_round_per_s / 1e9:.4g}) by {self.how}"


@dataclass(frozen=True)
class Level:
    """The bandwidth over a working set of ``working_set_bytes``, all threads together, read or written again and again."""

    working_set_bytes: int
    peak: Peak


@dataclass(frozen=True)
class Peaks:
    """What one host can do with ``threads``. An operation is a multiplication or an addition, so a multiply-accumulate is two.

    ``memory``: the bandwidth by working set, the smallest first; the last is main memory. ``cache_bytes``: the largest cache
    as the system states it, None where it does not. ``int8`` is None where nothing here multiplies integers, and ``without``
    says of each library that could not why. ``others_share``: the share of these threads' processor time that other processes and
    other virtual machines took meanwhile.
    """

    host_id: str
    threads: int
    float32: Peak
    int8: Peak | None
    memory: tuple[Level, ...]
    cache_bytes: int | None
    without: dict[str, str]
    others_share: float
    measured_at: str
    seconds: float

    @classmethod
    def from_json(cls, record: dict) -> "Peaks | None":
        """The peaks in a record; None when it holds none, or what is no peak: then they must be measured again."""
        try:
            memory = tuple(Level(level["working_set_bytes"], Peak(**level["peak"])) for level in record["memory"])
            int8 = record["int8"] and Peak(**record["int8"])
            facts = {name: record[name] for name in _FACTS}
            found = cls(float32=Peak(**record["float32"]), int8=int8, memory=memory, **facts)
            return found if found._is_sound else None
        except (KeyError, TypeError):
            return None

    @property
    def main_memory(self) -> Level:
        return self.memory[-1]

    def bandwidth(self, size_bytes: float) -> tuple[float, Level]:
        """Bytes a second that bound a working set of ``size_bytes``, and the level they were measured at.

        Counted are the largest working set measured that is not larger, and all beyond it: no larger one is faster in truth,
        so a larger one that was faster tells that the smaller one was disturbed.
        """
        first = max((place for place, level in enumerate(self.memory) if level.working_set_bytes <= size_bytes), default=0)
        level = max(self.memory[first:], key=lambda level: level.peak.per_s)
        return level.peak.per_s, level

    @property
    def busy(self) -> str:
        """In words that the host was not free while it was measured, so that peaks may be too low; empty when it was."""
        if self.others_share <= _BUSY_SHARE:
            return ""
        return f"something else took {self.others_share:.0%} of the processors while the peaks were measured: they may be too low"

    @property
    def text(self) -> str:
        """All of it in one line."""
        int8 = f"int8 {self.int8.text('op')}" if self.int8 else "no int8"
        return f"float32 {self.float32.text('op')}; {int8}; main memory {self.main_memory.peak.text('B')}"

    @property
    def _is_sound(self) -> bool:
        every = [self.float32, *([self.int8] if self.int8 else []), *(level.peak for level in self.memory)]
        sizes = [level.working_set_bytes for level in self.memory]
        return bool(sizes) and sizes == sorted(sizes) and all(0 < peak.slowest_round_per_s <= peak.per_s for peak in every)
