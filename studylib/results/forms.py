"""Results of earlier versions: ``run.json`` says in which form they lie, and each change of form has a line here.

Form 0 is everything before forms were numbered: trials that lack later fields, and whose names were hashes of the fields of their time.
Form 1 held reasons in words alone (`studylib.results.old_reasons` tells their kinds); since form 2 each has its kind beside it.
"""

import hashlib
import json
import re
from dataclasses import MISSING, asdict, fields

from studylib.errors import InputError
from studylib.results.records import UNNAMED, Conversion, Trial

FORM = 2
_NAME = re.compile(r"[0-9a-f]{16}")


def require_known(run: dict, where: str) -> None:
    """Refuse results that a later version wrote."""
    form = run.get("form", 0)
    if not isinstance(form, int) or form > FORM:
        raise InputError(
            f"{where} was written by a newer studylib (form {form}; this one reads up to {FORM}). Read it there, or update this one."
        )


def trial_to_json(trial: Trial) -> dict:
    """A trial as ``plan.json`` holds it, with the name under which its raw records lie."""
    return {field.name: getattr(trial, field.name) for field in fields(Trial) if field.name != "recorded_as"} | {"id": trial.id}


def conversion_to_json(conversion: Conversion) -> dict:
    """A cell of the matrix of formats as ``conversions.json`` holds it."""
    return asdict(conversion) | {"trial": conversion.trial and trial_to_json(conversion.trial)}


def trial_from_json(facts: dict) -> Trial:
    """A trial of any form. Its raw records are found under the name that it had when they were taken.

    Raises `TypeError` where a field is missing that no default stands for, or one stands there that no version knew.
    """
    known = {field.name: field for field in fields(Trial) if field.init}
    unknown = sorted(set(facts) - set(known) - {"id"})
    missing = sorted(name for name, field in known.items() if name not in facts and field.default is MISSING)
    if unknown or missing:
        raise TypeError(f"unknown: {', '.join(unknown)}; missing: {', '.join(missing)}")
    if not _NAME.fullmatch(str(facts.get("id", "0" * 16))):  # it names a folder
        raise TypeError(f"a trial's id is {facts['id']!r}; it must be 16 hexadecimal digits")
    trial = Trial(**{name: facts[name] for name in known if name in facts})
    object.__setattr__(trial, "recorded_as", facts.get("id") or _named_by(facts))  # not for trials that are derived from this one
    return trial


def _named_by(facts: dict) -> str:
    """The name of a trial of form 0: the hash of the fields that it had then."""
    named = {name: value for name, value in facts.items() if name not in UNNAMED}
    return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()[:16]
