"""The load that a session is asked to bear, made of the one that its job names: warm-up, and how long a scenario needs."""

from dataclasses import replace

import numpy as np

from studylib.models.zoo import Samples
from studylib.runtimes import Session
from studylib.scenarios import drive, scenario_for
from studylib.scenarios.base import Driven, Load, RunLength
from studylib.scenarios.loadgen import duration_s

# The fewest warm-up queries.
_WARMUP = 3


def settled(load: Load, typical_ns: int = 1) -> Load:
    """The ``load`` of a job once the warm-up has told ``typical_ns``, with the length that its scenario needs."""
    load = replace(load, typical_ns=typical_ns)
    if load.scenario != "server":
        return load
    return replace(load, length=replace(load.length, min_duration_s=duration_s(load)))


def warm_up(session: Session, samples: Samples, load: Load, warmup_s: float) -> Driven:
    """Queries as they will come, one after the other, until the session has settled."""
    length = RunLength(_WARMUP, warmup_s, load.length.max_duration_s)
    scenario = "streaming" if load.scenario == "streaming" else scenario_for(load.batch_size)
    return drive(session, samples, Load(scenario, load.batch_size, length, states=load.states))


def typical_ns(warm: Driven) -> int:
    """The median of the warm-up, at least 1 ns."""
    return max(1, int(np.median(warm.values_ns)))
