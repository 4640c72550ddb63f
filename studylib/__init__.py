"""A model deployment study: which format, precision, runtime and settings, and how sure are we?

Notebooks say ``import studylib as sl`` and use these names; nothing else is meant for them.
Names load their module when they are first used, so that importing this package costs nothing.

>>> import studylib as sl
>>> study = sl.open_study("cpu", "smoke")  # doctest: +SKIP
>>> study.measure()                        # doctest: +SKIP
"""

import importlib

__version__ = "0.1.0"

# Where each name lives: a module, or ``module:name``.
_HOME = {
    "open_study": "study.opening:open_study",
    "Study": "study.study:Study",
    "read_results": "results.standing:read_results",
    "Results": "results.results:Results",
    "Trial": "results.records:Trial",
    "Measurement": "results.records:Measurement",
    "Artifact": "artifacts.store:Artifact",
    "hardware_sets": "params.sets:hardware_sets",
    "options": "params.study_options:options",
    "resolve": "params.sets:resolve",
    "probe": "machine.hardware:probe",
    "show_handmade": "models.zoo.handmade:show_handmade",
    "tables": "report.by_name:tables",
    "advise": "verdicts.advice:advise",
    "first_screen": "report.summary:first_screen",
    "recorded": "results.recording:recorded",
    "figures": "report.by_name:figures",
    "provenance": "results.standing:provenance",
    "run_case": "cases:run_case",
    "case_decision": "report.cases:decision",
    "case_figure": "report.cases:figure",
    "case_table": "report.cases:table",
    "predictor": "serving.predictor:predictor",
    "stats": "stats",
}
__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'studylib' has no attribute '{name}'. Known: {', '.join(__all__)}.")
    module, _, inner = _HOME[name].partition(":")
    found = importlib.import_module(f"studylib.{module}")
    return getattr(found, inner) if inner else found


def __dir__() -> list[str]:
    return __all__
