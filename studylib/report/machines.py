"""Every machine in an outputs folder, side by side: its winners against its own baseline, and the same trials against each other."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from studylib import stats
from studylib.artifacts.store import write_text
from studylib.errors import InputError
from studylib.report.tables.winners import winners
from studylib.results import standing, whose
from studylib.results.records import Trial
from studylib.results.results import Results
from studylib.stats import Verdict
from studylib.verdicts.findings import Findings
from studylib.verdicts.winners import geometric_mean
from studylib.wording import blanked, digits, markdown, typical_ms

_AGAINST = ("model", "trial", "machine", "p50_ms", "n", "against", "its p50_ms", "its n", "ratio", "verdict")


@dataclass(frozen=True)
class Machine:
    """One stored study: the folder's name, its results, its run facts, which say what hardware set they are of."""

    name: str
    results: Results
    run: dict

    @property
    def heading(self) -> str:
        named = whose.named(self.results.folder, self.run["hardware"])
        return f"{named} ({'native' if self.run['native'] else 'REHEARSAL'})"


def studies(outputs: Path) -> dict[str, Results]:
    """The stored studies by the folder that holds each."""
    return {path.parent.name: Results(path.parent) for path in sorted(outputs.glob("[!.]*/plan.json"))}


def machines(outputs: Path) -> list[Machine]:
    """The studies that can be read and hold times; native ones first, since the others are held against the first."""
    found = []
    for name, results in studies(outputs).items():
        try:
            one = Machine(name, results, results.run())
            # The table and the artifacts are read here, so that what is broken is found out before it is shown.
            results.table()
            measured = any(results.state(trial).ok for trial in results.compared())
        except InputError:
            continue  # `write` says why
        found += [one] if measured else []
    if not found:
        raise InputError(f"nothing is measured in {outputs}. Run `make study HW=…` first.")
    return sorted(found, key=lambda one: not one.run["native"])


def medians(outputs: Path) -> pd.DataFrame:
    """Median latency of every measured trial, one column for each machine, headed native or REHEARSAL."""
    columns = {one.heading: {_key(trial): "{} (n {})".format(*_p50(one, trial)) for trial in _measured(one)} for one in machines(outputs)}
    every = dict.fromkeys(key for column in columns.values() for key in column)
    rows = [
        {"model": key[0], "trial": key[1]} | {f"{name} p50_ms": found.get(key, "–") for name, found in columns.items()} for key in every
    ]
    return pd.DataFrame(rows)


def winners_of_each(outputs: Path) -> pd.DataFrame:
    """The winner of each model on each machine, with ratio, interval and verdict against that machine's own baseline."""
    return blanked(pd.concat([winners(one.results) for one in machines(outputs)], ignore_index=True))


def against_first(outputs: Path) -> pd.DataFrame:
    """Trials that two machines share: the first machine against each other one, or why the two cannot be compared.

    The repetitions of two machines are no pairs: the interval (Welch's t) takes each side's noise for itself, and holds for these two runs.
    """
    first, *others = machines(outputs)
    ours = {_key(trial): trial for trial in _measured(first)}
    rows = [_row(first, ours[_key(trial)], other, trial) for other in others for trial in _measured(other) if _key(trial) in ours]
    return pd.DataFrame(rows, columns=_AGAINST)


def write(outputs: Path) -> Path:
    """Write ``compare.md``; returns its path. Machines are listed, never merged: each column is its own study."""
    parts = (
        ("Winner of each machine, against its own baseline", winners_of_each(outputs)),
        ("Medians", medians(outputs)),
        ("One machine against another: ratio above 1, the machine is faster than the one it is held against", against_first(outputs)),
    )
    lines = ["# Machines side by side", ""]
    for title, frame in parts:
        lines += [f"## {title}", "", "None." if frame.empty else markdown(frame), ""]
    for name, results in studies(outputs).items():
        try:
            results.table()
            mean = geometric_mean(results)
            of, told = whose.named(results.folder, results.run()["hardware"]), f" Winners: {mean.words}." if mean else ""
            lines.append(f"- **{of}**: {standing.provenance(results)}{told}")
        except InputError as error:
            lines.append(f"- **{name}** is left out: {error}")
    path = outputs / "compare.md"
    write_text(path, "\n".join(lines) + "\n")
    return path


def why_not(one: Machine, trial: Trial, other: Machine, its: Trial) -> str:
    """Why the times of two machines must not be compared, in words; empty when they may be."""
    effort, its_effort = (machine.run.get("effort", "unknown") for machine in (one, other))
    seed, its_seed = (machine.run["parameters"].get("choice", {}).get("seed") for machine in (one, other))
    made, its_made = (_digest(*pair) for pair in ((one, trial), (other, its)))
    reasons = [
        f"effort {effort} here, {its_effort} there" if effort != its_effort else "",
        f"seed {seed} here, {its_seed} there" if seed != its_seed else "",
        f"another artifact: {made[:12]} here, {its_made[:12]} there" if made != its_made else "",
        "no artifact is known" if not made and not its_made else "",
    ]
    return "; ".join(filter(None, reasons))


def _row(one: Machine, trial: Trial, other: Machine, its: Trial) -> dict:
    """The other machine held against the first one."""
    sides = [(one, trial), (other, its)]
    (here, n), (there, its_n) = (_p50(*side) for side in sides)
    row = {
        "model": its.model,
        "trial": its.label,
        "machine": other.heading,
        "p50_ms": there,
        "n": its_n,
        "against": one.heading,
        "its p50_ms": here,
        "its n": n,
    }
    reason = why_not(other, its, one, trial)
    if reason:
        return row | {"ratio": "–", "verdict": f"not comparable: {reason}"}
    logs = [np.log([m.median_ns for m in side.results.measurements(t.id)]) for side, t in sides]
    found = stats.combined_means(logs, [1, -1])
    ratio, low, high = (None if bound is None else float(np.exp(bound)) for bound in (found.value, found.low, found.high))
    text = f"{digits(ratio)}x" + (" (no interval)" if low is None else f" [{digits(low)}, {digits(high)}]")
    return row | {"ratio": text, "verdict": _verdict(ratio, low, high, sides) + _remarks(one, trial, other, its)}


def _verdict(ratio: float, low: float | None, high: float | None, sides: list) -> str:
    """Distinguishable only beyond what either machine reads where there is no difference."""
    if low is None:
        return f"{Verdict.CANNOT_TELL}: fewer than {stats.MINIMUM_ROUNDS} repetitions"
    floors = [Findings.of(side.results).floor(trial.model, trial.batch_size) for side, trial in sides]
    floor = max((one for one in floors if one is not None), default=1.0)
    told = stats.verdict(low, high)
    within = told is not Verdict.CANNOT_TELL and max(ratio, 1 / ratio) <= floor
    return f"{Verdict.CANNOT_TELL}: within the noise of one of them, up to {digits(floor)}x" if within else str(told)


def _remarks(one: Machine, trial: Trial, other: Machine, its: Trial) -> str:
    """What the reader must know of the two: other threads; or one host, whose hardware sets differ in settings and not in hardware."""
    threads = f"; {its.threads} thread{'s' * (its.threads > 1)} against {trial.threads}" if its.threads != trial.threads else ""
    alike = "; the same host: this compares settings, not hardware" if one.run["host_id"] == other.run["host_id"] else ""
    means = [any(m.is_of_means for m in side.results.measurements(t.id)) for side, t in ((one, trial), (other, its))]
    unlike = "; means of queries against medians" if means[0] != means[1] else ""
    return threads + unlike + alike


def _measured(one: Machine) -> list[Trial]:
    return [trial for trial in one.results.compared() if not trial.control and one.results.state(trial).ok]


def _key(trial: Trial) -> tuple:
    return trial.model, trial.label


def _digest(one: Machine, trial: Trial) -> str:
    return one.results.artifacts().get(trial.artifact_key, {}).get("sha256") or ""


def _p50(one: Machine, trial: Trial) -> tuple[str, int]:
    table = one.results.table()
    values = table[table.trial_id == trial.id].set_index("metric")
    n = int(values.loc["latency_mean", "n"]) if "latency_mean" in values.index else 0
    return typical_ms(values), n
