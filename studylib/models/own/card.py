"""The model card: a small YAML file beside a user's model that says what the file itself cannot."""

import math
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StrictFloat, StrictInt, StrictStr, field_validator, model_validator

from studylib.params.yaml_files import Section, read_yaml, validated

Number = StrictFloat | StrictInt
Numbers = Annotated[tuple[Number, ...], Field(min_length=1, max_length=4096)]
_MOST_VALUES = 2**28
Task = Literal["classification", "question_answering", "speech_recognition", "other"]


class InputCard(Section):
    """One input: sizes of the dynamic axes, where the batch lies, and what its values are.

    ``shape``: the whole shape of one sample, without the batch axis. ``batch_axis``: its number, or ``none`` where no axis is the
    batch (a signal of any length, asked for alone). ``range``: smallest value and the first one too
    large, for seeded inputs. ``scale``, ``mean``, ``std``: applied to images in this order, value * scale, - mean, / std.
    """

    shape: Annotated[tuple[Annotated[StrictInt, Field(ge=1, le=2**24)], ...], Field(max_length=8)] | None = None
    batch_axis: StrictInt | StrictStr | None = None
    range: tuple[Number, Number] | None = None
    scale: Number = 1 / 255
    mean: Numbers = (0.0,)
    std: Numbers = (1.0,)

    @field_validator("batch_axis", mode="plain")
    @classmethod
    def _axis(cls, value):
        value = value.lower() if isinstance(value, str) else value
        if value is None or value == "none" or (type(value) is int and 0 <= value <= 7):
            return value
        raise ValueError("it should be the number of an axis, 0 to 7, or none where no axis is the batch")

    @field_validator("range", "scale", "mean", "std")
    @classmethod
    def _finite(cls, values):
        if values is not None and not all(math.isfinite(value) for value in (values if isinstance(values, tuple) else (values,))):
            raise ValueError("it should hold finite numbers")
        return values

    @model_validator(mode="after")
    def _sensible(self):
        if self.range is not None and not self.range[0] < self.range[1]:
            raise ValueError("range should name a smaller number and then a larger one")
        if self.scale == 0 or 0 in self.std:
            raise ValueError("scale and std should not be 0: pictures are multiplied by one and divided by the other")
        if self.shape is not None and math.prod(self.shape) > _MOST_VALUES:
            raise ValueError(f"shape should hold at most {_MOST_VALUES} values, and holds {math.prod(self.shape)}")
        return self


class Card(Section):
    """What a model is for. Every key may be absent."""

    task: Task | None = None
    labels: Annotated[tuple[StrictStr, ...], Field(max_length=100_000)] | None = None
    inputs: dict[StrictStr, InputCard] = {}
    # Of a file with several signatures, each a function of its own, the one to measure.
    signature: Annotated[StrictStr, Field(min_length=1, max_length=1000)] | None = None


def read_card(model: Path) -> Card:
    """The card beside ``model``, ``<file>.yaml`` or ``<stem>.yaml``; an empty one when there is none."""
    for path in (model.with_name(f"{model.name}.yaml"), model.with_suffix(".yaml")):
        if path.is_file():
            return validated(Card, read_yaml(path, str(path)), str(path))
    return Card()
