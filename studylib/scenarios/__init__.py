"""How queries arrive. Names are MLPerf's; ``streaming`` and ``concurrency`` are ours.

``single_stream``: the next sample when the last is answered. ``multi_stream``: the same with eight samples in a query.
``offline``: all samples at hand, in batches. ``server``: queries come by chance at a given rate, to be answered within a bound.
``streaming``: the chunks of a signal in their order, through a model that hands its state on.
``concurrency``: several clients of a server at once, each with its next query when the last is answered.
"""

from dataclasses import dataclass, replace

from studylib.errors import lookup
from studylib.models.zoo import Samples
from studylib.runtimes import Session
from studylib.scenarios import arrivals, concurrency, loadgen, loop, streaming
from studylib.scenarios.base import Driven as Driven
from studylib.scenarios.base import Facts as Facts
from studylib.scenarios.base import Load as Load
from studylib.scenarios.base import RunLength as RunLength
from studylib.scenarios.loop import issue_queries as issue_queries

# A table: what is looked up in it is named by whoever asks (`studylib.artifacts.code`).
DECIDES_NOTHING = ("SCENARIOS",)

# Samples in a query of multi_stream, as MLPerf has it.
MULTI_STREAM_SAMPLES = 8
# The scenarios that a batch size stands for: what a study measures unless more is asked for.
USUAL_SCENARIOS = ("single_stream", "offline")
# LoadGen's way into Python and back costs some 4 µs a query (docs/decisions/0017), 2 % of this: quicker queries get the loop.
MICROSECONDS_NS = 200_000


@dataclass(frozen=True)
class Scenario:
    """A way of issuing queries: by a loop of ours, and ``by_loadgen`` unless LoadGen has no such scenario.

    ``each_query``: LoadGen enters Python with every query, so that a query of microseconds would mostly measure that. ``of_servers``: a
    study has it where it has servers (``SERVE``), and nowhere else.
    """

    name: str
    loop: object
    by_loadgen: bool = True
    each_query: bool = False
    of_servers: bool = False


SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario("single_stream", loop.drive, each_query=True),
        Scenario("multi_stream", loop.drive, each_query=True),
        Scenario("offline", loop.drive),
        Scenario("server", arrivals.drive),
        Scenario("streaming", streaming.drive, by_loadgen=False),
        Scenario("concurrency", concurrency.drive, by_loadgen=False, of_servers=True),
    )
}


def drive(session: Session, samples: Samples, load: Load, driver: str = "loop") -> Driven:
    """Issue queries as ``load`` says. Where LoadGen is asked for and cannot drive, the loop does, and the facts say why."""
    scenario = lookup(SCENARIOS, "scenario", load.scenario)
    if driver == "loop":
        return scenario.loop(session, samples, load)
    reason = why_loop(load)
    if reason is None:
        return loadgen.drive(session, samples, load)
    driven = scenario.loop(session, samples, load)
    return replace(driven, facts=replace(driven.facts, driver_reason=reason))


def why_loop(load: Load) -> str | None:
    """Why the loop drives although LoadGen was asked for, or None."""
    scenario = SCENARIOS[load.scenario]
    if not scenario.by_loadgen:
        return f"LoadGen has no scenario '{load.scenario}'"
    if scenario.each_query and load.typical_ns < MICROSECONDS_NS:
        took = f"{load.typical_ns / 1000:.0f} µs"
        return f"a query takes {took}; below {MICROSECONDS_NS // 1000} µs LoadGen's way into Python and back would be seen in it"
    return loadgen.why_not()


def planned(scenarios: tuple[str, ...], batch_sizes: tuple[int, ...]) -> list[tuple[str, int]]:
    """Scenarios with their batch sizes: the usual ones first, as the sizes say; multi_stream and streaming have one of their own."""
    found = [(scenario_for(size), size) for size in batch_sizes if scenario_for(size) in scenarios]
    own = {"multi_stream": [MULTI_STREAM_SAMPLES], "streaming": [1], "server": batch_sizes}
    return found + [(scenario, size) for scenario, sizes in own.items() if scenario in scenarios for size in sizes]


def scenario_for(batch_size: int) -> str:
    """One sample at a time is ``single_stream``; larger batches are ``offline``."""
    return "single_stream" if batch_size == 1 else "offline"
