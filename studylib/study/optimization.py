"""The optimisation path: quantize, then batch, then sessions beside each other, then memory settings; what each step brings."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import pandas as pd

from studylib import wording
from studylib.artifacts.store import write_text
from studylib.errors import InputError
from studylib.results import standing
from studylib.results.records import Trial
from studylib.runtimes import RUNTIMES, SESSIONS
from studylib.runtimes.settings import read
from studylib.study import sweeps
from studylib.study.study import Study
from studylib.study.sweeps import Deviation
from studylib.verdicts.findings import Findings
from studylib.verdicts.losses import lost
from studylib.verdicts.variants import Variant

# What is tried unless the user names recipes: a path is walked in minutes, and training takes longer.
RECIPES = ("fp32", "fp16", "dynamic_wi8_afp32", "static_wi8_ai8")
# A first look is short: what is not this much faster in it may be chance, the more so as the best of several is taken.
_GAIN = 1.05
_COLUMNS = (
    "model", "runtime", "step", "setting", "p50_ms", "samples_per_s", "over the step before", "over the start", "rss_peak_mb", "lost",
    "goes on",
)  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One step: the best trial that a first look found for it (None: ``why`` there is none), and whether the path goes on with it."""

    name: str
    trial: Trial | None
    goes_on: bool = True
    why: str = ""


@dataclass(frozen=True)
class Path:
    """The way of one model in one runtime, from fp32 at the smallest batch."""

    start: Trial
    steps: tuple[Step, ...]

    @property
    def trials(self) -> list[Trial]:
        return [self.start, *(step.trial for step in self.steps if step.trial)]


def path(study: Study, force: bool = False) -> pd.DataFrame:
    """Find the path of every model in every runtime of ``study`` by first looks, measure its steps in interleaved rounds, table it.

    Kept under ``path/`` in the study's folder, with ``path.md``: what was interrupted goes on, and what is measured is not again
    unless ``force`` says so. A step that a first look found hardly faster than the one before is measured and shown, and the path goes
    on without it. Raises `InputError` where no model has fp32 to start from.
    """
    study = replace(study, folder=study.folder / "path")
    if force:
        study.results.forget_failures()
    study.evaluate(matrix=False)
    found = [_found(study, trial) for trial in _starts(study)]
    if not found:
        why = dict.fromkeys(f"{trial.label}: {study.results.state(trial).why}" for trial in study.trials if trial.recipe == "fp32")
        raise InputError(f"A path starts from fp32, and none can be timed here ({'; '.join(why) or 'no trial of fp32 is planned'}).")
    chosen = tuple(dict.fromkeys(trial for one in found for trial in (*one.trials, *_controls(one))))
    measured = replace(study, plan=replace(study.plan, chosen=chosen))
    measured.measure(force, matrix=False)
    told = table(measured, found)
    words = f"# The optimisation path\n\n{standing.provenance(measured.results)}\n\n{wording.markdown(told)}\n"
    write_text(measured.folder / "path.md", words)
    return told


def table(study: Study, found: list[Path]) -> pd.DataFrame:
    """One row for the start and each step of every path, with intervals and verdicts; speeds are those of one sample."""
    return pd.DataFrame([row for one in found for row in _rows(study, one)], columns=_COLUMNS)


def _starts(study: Study) -> list[Trial]:
    return [trial for trial in study.same if trial.recipe == "fp32" and not trial.control and study.is_plain(trial)]


def _controls(one: Path) -> list[Trial]:
    """A/A controls of the start and of the last step: the noise floor of each batch size on the path."""
    kept = [one.start, *(step.trial for step in one.steps if step.trial and step.goes_on)]
    last = {trial.batch_size: trial for trial in kept}
    return [replace(trial, control=True) for trial in last.values()]


def _found(study: Study, start: Trial) -> Path:
    steps, current = [], start
    for name, candidates in (("quantize", _recipes), ("batch", _batches), ("sessions", _sessions), ("memory", _memories)):
        step = _step(study, name, current, list(candidates(study, current)))
        steps.append(step)
        current = step.trial if step.goes_on and step.trial else current
    return Path(start, tuple(steps))


def _step(study: Study, name: str, current: Trial, candidates: list[Trial]) -> Step:
    """The best of the candidates by a first look at each, and at the one before."""
    if not candidates:
        return Step(name, None, False, _NOTHING[name])
    before, best, rate = _rate(study, current), None, 0.0
    for trial in candidates:
        seen = _rate(study, trial)
        if seen > rate:
            best, rate = trial, seen
        elif name == "batch":
            break  # batches come by size: one that fails, or gives no more, ends them
    return Step(name, best, rate > _GAIN * before) if best else Step(name, None, False, "every candidate failed in a first look")


def _rate(study: Study, trial: Trial) -> float:
    """Samples per second of a first look, kept with the results; 0 where it failed."""
    look = study.results.look(trial.id)
    if look is None:
        study.write(f"first look at {trial.model}, {trial.label}")
        look = study.bench.glance(trial)
        study.results.record_look(trial.id, look)
    return look.get("samples_per_s", 0.0)


def _recipes(study: Study, start: Trial) -> Iterable[Trial]:
    """Other recipes of the same model in the same runtime that keep the budget."""
    most, findings = study.params.choice.max_accuracy_loss, Findings(study.results)
    for trial in study.same:
        ours = (trial.model, trial.where) == (start.model, start.where) and trial.recipe != "fp32" and study.is_plain(trial)
        if ours and trial.id not in findings.doubles and lost(Variant(findings, trial, start)).within(most):
            yield trial


def _batches(study: Study, before: Trial) -> Iterable[Trial]:
    for size in sweeps.BATCH_SIZES:
        if size > before.batch_size:
            yield _changed(study, before, Deviation(batch_size=size))


def _sessions(study: Study, before: Trial) -> Iterable[Trial]:
    for count in RUNTIMES[before.runtime].settings.get(SESSIONS, ()):
        if 1 < int(count) <= min(before.threads, before.batch_size):
            yield _changed(study, before, Deviation({SESSIONS: count}))


def _memories(study: Study, before: Trial) -> Iterable[Trial]:
    for settings in sweeps.settings("memory", before.runtime):
        yield _changed(study, before, Deviation(settings))


_NOTHING = {
    "quantize": "no other recipe of this study runs here and keeps the budget",
    "batch": "no larger batch is known",
    "sessions": "this runtime has no sessions beside each other, or there is one thread or one sample",
    "memory": "this runtime has no settings of its memory",
}


def _changed(study: Study, before: Trial, point: Deviation) -> Trial:
    """``before`` with what ``point`` says besides."""
    settings = read(before.options) | point.settings
    more = Deviation(settings, point.threads, point.batch_size)
    return study.plan.planned(before.model, before.where, before.recipe, point.batch_size or before.batch_size, sweep="path", point=more)


def _rows(study: Study, one: Path) -> Iterable[dict]:
    findings = Findings(study.results)
    before = one.start
    yield _row(findings, one, Step("start", one.start), None)
    for step in one.steps:
        yield _row(findings, one, step, before)
        ok = step.trial and step.goes_on and findings.state(step.trial).ok
        before = step.trial if ok else before


def _row(findings: Findings, one: Path, step: Step, before: Trial | None) -> dict:
    shared = dict.fromkeys(_COLUMNS, "") | {"model": one.start.model, "runtime": one.start.where, "step": step.name}
    if step.trial is None:
        return shared | {"setting": f"none: {step.why}", "goes on": "no"}
    state = findings.state(step.trial)
    setting = f"{step.trial.shown}, batch {step.trial.batch_size}" + (f", {step.trial.options}" if step.trial.options else "")
    if not state.ok:
        return shared | {"setting": f"{setting}; {state}", "goes on": _goes_on(step)}
    values = findings.values(step.trial)
    return shared | {
        "setting": setting,
        "p50_ms": wording.typical_ms(values),
        "samples_per_s": wording.interval(values, "throughput", 1),
        "over the step before": _over(before, step.trial, findings),
        "over the start": _over(one.start if before else None, step.trial, findings),
        "rss_peak_mb": wording.interval(values, "rss_peak", 1e6),
        "lost": lost(Variant(findings, step.trial, one.start)).words if before else "",
        "goes on": _goes_on(step),
    }


def _goes_on(step: Step) -> str:
    return "yes" if step.goes_on else f"no: not {_GAIN - 1:.0%} faster in a first look"


def _over(before: Trial | None, trial: Trial, findings: Findings) -> str:
    return findings.against(before, trial).words if before is not None and findings.state(before).ok else ""
