"""Trials that are one and the same under two names: the same bytes in the same runtime with the same settings.

A search that quantizes nothing writes fp32's own file. What differs between the two is noise, so one of them stands for both.
"""

from collections.abc import Callable

from studylib.results.records import Trial

# The plainest name first; a search comes after everything that it chooses from.
_PLAINEST = ("fp32", "fp16")


def doubles(trials: list[Trial], digest: Callable[[Trial], str], timed: Callable[[Trial], bool]) -> dict[str, Trial]:
    """Ids of trials that another one stands for, and which: one that was ``timed`` before one that was not, then the plainest recipe.

    ``digest``: the sha256 of a trial's artifact, empty where none is known. A/A controls repeat a trial on purpose and are none of these.
    """
    alike: dict[tuple, list[Trial]] = {}
    for trial in trials:
        if not trial.control and (sha256 := digest(trial)):
            alike.setdefault((sha256, *_settings(trial)), []).append(trial)
    found = {}
    for group in alike.values():
        if len(group) > 1:
            first = min(group, key=lambda trial: (not timed(trial), _plainness(trial)))
            found |= {trial.id: first for trial in group if trial is not first}
    return found


def _settings(trial: Trial) -> tuple:
    """All that decides what is measured of a file."""
    how = trial.scenario, trial.driver, trial.batch_size, trial.conditions
    return trial.model, trial.runtime, trial.runtime_version, trial.provider, trial.threads, trial.options, *how


def _plainness(trial: Trial) -> tuple:
    rank = _PLAINEST.index(trial.recipe) if trial.recipe in _PLAINEST else len(_PLAINEST)
    return rank, trial.recipe.startswith("adaptive"), trial.sweep != ""
