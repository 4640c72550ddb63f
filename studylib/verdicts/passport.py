"""The noise passport of a study: was this machine fit to measure, by what happened while it did?"""

from dataclasses import dataclass
from enum import StrEnum

from studylib.results.records import Measurement
from studylib.verdicts.findings import Findings, once

# Beyond these, differences that matter drown: share of repetitions that never became valid, and what an A/A control reads.
LOST_SHARE = 0.1
_FLOOR_UNFIT, FLOOR_CARE = 1.25, 1.05


class Fit(StrEnum):
    """Whether a machine was fit to measure."""

    YES = "yes"
    CARE = "with care"
    NO = "no"
    UNKNOWN = "not known"


@dataclass(frozen=True)
class Fitness:
    """Whether the machine was fit, judged by what happened: advice before a run may be wrong for this machine.

    ``lost``: repetitions of those ``tried`` that stayed invalid. ``floor``: what a trial against itself reads at worst, as a ratio over
    1; None without a control that carries an interval.
    """

    tried: int
    lost: int
    floor: float | None

    @property
    def fit(self) -> Fit:
        if not self.tried:
            return Fit.UNKNOWN
        if self.lost > LOST_SHARE * self.tried or (self.floor or 0) > _FLOOR_UNFIT:
            return Fit.NO
        return Fit.CARE if self.floor is None or self.floor > FLOOR_CARE or self.lost else Fit.YES

    @property
    def invalid(self) -> str:
        return f"{self.lost or 'no'} repetition{'s' * (self.lost > 1)} stayed invalid" + (f" of {self.tried}" if self.lost else "")

    @property
    def why(self) -> str:
        if not self.tried:
            return "nothing was measured yet"
        if self.lost > LOST_SHARE * self.tried:
            return f"{self.lost} of {self.tried} repetitions stayed invalid"
        if self.floor is None:
            return "no A/A control carries an interval, so the noise floor is not known"
        reads = f"a trial against itself reads up to {self.floor:.2f}x"
        if self.fit is Fit.NO:
            return f"{reads}: smaller differences are below the noise floor"
        return f"{reads}; {self.invalid}"


@once
def fitness(findings: Findings) -> Fitness:
    """What happened while the values were taken, as far as it decides whether they can be trusted."""
    tried = attempts(findings)
    floors = [floor for _, _, floor in noise_floors(findings) if floor is not None]
    return Fitness(*(unmended(tried) if tried else (0, 0)), max(floors, default=None))


@once
def noise_floors(findings: Findings) -> list[tuple[str, int, float | None]]:
    """(model, batch size, what an A/A control reads there as a ratio over 1; None without a control that carries an interval)."""
    measured = [trial for trial in findings.compared if findings.results.measurements(trial.id)]
    pairs = dict.fromkeys((trial.model, trial.batch_size) for trial in measured)
    return [(model, batch, findings.floor(model, batch)) for model, batch in pairs]


@once
def attempts(findings: Findings) -> list[Measurement]:
    """Every attempt that ended, disturbed or not; failed ones carry no readings."""
    every = [attempt for trial in findings.plan for attempt in findings.results.attempts(trial.id)]
    return [attempt for attempt in every if attempt.status in ("ok", "invalid")]


def unmended(attempts: list[Measurement]) -> tuple[int, int]:
    """(repetitions tried, those of them that never became valid)."""
    tried = {(attempt.trial_id, attempt.repetition) for attempt in attempts}
    return len(tried), len(tried - {(attempt.trial_id, attempt.repetition) for attempt in attempts if attempt.status == "ok"})
