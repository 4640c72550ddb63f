"""A model deployment study: which format, precision, runtime and settings, and how sure are we?

Notebooks say ``import studylib as sl`` and use these names; nothing else is meant for them.
Names load their module when they are first used, so that importing this package costs nothing.

>>> import studylib as sl
>>> study = sl.open_study("cpu", "smoke")  # doctest: +SKIP
>>> study.measure()                        # doctest: +SKIP
"""

import importlib

_HOME = {
    "open_study": "opening",
    "Study": "study",
    "read_results": "standing",
    "Results": "results",
    "Trial": "records",
    "Measurement": "records",
    "Artifact": "artifact",
    "hardware_sets": "params",
    "options": "params",
    "resolve": "params",
    "probe": "hardware",
    "show_handmade": "zoo.handmade",
    "tables": "tables",
    "resource_tables": "resource_tables",
    "passport": "passport",
    "scenario_tables": "scenario_tables",
    "compression": "compression",
    "adaptive_verdicts": "adaptive_verdicts",
    "winners": "winners",
    "advise": "advice",
    "first_screen": "findings",
    "recorded": "recording",
    "sensitivity": "sensitivity",
    "why": "why",
    "swept": "swept",
    "formats": "formats",
    "roofline": "roofline",
    "figures": "figures",
    "compare": "compare",
    "stats": "stats",
}
__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'studylib' has no attribute '{name}'. Known: {', '.join(__all__)}.")
    module = importlib.import_module(f"studylib.{_HOME[name]}")
    return module if _HOME[name] == name else getattr(module, name)


def __dir__() -> list[str]:
    return __all__
