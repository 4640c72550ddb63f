"""Models that the user brings, as files; and every model by what names it."""

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
