"""Models that the user brings, as files; and every model by what names it."""

import hashlib
import json
from dataclasses import asdict

from studylib.models.own.model import OwnModel as OwnModel
from studylib.models.own.model import is_own as is_own
from studylib.models.zoo import MODELS, Model


def find_model(facts: str | dict) -> Model:
    """The model that `facts_of` described."""
    return MODELS[facts] if isinstance(facts, str) else OwnModel(**facts)


def facts_of(model: Model) -> str | dict:
    """What names a model, as plain JSON: its name in the zoo, or where the user's file lies and what was said of it."""
    return asdict(model) if isinstance(model, OwnModel) else model.name


def named(model: Model) -> str:
    """What names a model in a job: its name in the zoo, or its own name with the hash of all that the user gave, never where it lies."""
    if not isinstance(model, OwnModel):
        return model.name
    given = [model.source_facts(), model.data_facts(), model.task]
    return f"{model.name}-{hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()[:16]}"
