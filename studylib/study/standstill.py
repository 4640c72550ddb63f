"""The first server of a study is made to stand still now and then, and asked on a schedule and by a closed loop."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from studylib.errors import TrialError
from studylib.executors import LocalExecutor
from studylib.params.defaults import SEED
from studylib.results.records import SERVING, Trial
from studylib.serving import standstill
from studylib.serving.servers import SERVERS, Wishes

if TYPE_CHECKING:
    from studylib.study.study import Study


def look(study: Study, again: bool) -> None:
    """Ask it and keep what was read, unless that is there; nothing where no server of ours passed the parity gate."""
    trial = next((one for one in study.timed if _is_usual(one)), None)
    if trial is None or standstill.why_not() or not isinstance(study.executor, LocalExecutor):
        return
    found = study.results.standstill()
    if found.get("trial") == trial.id and not again:
        return
    study.write(f"a server that stands still now and then: {trial.model}, {trial.runtime}")
    path, backend = study.artifact(trial.artifact_key).path, trial.runtime.partition("/")[2]
    try:
        with SERVERS["own"].start(Wishes(path, backend, threads=trial.threads)) as running:
            read = standstill.both_ways(running, SERVERS["own"].wires[0], study.samples(trial.model), SEED)
    except (TrialError, OSError) as error:  # a figure less, and no study less
        study.write(f"that was not read: {error}")
        return
    study.results.save_standstill({"trial": trial.id, "model": trial.model, "server": trial.runtime} | asdict(read))


def _is_usual(trial: Trial) -> bool:
    """Whether it is a server of ours as it is, asked by one client."""
    return trial.sweep == SERVING and trial.runtime.startswith("own/") and not trial.options and trial.scenario == "single_stream"
