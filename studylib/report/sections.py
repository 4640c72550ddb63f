"""The sections of the report, each a table or a figure, in one registry: `sl.tables`, `sl.figures` and the report are made of it."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from studylib.errors import lookup


@dataclass(frozen=True)
class Section:
    """One table or one figure. ``id`` names it in the page, its file and, with ``_`` for ``-``, in ``sl.tables`` or ``sl.figures``.

    ``order``: its place among those of its kind in the report; None for what only notebooks show. ``home``: the function of `Findings`
    that makes it, ``module:name`` below `studylib.report`; loaded when it is first asked for.
    """

    id: str
    title: str
    order: int | None
    home: str

    @property
    def make(self) -> Callable:
        module, _, name = self.home.partition(":")
        return getattr(importlib.import_module(f"studylib.report.{module}"), name)

    @property
    def name(self) -> str:
        return self.id.replace("-", "_")


TABLES = (
    Section("passport", "Is this machine fit to measure?", 10, "tables.passport:passport"),
    Section("winners", "Winner of each model within the accuracy budget, against its baseline", 20, "tables.winners:winners"),
    Section("over_models", "Winners over their baselines, the mean over all models", 25, "tables.winners:over_models"),
    Section("projects", "Which to choose for which project", 30, "tables.projects:projects"),
    Section("techniques", "Every technique: what it saves and what it costs", 40, "tables.techniques:techniques"),
    Section("why", "Why a variant is slower or worse than fp32", 50, "tables.why:why"),
    Section("adaptive", "Adaptive recipes against uniform ones", 60, "tables.adaptive:adaptive"),
    Section("found", "What the searches for adaptive recipes found", 70, "tables.searches:found"),
    Section("layers", "Sensitivity of layers", 80, "tables.searches:layers"),
    Section("searches", "Every step of the searches", 90, "tables.searches:searches"),
    Section("speed_ups", "Speed-up over the baseline", 100, "tables.latency:speed_ups"),
    Section("further_rounds", "Further rounds of what decides and was not decided", 105, "tables.further_rounds:further_rounds"),
    Section("settings", "What each setting is worth", 110, "tables.sweeps:settings"),
    Section("latency", "Latency, throughput, memory and cold start", 120, "tables.latency:latency"),
    Section("roofline", "How far from this machine's limit", 130, "tables.roofline:roofline"),
    Section("peaks", "What this machine can do at most", 140, "tables.roofline:peaks"),
    Section("memory", "Memory of the process, step by step", 150, "tables.resources:memory"),
    Section("energy", "Energy of a query", 160, "tables.resources:energy"),
    Section("placements", "Which provider runs which nodes", 170, "tables.resources:placements"),
    Section("scenarios", "Scenarios. LoadGen-driven, not MLPerf results.", 180, "tables.scenarios:scenarios"),
    Section("rates", "How the rate of each server was found", 190, "tables.scenarios:rates"),
    Section("driving", "Whether this machine can ask and serve at once", 191, "tables.served:driving"),
    Section("servers", "Models behind servers: one client, beside the same runtime without a server", 192, "tables.served:servers"),
    Section("wires", "What the wire costs", 194, "tables.served:wires"),
    Section("load", "Several clients at once, and requests put together", 196, "tables.served:load"),
    Section("serving_claims", "What the article on serving claims", 198, "tables.served:serving_claims"),
    Section("quality", "Quality and parity", 200, "tables.quality:quality"),
    Section("batches", "Batches, held against single answers before they are timed", 210, "tables.batches:batches"),
    Section("accuracy_changes", "Change of accuracy on the same samples", 220, "tables.quality:accuracy_changes"),
    Section("artifacts", "Artifacts", 230, "tables.artifacts:artifacts"),
    Section("conversions", "From format to format: every conversion", 240, "tables.conversions:conversions"),
    Section("outputs", "Fidelity of each output", 250, "tables.conversions:outputs"),
    Section("inside", "What is inside", 260, "tables.conversions:inside"),
    Section("operators", "Operators of each float file", 270, "tables.conversions:operators"),
    Section("signatures", "Inputs and outputs of each source model", None, "tables.conversions:signatures"),
    Section("remarks", "What was assumed, repaired, or cannot run", 280, "tables.conversions:remarks"),
    Section("not_measured", "Trials without numbers", 290, "tables.trials:not_measured"),
    Section("recorded", "Functions that were recorded", 300, "tables.recorded:recorded"),
    Section("disturbances", "Repetitions that were thrown away", 310, "tables.trials:disturbances"),
)
FIGURES = (
    Section("within-budget", "What keeps the accuracy budget, by median latency", 10, "figures.budget:within_budget"),
    Section("trade-off", "Size, quality and latency of every variant", 20, "figures.trade_off:trade_off"),
    Section("speed-up", "Speed-up over the baseline, and this run's noise floor", 30, "figures.speed_up:speed_up"),
    Section("roofline", "How far from this machine's limit", 40, "figures.roofline:roofline"),
    Section("latency", "Latency distributions", 50, "figures.latency:latency"),
    Section("scenarios", "Latency by scenario", 60, "figures.scenarios:scenarios"),
    Section("serving", "Where the time of a served query goes, and answers a second over clients", 65, "figures.serving:serving"),
    Section("standstill", "What a closed loop hides: a server that stands still now and then", 66, "figures.standstill:standstill"),
    Section("size", "Size on disk", 70, "figures.size:size"),
    Section("sensitivity", "Sensitivity of layers", 80, "figures.sensitivity:sensitivity"),
    Section(
        "precisions",
        "Which operators compute in integers, and where values change between integers and float",
        90,
        "figures.precisions:precisions",
    ),
    Section("batch", "Throughput over the batch size", 100, "figures.batch:batch"),
    Section("formats", "From format to format: parity, time and size of every conversion", 110, "figures.formats:formats"),
    Section("inside", "What is inside each float file", 120, "figures.formats:inside"),
)


def in_report(sections: tuple[Section, ...]) -> list[Section]:
    """Those that the report shows, in its order."""
    return sorted((one for one in sections if one.order is not None), key=lambda one: one.order)


def named(sections: tuple[Section, ...], kind: str, name: str) -> Section:
    """The section of this name. Raises `UnknownNameError`."""
    return lookup({one.name: one for one in sections}, kind, name)
