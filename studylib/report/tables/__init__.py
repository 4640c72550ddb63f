"""Tables for people, computed from the results and nothing else: ``sl.tables.<name>(results)``."""

import functools
import importlib

# Where each table is made, ``module:function``; a module is loaded when its table is first asked for.
_HOME = {
    "accuracy_changes": "report.tables.frames:accuracy_changes",
    "adaptive": "verdicts.adaptive_verdicts:verdicts",
    "artifacts": "report.tables.frames:artifacts",
    "conversions": "report.tables.formats:conversions",
    "disturbances": "report.tables.frames:disturbances",
    "fastest": "report.tables.frames:winners",
    "inside": "report.tables.formats:inside",
    "latency": "report.tables.frames:latency",
    "layers": "report.tables.sensitivity:layers",
    "memory": "report.tables.resources:memory",
    "not_measured": "report.tables.frames:not_measured",
    "operators": "report.tables.formats:operators",
    "passport": "verdicts.passport:table",
    "provenance": "results.standing:provenance",
    "quality": "report.tables.frames:quality",
    "reasons": "verdicts.why:reasons",
    "recorded": "report.tables.frames:recorded",
    "remarks": "report.tables.formats:remarks",
    "roofline": "report.tables.roof:rows",
    "scenarios": "report.tables.scenario_tables:scenarios",
    "searches": "report.tables.sensitivity:searches",
    "settings": "report.tables.swept:settings",
    "signatures": "report.tables.formats:signatures",
    "speed_ups": "report.tables.frames:speed_ups",
    "techniques": "verdicts.compression:techniques",
    "winners": "verdicts.winners:table",
}


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"there is no table '{name}'. Known: {', '.join(sorted(_HOME))}.")
    module, _, function = _HOME[name].partition(":")
    made_by = getattr(importlib.import_module(f"studylib.{module}"), function)

    @functools.wraps(made_by)
    def table(*arguments, **options):
        import pandas as pd

        from studylib.report.tables.shown import Table

        found = made_by(*arguments, **options)
        return Table(found) if isinstance(found, pd.DataFrame) else found

    return table


def __dir__() -> list[str]:
    return sorted(_HOME)
