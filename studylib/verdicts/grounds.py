"""What the numbers of a study stand on, in one sentence: where they were measured, whether that was fit, and the noise floor."""

from dataclasses import dataclass

from studylib.verdicts import compare, passport
from studylib.verdicts.findings import Findings, once
from studylib.verdicts.passport import Fit, Fitness
from studylib.wording import digits, ratio_text, some

_FIT = {
    Fit.YES: "Fit to measure",
    Fit.CARE: "To be read with care",
    Fit.NO: "NOT fit to measure",
    Fit.UNKNOWN: "Whether it is fit to measure is not known: nothing was timed yet",
}


@dataclass(frozen=True)
class Grounds:
    """``native``: measured on the declared hardware ``title``; otherwise it is a rehearsal of that, for the reasons in ``mismatches``.

    ``control``: of all that was measured against itself what reads farthest from 1; None where nothing carries an interval.
    ``causes``: what spoke against the machine before the run.
    """

    native: bool
    title: str
    where: str
    mismatches: tuple[str, ...]
    fitness: Fitness
    control: compare.SpeedUp | None
    causes: tuple[str, ...]

    @property
    def decides(self) -> bool:
        """Whether a configuration may be named at all: a rehearsal tells nothing of the speed of other hardware."""
        return self.native

    @property
    def words(self) -> str:
        """The first line of report, terminal and notebook."""
        origin = f"Native: measured on {self.where}."
        if not self.native:
            why = "; ".join(self.mismatches)
            origin = f"REHEARSAL of {self.title} on {self.where} ({why}): speed there is not known, and nothing is advised."
        if self.fitness.fit is Fit.UNKNOWN:
            return f"{origin} {_FIT[Fit.UNKNOWN]}."
        why = "; ".join(filter(None, (self.fitness.invalid if self.fitness.lost else "", self._noise, self._before)))
        return f"{origin} {_FIT[self.fitness.fit]}: {why}."

    @property
    def _noise(self) -> str:
        if self.control is None:
            return "no trial was measured against itself often enough, so the noise floor is not known"
        found, trial = self.control.comparison, self.control.contender
        which = f"{trial.model}, batch {trial.batch_size}"
        floor = digits(compare.floor_of(found))
        reads = f"a trial against itself reads {ratio_text(found)} ({which}, n {found.n} rounds)"
        return f"{reads}, so differences of less than {floor}x are below the noise floor"

    @property
    def _before(self) -> str:
        return f"before the run: {some(list(self.causes), 1)}" if self.causes else ""


@once
def grounds(findings: Findings) -> Grounds:
    """What the numbers stand on."""
    run = findings.run
    pairs = dict.fromkeys((trial.model, trial.batch_size) for trial in findings.compared)
    found = [control for pair in pairs for control in findings.controls(*pair) if control.comparison.low is not None]
    return Grounds(
        run["native"],
        run["title"],
        run["host"]["description"],
        tuple(run["mismatches"]),
        passport.fitness(findings),
        max(found, key=lambda control: compare.floor_of(control.comparison), default=None),
        tuple(dict.fromkeys(told["cause"] for told in findings.results.fitness())),
    )
