"""Which trials are worth measuring in full: those of some use, larger batches until they gain nothing, the finalists of halving."""

from dataclasses import dataclass

from studylib.measure.rounds import Bench
from studylib.results.records import Trial
from studylib.study import sweeps
from studylib.study.halving import Halving
from studylib.study.usefulness import useless


@dataclass(frozen=True)
class Narrowing:
    """Takes short looks and says what they leave out. ``halving``: None measures every usual trial in full. ``least_useful``: the share of
    the source model's quality below which nothing is timed.

    Looks are kept with the results: what was interrupted goes on, and an unchanged study looks at nothing.
    """

    bench: Bench
    halving: Halving | None = None
    least_useful: float = 0.0

    def look(self, trials: list[Trial]) -> None:
        """Take the looks that are wanted: at batch sweeps, smaller batches first, then those of halving."""
        trials = self._useful(trials)
        for group in sweeps.groups(trials):
            for position, trial in enumerate(group):
                if self._look(trial) is None and trial.id not in self._cuts([group[: position + 1]]):
                    self.bench.write(f"first look at {trial.model}, {trial.label}")
                    self.bench.results.record_look(trial.id, self.bench.glance(trial))
        if self.halving:
            self.halving.narrow(trials)

    def left_out(self, trials: list[Trial]) -> dict[str, str]:
        """Trials that are not worth measuring by what was looked at so far, with the reason."""
        useful = self._useful(trials)
        left_out = self._cuts(sweeps.groups(useful)) | (self.halving.left_out(useful) if self.halving else {})
        return left_out | useless(trials, self.bench.results, self.least_useful)

    def is_over(self, trials: list[Trial]) -> bool:
        """Whether no look is wanted any more."""
        trials = self._useful(trials)
        groups = sweeps.groups(trials)
        cuts = self._cuts(groups)
        looked = all(trial.id in cuts or self._look(trial) for group in groups for trial in group)
        return looked and (self.halving is None or self.halving.is_over(trials))

    def _useful(self, trials: list[Trial]) -> list[Trial]:
        left_out = useless(trials, self.bench.results, self.least_useful)
        return [trial for trial in trials if trial.id not in left_out]

    def _cuts(self, groups: list[list[Trial]]) -> dict[str, str]:
        found = {}
        for group in groups:
            looks = {trial.batch_size: self._look(trial) for trial in group}
            reasons = sweeps.cut({size: look and (look.get("samples_per_s") or look["reason"]) for size, look in looks.items()})
            found |= {trial.id: reasons[trial.batch_size] for trial in group if trial.sweep and trial.batch_size in reasons}
        return found

    def _look(self, trial: Trial) -> dict | None:
        return self.bench.results.look(trial.id)
