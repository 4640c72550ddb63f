"""What is measured of servers: each beside its own runtime without one, several clients at once; of the first, wires and batching."""

from __future__ import annotations

from typing import TYPE_CHECKING

from studylib.errors import lookup
from studylib.results.records import PLAIN, SERVING, Trial
from studylib.serving.served import SERVED
from studylib.study.sweeps import Deviation

if TYPE_CHECKING:
    from studylib.study.plan import Plan

# By effort: clients at once, and (samples put together, ms that the first waits, clients at once).
_CLIENTS = {"smoke": ("16",), "quick": ("4", "16", "64"), "full": ("2", "4", "8", "16", "32", "64")}
_BATCHING = {
    "smoke": (("8", "2", "16"),),
    "quick": (("8", "0", "16"), ("8", "2", "16"), ("32", "5", "16"), ("8", "2", "4")),
    "full": tuple((batch, wait, clients) for batch in ("4", "8", "16", "32") for wait in ("0", "2", "5") for clients in ("4", "16", "64")),
}


def check(names: tuple[str, ...]) -> None:
    """Raise `UnknownNameError` for a server, or a runtime behind one, that is not known."""
    for name in names:
        lookup(SERVED, "server", name)


def trials(plan: Plan, model: str) -> list[Trial]:
    """The trials of the servers that the study names, of one recipe: fp32 where it is measured, otherwise the first."""
    names, recipes = plan.params.choice.serve, plan.recipes
    recipe = PLAIN if PLAIN in recipes else recipes[0]
    threads = max(1, plan.threads - 1)  # the client has a processor of its own

    def planned(name: str, scenario: str = "single_stream", **settings: str) -> Trial:
        return plan.planned(model, name, recipe, 1, sweep=SERVING, point=Deviation(settings, threads), scenario=scenario)

    found: list[Trial] = []
    for name in names:
        usual = planned(name)
        found.append(usual)
        if usual.reason:
            continue
        served, effort = SERVED[name], plan.params.effort
        direct = planned(served.backend.name)
        found += [direct] if direct not in found else []
        found += [planned(name, "concurrency", clients=count) for count in _CLIENTS[effort]]
        if name == names[0] or effort != "smoke":
            found += [planned(name, wire=wire) for wire in served.settings["wire"][1:]]
            found += [planned(name, "concurrency", batch=batch, wait=wait, clients=clients) for batch, wait, clients in _BATCHING[effort]]
        if "server" in plan.params.choice.scenarios:
            found.append(planned(name, "server", clients="32"))
    return found
