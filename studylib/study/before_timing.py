"""Before anything is timed: what speaks against this machine, and what it can do at most."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from studylib.machine import fitness as machine_fitness
from studylib.machine.fitness import Concern
from studylib.machine.wandering import look as look_at_speed
from studylib.measure import peaks
from studylib.params.paths import outputs_root
from studylib.scenarios.blocks import BLOCK_S

if TYPE_CHECKING:
    from studylib.study.study import Study

# Of a phone, its heat alone is seen from here, beside each repetition.
_UNSEEN = Concern(
    "what else a phone does is not seen from here, only how warm it says it is",
    "plug it in, keep its screen on and other apps closed, let it cool; trust interleaved comparisons and the A/A control",
)


def fitness(study: Study) -> list[Concern]:
    """What speaks against measuring on this machine, as it is now."""
    return [_UNSEEN] if study.plan.phone else machine_fitness.fitness(study.host, study.threads)


def wandering(study: Study) -> Concern | None:
    """Whether the speed of this machine wanders just now, and what this study will be able to tell all the same."""
    settings = study.params.settings
    blocks = round(settings.min_duration_s / BLOCK_S)
    return None if study.plan.phone else machine_fitness.wandering(look_at_speed(settings.repetitions, BLOCK_S, blocks))


def look(study: Study, again: bool) -> None:
    """Keep both with the results; measured ``again`` if wished."""
    study.results.save_fitness([asdict(advice) for advice in fitness(study)], again)
    if study.plan.phone:
        study.results.save_peaks({})  # those of this computer would be another host's
        return
    where, limit = outputs_root() / ".peaks", study.params.settings.timeout_s
    found = peaks.of_host(study.host.id, study.threads, where, study.executor, limit, study.write, again=again)
    study.results.save_peaks({study.threads: found})
