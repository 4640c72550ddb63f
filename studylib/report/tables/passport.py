"""The noise passport as a table: what was said of the machine before, what happened, and what that means."""

from dataclasses import asdict

import pandas as pd

from studylib.machine import nvml
from studylib.machine.disturbance_limits import REMEDIES, Limits
from studylib.results.records import Measurement
from studylib.verdicts.findings import Findings, of_findings
from studylib.verdicts.passport import FLOOR_CARE, LOST_SHARE, attempts, fitness, noise_floors, unmended

_COLUMNS = ["what", "found", "limit", "what to do"]
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


@of_findings
def passport(findings: Findings) -> pd.DataFrame:
    """Is this machine fit to measure: the answer first, then the advice that was given, the worst of each disturbance over all
    repetitions, how many repetitions were invalid and repeated, and what the A/A control reads for each model and batch size."""
    tried = attempts(findings)
    limits = asdict(Limits()) | findings.run.get("limits", {})
    advice = [_row("before the run: " + told["cause"], "", "", told["remedy"]) for told in findings.results.fitness()]
    happened = [*_worst(tried, limits, _shown(findings)), *_settings(tried), *_counts(tried, limits)]
    rows = [_answer(findings), *advice, *happened, *_floors(findings)]
    return pd.DataFrame(rows, columns=_COLUMNS)


def _row(what: str, found: str, limit: str = "", remedy: str = "") -> dict:
    return dict(zip(_COLUMNS, (what, found, limit, remedy), strict=True))


def _answer(findings: Findings) -> dict:
    found = fitness(findings)
    return _row("is this machine fit to measure?", f"{found.fit}: {found.why}")


def _shown(findings: Findings) -> dict[str, tuple[str, str]]:
    """What is looked at: a GPU only where one computed."""
    with_gpu = any(trial.provider in nvml.PROVIDERS and findings.results.attempts(trial.id) for trial in findings.plan)
    return {name: told for name, told in _SHOWN.items() if with_gpu or not name.startswith("gpu_")}


def _worst(measured: list[Measurement], limits: dict, shown: dict[str, tuple[str, str]]) -> list[dict]:
    rows, silent = [], []
    for name, (label, form) in shown.items():
        values = [attempt.disturbances[name] for attempt in measured if name in attempt.disturbances]
        limit = form.format(limits[name]) if name in limits else ""
        if values:
            remedy = REMEDIES[name] if name in limits and max(values) > limits[name] else ""
            rows.append(_row(label, f"at worst {form.format(max(values))}, n = {len(values)}", limit, remedy))
        else:
            silent.append(label)
    if silent and measured:
        rows.append(_row("cannot be read here", ", ".join(silent), "", "trust the A/A control"))
    return rows


def _settings(measured: list[Measurement]) -> list[dict]:
    """Facts that should be the same all along: more than one value is a finding."""
    rows = []
    for name, label in (("governor", "frequency governor"), ("affinity", "processors allowed"), ("quota_cpus", "CPU quota")):
        values = sorted({str(attempt.disturbances[name]) for attempt in measured if name in attempt.disturbances})
        rows += [_row(label, "; ".join(values), "", "it changed between repetitions" if len(values) > 1 else "")] if values else []
    for label, names in _CLOCKS.items():
        seen = [attempt.disturbances[name] for attempt in measured for name in names if name in attempt.disturbances]
        rows += [_row(label, f"{min(seen) / 1e9:.2f} to {max(seen) / 1e9:.2f} GHz")] if seen else []
    return rows


_CLOCKS = {
    "clock seen": ("frequency_min_hz", "frequency_max_hz"),
    "clock of the GPU seen, before and after the values": ("gpu_clock_min_hz", "gpu_clock_max_hz"),
}


def _counts(measured: list[Measurement], limits: dict) -> list[dict]:
    tried, stayed = unmended(measured)
    invalid, repeated = (sum(map(test, measured)) for test in (lambda a: a.status == "invalid", lambda a: a.attempt > 0))
    remedy = "mend what disturbed them, then FORCE=1" if stayed else ""
    return [
        _row("attempts that were invalid", f"{invalid} of {len(measured)}"),
        _row("attempts that repeated one", str(repeated), f"{limits['repeated_share']:.0%} of {tried} repetitions"),
        _row("repetitions that stayed invalid", f"{stayed} of {tried}", f"{LOST_SHARE:.0%}", remedy),
    ]


def _floors(findings: Findings) -> list[dict]:
    return [
        _row(
            f"A/A control of {model}, batch {batch}",
            "no control with an interval" if floor is None else f"a trial against itself reads up to {floor:.3f}x",
            f"{FLOOR_CARE:g}x",
            "more repetitions (EFFORT=full), or a quieter machine" if floor and floor > FLOOR_CARE else "",
        )
        for model, batch, floor in noise_floors(findings)
    ]
