"""Further rounds of what decides something and is not decided, until it is or their time is up.

The study looks at its rounds a few times, each time with several times as many, and never at single ones; what has further rounds is
judged at a stricter level (`studylib.stats.LATER_LEVEL`), which keeps the rate of false verdicts (docs/decisions/0044).
"""

import time
from dataclasses import dataclass

from studylib.measure.rounds import Bench
from studylib.verdicts.compare import SpeedUp
from studylib.verdicts.findings import Findings
from studylib.verdicts.undecided import undecided

# How many times the planned rounds there are at each further look.
_LOOKS = (3, 6)
DECIDED, TIME_IS_UP, LOOKED_ENOUGH = "a decision", "their time", "the last look"


@dataclass(frozen=True)
class FurtherRounds:
    """Measures them in ``bench`` for at most ``seconds``, and keeps with the results which pairs got them and why they ended."""

    bench: Bench
    seconds: float

    def take(self) -> None:
        """Measure until every pair that decides something is decided, or is known to be equally fast."""
        results, planned, kept = self.bench.results, self.bench.settings.repetitions, self._kept()
        begun = time.monotonic()
        until = begun + self.seconds - kept["seconds"]
        asked, still = {}, self._open()
        for times in _LOOKS:
            if not still or time.monotonic() >= until:
                break
            asked |= {_of(pair): pair for pair in still}
            members = list({trial.id: trial for pair in still for trial in (pair.baseline, pair.contender)}.values())
            self._say(still, until - time.monotonic())
            before = max(attempt.repetition for trial in members for attempt in results.attempts(trial.id))
            first = max(1 + before, *(results.one_thread_rounds(trial).stop for trial in members))
            wanted = times * planned - min(pair.comparison.n for pair in still)
            self.bench.further(members, range(first, first + wanted), until)
            still = self._open()
        why = LOOKED_ENOUGH if time.monotonic() < until else TIME_IS_UP
        given_up = {_of(pair): pair for pair in still}
        pairs = [
            {"baseline": pair.baseline.id, "contender": pair.contender.id, "ended": why if ids in given_up else DECIDED}
            for ids, pair in (asked | given_up).items()
        ]
        seconds = kept["seconds"] + time.monotonic() - begun
        results.save_further(kept | {"seconds": round(seconds, 1), "pairs": [*kept["pairs"], *pairs]})

    def is_over(self) -> bool:
        """Whether nothing is open, or what is has had its time in this campaign."""
        return not self._open()

    def _kept(self) -> dict:
        """What is known of further rounds in the newest campaign."""
        campaign, kept = self.bench.results.newest_campaign(), self.bench.results.further()
        none = {"campaign": campaign, "planned": self.bench.settings.repetitions, "seconds": 0.0, "pairs": []}
        return kept if kept.get("campaign") == campaign else none

    def _open(self) -> list[SpeedUp]:
        """What is open and was not given up before in this campaign."""
        if not self.seconds:
            return []
        ended = {frozenset((pair["baseline"], pair["contender"])) for pair in self._kept()["pairs"]}
        return [pair for pair in undecided(Findings.of(self.bench.results)) if _of(pair) not in ended]

    def _say(self, pairs: list[SpeedUp], seconds: float) -> None:
        first, more = pairs[0], f" and {len(pairs) - 1} more" if len(pairs) > 1 else ""
        what = f"{first.contender.label} against {first.baseline.label}, {first.words}{more}"
        self.bench.write(f"further rounds for at most {seconds:.0f} s: not decided is {what}")


def _of(pair: SpeedUp) -> frozenset[str]:
    """The two trials, whichever of them is the faster one just now."""
    return frozenset((pair.baseline.id, pair.contender.id))
