"""What a job says about its scenario, and the load that a worker makes of it: written here, read here."""

from dataclasses import asdict

import numpy as np

from studylib.models.zoo import Samples
from studylib.runtimes import Session
from studylib.scenarios import drive, scenario_for
from studylib.scenarios.base import Budget, Driven, Load
from studylib.scenarios.loadgen import duration_s

# The fewest warm-up queries.
_WARMUP = 3


def asked(scenario: str, batch_size: int, budget: Budget, **more) -> dict:
    """The part of a job that describes its load, plain JSON; ``more``: further fields of `Load`."""
    return {"load": asdict(Load(scenario, batch_size, budget, **more))}


def load_of(job: dict, typical_ns: int = 1) -> Load:
    """The load that a job asks for, with the budget that its scenario needs."""
    facts = job["load"] | {"budget": Budget(**job["load"]["budget"]), "typical_ns": typical_ns}
    load = Load(**facts)
    if load.scenario != "server":
        return load
    budget = Budget(load.budget.min_values, duration_s(load), load.budget.max_duration_s)
    return Load(**facts | {"budget": budget})


def warm_up(session: Session, samples: Samples, job: dict) -> Driven:
    """Queries as they will come, one after the other, until the session has settled."""
    load = load_of(job)
    budget = Budget(_WARMUP, job["settings"]["warmup_s"], load.budget.max_duration_s)
    scenario = "streaming" if load.scenario == "streaming" else scenario_for(load.batch_size)
    return drive(session, samples, Load(scenario, load.batch_size, budget, states=load.states))


def typical_ns(warm: Driven) -> int:
    """The median of the warm-up, at least 1 ns."""
    return max(1, int(np.median(warm.values_ns)))
