"""The model card: a small YAML file beside a user's model that says what the file itself cannot."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StrictFloat, StrictInt, StrictStr

from studylib.params import Section, read_yaml, validated

Number = StrictFloat | StrictInt
Numbers = Annotated[tuple[Number, ...], Field(min_length=1, max_length=4096)]
Task = Literal["classification", "question_answering", "speech_recognition", "other"]


class InputCard(Section):
    """One input: sizes of the dynamic axes, where the batch lies, and what its values are.

    ``shape``: the whole shape of one sample, without the batch axis. ``range``: smallest value and the first one too
    large, for seeded inputs. ``scale``, ``mean``, ``std``: applied to images in this order, value * scale, - mean, / std.
    """

    shape: Annotated[tuple[Annotated[StrictInt, Field(ge=1, le=2**24)], ...], Field(max_length=8)] | None = None
    batch_axis: Annotated[StrictInt, Field(ge=0, le=7)] | None = None
    range: tuple[Number, Number] | None = None
    scale: Number = 1 / 255
    mean: Numbers = (0.0,)
    std: Numbers = (1.0,)


class Card(Section):
    """What a model is for. Every key may be absent."""

    task: Task | None = None
    labels: Annotated[tuple[StrictStr, ...], Field(max_length=100_000)] | None = None
    inputs: dict[StrictStr, InputCard] = {}


def read_card(model: Path) -> Card:
    """The card beside ``model``, ``<file>.yaml`` or ``<stem>.yaml``; an empty one when there is none."""
    for path in (model.with_name(f"{model.name}.yaml"), model.with_suffix(".yaml")):
        if path.is_file():
            return validated(Card, read_yaml(path, str(path)), str(path))
    return Card()
