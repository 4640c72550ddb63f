"""What a study will do and take, told before it runs."""

import shutil
from dataclasses import dataclass

from studylib.params.recipe_names import split_recipe
from studylib.progress import duration
from studylib.results.records import Trial
from studylib.study.study import Study
from studylib.wording import digits

# What a process needs before its first value: one that opens a small ONNX file, and one that imports TensorFlow.
_SOONEST_S, _LATEST_S = 0.4, 6.0


@dataclass(frozen=True)
class Forecast:
    """``trials`` are timed in ``rounds`` each, unless parity or a first look takes them out; ``waiting`` repetitions are not there yet.

    ``least_s``, ``most_s``: what those and further rounds take, by the effort's own limits. ``artifacts``: how many files and folders
    the study needs, of which ``present`` are made, with ``present_bytes``. ``free_bytes``: on the disk they go to.
    """

    trials: int
    rounds: int
    waiting: int
    least_s: float
    most_s: float
    artifacts: int
    present: int
    present_bytes: int
    free_bytes: int

    @property
    def lines(self) -> list[str]:
        """For the terminal."""
        total = self.trials * self.rounds
        measured = f", {total - self.waiting} of them measured already" if self.waiting < total else ""
        lines = [f"to measure: {self.trials} trials x {self.rounds} rounds, {total} repetitions{measured}"]
        if self.waiting:
            measuring = f"measuring takes {duration(self.least_s)} to {duration(self.most_s)}, depending on how fast the models are"
            missing = self.artifacts > self.present
            lines.append(f"time: {measuring}{'; making what is missing comes before it' if missing else ''}")
        made = f"{self.present} are made ({digits(self.present_bytes / 1e6)} MB)" if self.present else "none is made yet"
        lines.append(f"disk: {self.artifacts} artifacts, {made}; {digits(self.free_bytes / 1e9)} GB are free")
        return lines


def forecast(study: Study) -> Forecast:
    """What ``study`` will take. Opens no model and writes nothing."""
    trials, settings = [trial for trial in study.trials if not trial.reason], study.params.settings
    done = [min(settings.repetitions, sum(m.status == "ok" for m in study.results.measurements(trial.id))) for trial in trials]
    waiting = len(trials) * settings.repetitions - sum(done)
    least = settings.warmup_s + settings.min_duration_s + _SOONEST_S
    one_thread, further = study.later
    each = settings.warmup_s + settings.max_duration_s + _LATEST_S
    most = (waiting + one_thread.most) * each + further.seconds if waiting else 0.0
    keys = dict.fromkeys(target.key for target in study.plan.targets)
    sizes = [size for size in map(study.store.size_of, keys) if size is not None]
    folder = next(parent for parent in (study.folder, *study.folder.parents) if parent.exists())
    free = shutil.disk_usage(folder).free
    return Forecast(len(trials), settings.repetitions, waiting, waiting * least, most, len(keys), len(sizes), sum(sizes), free)


def grouped(trials: list[Trial]) -> dict[str, list[str]]:
    """Trials that differ in recipe, batch and settings alone: what they share, and what each is."""
    groups: dict[str, list[str]] = {}
    for trial in trials:
        shared = f"{trial.model} {trial.where}, {trial.scenario}, {trial.threads} thread{'s' * (trial.threads > 1)}"
        groups.setdefault(shared, []).append(trial.label.removeprefix(f"{trial.where} "))
    return groups


def skipped(trials: list[Trial]) -> dict[str, list[str]]:
    """Reasons of skipped trials, those that differ in the recipe's name alone as one, and whose they are."""
    reasons: dict[str, list[Trial]] = {}
    for trial in trials:
        if trial.reason:
            reasons.setdefault(_without_recipe(trial), []).append(trial)
    return {
        found[0].reason if len({one.reason for one in found}) == 1 else reason: [f"{one.model} {one.label}" for one in found]
        for reason, found in reasons.items()
    }


def _without_recipe(trial: Trial) -> str:
    for name in (trial.recipe, split_recipe(trial.recipe)[1]):
        trial_reason = trial.reason.replace(name, "…")
        if trial_reason != trial.reason:
            return trial_reason
    return trial.reason
