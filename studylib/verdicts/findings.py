"""What several verdicts, tables and figures need to know of one study's results, each computed once."""

import functools
from collections.abc import Callable
from functools import cached_property
from typing import Concatenate, ParamSpec, TypeVar

from studylib.params.study_options import Choice
from studylib.results.records import Trial
from studylib.results.results import Results
from studylib.results.states import State
from studylib.verdicts import compare
from studylib.verdicts.compare import SpeedUp

P, T = ParamSpec("P"), TypeVar("T")


class Findings:
    """The results of one study with what follows from them. `Findings.of` gives the same ones as long as no file has changed."""

    def __init__(self, results: Results):
        self.results = results
        self._kept: dict[tuple, object] = {}

    @classmethod
    def of(cls, given: "Results | Findings") -> "Findings":
        return given if isinstance(given, cls) else given.derived(cls)

    def once(self, compute: Callable[..., T], *arguments, **options) -> T:
        """``compute(*arguments, **options)``, computed at the first call with these."""
        key = (compute, *arguments, *sorted(options.items()))
        if key not in self._kept:
            self._kept[key] = compute(*arguments, **options)
        return self._kept[key]

    @cached_property
    def run(self) -> dict:
        return self.results.run()

    @cached_property
    def plan(self) -> list[Trial]:
        return self.results.plan()

    @cached_property
    def compared(self) -> list[Trial]:
        """The trials that are compared with each other: one query after the other, each file once."""
        return self.results.compared()

    @cached_property
    def doubles(self) -> dict[str, Trial]:
        return self.results.doubles()

    @cached_property
    def table(self) -> "pandas.DataFrame":  # noqa: F821
        """The long table. Nobody changes it."""
        return self.results.table()

    @cached_property
    def budget(self) -> float:
        """The share of right answers that this study may lose."""
        usual = Choice.model_fields["max_accuracy_loss"].default
        return self.run["parameters"].get("choice", {}).get("max_accuracy_loss", usual)

    def state(self, trial: Trial) -> State:
        return self.once(self.results.state, trial)

    @cached_property
    def timed(self) -> list[Trial]:
        """Those of the `compared` trials that have numbers, A/A controls too."""
        return [trial for trial in self.compared if self.state(trial).ok]

    def values(self, trial: Trial) -> "pandas.DataFrame":  # noqa: F821
        """The rows of a trial in the long table, by metric."""
        return self.table[self.table.trial_id == trial.id].set_index("metric")

    def typical_ns(self, trial: Trial) -> float:
        """The geometric mean of the repetitions' medians: what comparisons compare."""
        return self.once(self._typical_ns, trial)

    def _typical_ns(self, trial: Trial) -> float:
        return compare.typical_ns(self.results.planned_measurements(trial.id))

    def controls(self, model: str, batch_size: int) -> list[SpeedUp]:
        """What was measured against itself."""
        return self.once(compare.controls, self.results, model, batch_size)

    def floor(self, model: str, batch_size: int) -> float | None:
        """How far from 1 this run reads where there is no difference, as a ratio over 1: the farthest end of its `controls`' intervals.

        None without a control that carries an interval.
        """
        found = [compare.floor_of(control.comparison) for control in self.controls(model, batch_size)]
        return max((floor for floor in found if floor is not None), default=None)

    def against(self, baseline: Trial, contender: Trial) -> SpeedUp:
        """The contender against the baseline, for the time of one sample: batches of different sizes can be compared.

        A ratio within the noise floor of the contender's model and batch size carries no verdict.
        """
        return self.once(self._against, baseline, contender)

    def _against(self, baseline: Trial, contender: Trial) -> SpeedUp:
        by_query = compare.speed_up(baseline, contender, self.results, self.floor(contender.model, contender.batch_size))
        return by_query.times(contender.batch_size / baseline.batch_size)

    @cached_property
    def speed_ups(self) -> list[SpeedUp]:
        """Every timed trial against its baseline, query by query; each A/A control against its twin, whose ratio is the noise itself."""
        found = []
        for trial in self.timed:
            if trial.control:
                found += [one for one in self.controls(trial.model, trial.batch_size) if one.contender == trial]
                continue
            baseline = compare.baseline_of(self.timed, trial.model, trial.batch_size)
            found += [self.against(baseline, trial)] if baseline is not None and baseline.id != trial.id else []
        return found


def of_findings(
    function: Callable[Concatenate[Findings, P], T],
) -> Callable[Concatenate[Results | Findings, P], T]:
    """A function of `Findings` that takes `Results` as well."""

    @functools.wraps(function)
    def called(given: Results | Findings, *arguments: P.args, **options: P.kwargs) -> T:
        return function(Findings.of(given), *arguments, **options)

    return called


def once(
    function: Callable[Concatenate[Findings, P], T],
) -> Callable[Concatenate[Results | Findings, P], T]:
    """The same, computed once for the same arguments. Nobody changes what it gives."""

    @of_findings
    @functools.wraps(function)
    def kept(findings: Findings, *arguments: P.args, **options: P.kwargs) -> T:
        return findings.once(function, findings, *arguments, **options)

    return kept
