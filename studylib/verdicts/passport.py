"""The noise passport of a study: is this machine fit to measure? What was said before, what happened, and what that means."""

from dataclasses import asdict, dataclass
from enum import StrEnum

import pandas as pd

from studylib.machine import nvml
from studylib.machine.disturbance_limits import REMEDIES, Limits
from studylib.results.records import Measurement
from studylib.results.results import Results
from studylib.verdicts import compare

COLUMNS = ["what", "found", "limit", "what to do"]
# Beyond these, differences that matter drown: share of repetitions that never became valid, and what an A/A control reads.
_LOST_SHARE = 0.1
_FLOOR_UNFIT, _FLOOR_CARE = 1.25, 1.05
# Each disturbance: what it is called and how it is written.
_SHOWN = {
    "steal_share": ("taken by other virtual machines", "{:.1%}"),
    "throttle_events": ("slowed down by heat", "{:.0f} times"),
    "temperature_max_c": ("hottest sensor", "{:.0f} °C"),
    "frequency_drop_share": ("clock slower after the values than before", "{:.1%}"),
    "cgroup_throttled_share": ("stopped by a CPU quota, share of periods", "{:.1%}"),
    "gpu_heat_share": ("GPU slowed down by heat, share of the time", "{:.1%}"),
    "gpu_power_share": ("GPU held at its power limit, share of the time", "{:.1%}"),
    "gpu_temperature_max_c": ("hottest moment of the GPU", "{:.0f} °C"),
    "load_1min": ("load of the minute before", "{:.1f}"),
    "involuntary_switches": ("involuntary context switches", "{:.0f}"),
    "voluntary_switches": ("voluntary context switches", "{:.0f}"),
    "major_faults": ("page faults that read the disk", "{:.0f}"),
    "minor_faults": ("page faults in memory", "{:.0f}"),
}


def table(results: Results) -> pd.DataFrame:
    """Is this machine fit to measure: the answer first, then the advice that was given, the worst of each disturbance over all
    repetitions, how many repetitions were invalid and repeated, and what the A/A control reads for each model and batch size."""
    run, attempts = results.run(), _attempts(results)
    limits = asdict(Limits()) | run.get("limits", {})
    advice = [_row("before the run: " + told["cause"], "", "", told["remedy"]) for told in results.fitness()]
    happened = [*_worst(attempts, limits, _shown(results)), *_settings(attempts), *_counts(attempts, limits)]
    rows = [_answer(results), *advice, *happened, *_floors(results)]
    return pd.DataFrame(rows, columns=COLUMNS)


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
        if self.lost > _LOST_SHARE * self.tried or (self.floor or 0) > _FLOOR_UNFIT:
            return Fit.NO
        return Fit.CARE if self.floor is None or self.floor > _FLOOR_CARE or self.lost else Fit.YES

    @property
    def invalid(self) -> str:
        return f"{self.lost or 'no'} repetition{'s' * (self.lost > 1)} stayed invalid" + (f" of {self.tried}" if self.lost else "")

    @property
    def why(self) -> str:
        if not self.tried:
            return "nothing was measured yet"
        if self.lost > _LOST_SHARE * self.tried:
            return f"{self.lost} of {self.tried} repetitions stayed invalid"
        if self.floor is None:
            return "no A/A control carries an interval, so the noise floor is not known"
        reads = f"a trial against itself reads up to {self.floor:.2f}x"
        if self.fit is Fit.NO:
            return f"{reads}: smaller differences are below the noise floor"
        return f"{reads}; {self.invalid}"


def fitness(results: Results) -> Fitness:
    """What happened while ``results`` were measured, as far as it decides whether they can be trusted."""
    attempts = _attempts(results)
    floors = [floor for _, _, floor in noise_floors(results) if floor is not None]
    return Fitness(*(_lost(attempts) if attempts else (0, 0)), max(floors, default=None))


def verdict(results: Results) -> tuple[Fit, str]:
    """(`Fit`, and why)."""
    found = fitness(results)
    return found.fit, found.why


def noise_floors(results: Results) -> list[tuple[str, int, float | None]]:
    """(model, batch size, what an A/A control reads there as a ratio over 1; None without a control that carries an interval)."""
    pairs = dict.fromkeys((trial.model, trial.batch_size) for trial in results.compared() if results.measurements(trial.id))
    return [(model, batch, compare.noise_floor(results, model, batch)) for model, batch in pairs]


def _attempts(results: Results) -> list[Measurement]:
    """Every attempt that ended, disturbed or not; failed ones carry no readings."""
    return [attempt for trial in results.plan() for attempt in results.attempts(trial.id) if attempt.status in ("ok", "invalid")]


def _lost(attempts: list[Measurement]) -> tuple[int, int]:
    """(repetitions tried, those of them that never became valid)."""
    tried = {(attempt.trial_id, attempt.repetition) for attempt in attempts}
    return len(tried), len(tried - {(attempt.trial_id, attempt.repetition) for attempt in attempts if attempt.status == "ok"})


def _row(what: str, found: str, limit: str = "", remedy: str = "") -> dict:
    return dict(zip(COLUMNS, (what, found, limit, remedy), strict=True))


def _answer(results: Results) -> dict:
    word, why = verdict(results)
    return _row("is this machine fit to measure?", f"{word}: {why}")


def _shown(results: Results) -> dict[str, tuple[str, str]]:
    """What is looked at: a GPU only where one computed."""
    with_gpu = any(trial.provider in nvml.PROVIDERS and results.attempts(trial.id) for trial in results.plan())
    return {name: told for name, told in _SHOWN.items() if with_gpu or not name.startswith("gpu_")}


def _worst(attempts: list[Measurement], limits: dict, shown: dict[str, tuple[str, str]]) -> list[dict]:
    rows, silent = [], []
    for name, (label, form) in shown.items():
        values = [attempt.disturbances[name] for attempt in attempts if name in attempt.disturbances]
        limit = form.format(limits[name]) if name in limits else ""
        if values:
            remedy = REMEDIES[name] if name in limits and max(values) > limits[name] else ""
            rows.append(_row(label, f"at worst {form.format(max(values))}, n = {len(values)}", limit, remedy))
        else:
            silent.append(label)
    if silent and attempts:
        rows.append(_row("cannot be read here", ", ".join(silent), "", "trust the A/A control"))
    return rows


def _settings(attempts: list[Measurement]) -> list[dict]:
    """Facts that should be the same all along: more than one value is a finding."""
    rows = []
    for name, label in (("governor", "frequency governor"), ("affinity", "processors allowed"), ("quota_cpus", "CPU quota")):
        values = sorted({str(attempt.disturbances[name]) for attempt in attempts if name in attempt.disturbances})
        rows += [_row(label, "; ".join(values), "", "it changed between repetitions" if len(values) > 1 else "")] if values else []
    for label, names in _CLOCKS.items():
        seen = [attempt.disturbances[name] for attempt in attempts for name in names if name in attempt.disturbances]
        rows += [_row(label, f"{min(seen) / 1e9:.2f} to {max(seen) / 1e9:.2f} GHz")] if seen else []
    return rows


_CLOCKS = {
    "clock seen": ("frequency_min_hz", "frequency_max_hz"),
    "clock of the GPU seen, before and after the values": ("gpu_clock_min_hz", "gpu_clock_max_hz"),
}


def _counts(attempts: list[Measurement], limits: dict) -> list[dict]:
    tried, lost = _lost(attempts)
    invalid, repeated = (sum(map(test, attempts)) for test in (lambda a: a.status == "invalid", lambda a: a.attempt > 0))
    remedy = "mend what disturbed them, then FORCE=1" if lost else ""
    return [
        _row("attempts that were invalid", f"{invalid} of {len(attempts)}"),
        _row("attempts that repeated one", str(repeated), f"{limits['repeated_share']:.0%} of {tried} repetitions"),
        _row("repetitions that stayed invalid", f"{lost} of {tried}", f"{_LOST_SHARE:.0%}", remedy),
    ]


def _floors(results: Results) -> list[dict]:
    return [
        _row(
            f"A/A control of {model}, batch {batch}",
            "no control with an interval" if floor is None else f"a trial against itself reads up to {floor:.3f}x",
            f"{_FLOOR_CARE:g}x",
            "more repetitions (EFFORT=full), or a quieter machine" if floor and floor > _FLOOR_CARE else "",
        )
        for model, batch, floor in noise_floors(results)
    ]
