"""Samples for inputs that hold whole numbers on a grid: made or read as real numbers, and stored as the file stores them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from studylib.errors import ArtifactError
from studylib.formats.inside.grids import Grid, grids
from studylib.models.own.card import Card, InputCard
from studylib.models.zoo import Samples

Make = Callable[[list[dict], Card, Callable], tuple[Samples, dict]]
# Beyond the ends of a grid lie outliers; more than this share of them were scaled for something else.
_MOST_OUTSIDE = 0.05


def samples(make: Make, tensors: list[dict], card: Card, source: Path, format: str, given: bool, ask: Callable) -> tuple[Samples, dict]:
    """What ``make(tensors, card, ask)`` gives, in the types of a quantized file.

    Whole numbers in the user's data (``given``) are taken as they are; real ones, pictures that the input cannot hold as they are,
    and invented values are put on the file's own grid.
    """
    known = {name: grid for name, grid in grids(source, format)["inputs"].items() if grid.stored}
    if not known:
        return make(tensors, card, ask)
    if given:
        try:
            return make(tensors, card, ask)
        except ArtifactError as error:
            as_it_is = error
    real = [tensor | {"dtype": "float32"} if tensor["name"] in known else tensor for tensor in tensors]
    try:
        made, notes = make(real, card if given else _ranged(card, known), lambda inputs: ask(_stored(inputs, known)))
    except ArtifactError:
        if given:
            raise as_it_is from None
        raise
    if given:
        for name, grid in known.items():
            _require_inside(name, grid, made.inputs[name])
    told = [
        f"'{name}': real numbers from {grid.bounds[0]:.4g} to {grid.bounds[1]:.4g}, stored as {grid.dtype} by the file's own scale"
        for name, grid in known.items()
    ]
    return replace(made, inputs=_stored(made.inputs, known)), notes | {"assumed": [*told, *notes.get("assumed", [])]}


def _ranged(card: Card, known: dict[str, Grid]) -> Card:
    """The card with the whole of each grid as the range of inputs of which it says none."""
    cards = {name: card.inputs.get(name, InputCard()) for name in known}
    ranges = {name: one.model_copy(update={"range": one.range or known[name].bounds}) for name, one in cards.items()}
    return card.model_copy(update={"inputs": {**card.inputs, **ranges}})


def _stored(inputs: dict[str, np.ndarray], known: dict[str, Grid]) -> dict[str, np.ndarray]:
    return {name: known[name].whole(values) if name in known else values for name, values in inputs.items()}


def _require_inside(name: str, grid: Grid, values: np.ndarray) -> None:
    low, high = grid.bounds
    outside = float(np.mean((values < low - grid.scale / 2) | (values > high + grid.scale / 2))) if values.size else 0.0
    if outside > _MOST_OUTSIDE:
        raise ArtifactError(
            f"DATA for '{name}' goes from {values.min():.4g} to {values.max():.4g}, and the file's {grid.dtype} input holds real numbers "
            f"from {low:.4g} to {high:.4g} ({100 * outside:.0f} % lie outside). Scale it as the model was trained, or give whole numbers "
            f"of {grid.dtype}"
        )
