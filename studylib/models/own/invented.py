"""Seeded inputs for a user's model where no data was given: shapes the file leaves open are tried, lengths and masks made to fit."""

import math
from dataclasses import dataclass, field

import numpy as np

from studylib.errors import ArtifactError
from studylib.models.own.axes import Ask, Axes, of_two_samples
from studylib.models.own.card import Card, InputCard
from studylib.models.own.roles import partner, role
from studylib.models.zoo import Samples

# Sizes to try for a dynamic axis that nobody told us, in this order: the first that the model answers is taken.
_SIZES = (128, 224, 512, 256, 64, 32, 16, 8, 1)
# Beyond this no axis of any length is meant: the samples of a study would not fit into memory.
_MOST_VALUES = 2**21
# What asking the model found of the first axis of inputs of which nothing else said what it is.
_FOUND = {
    "length": "the first axis is a length and no batch, since the model does not answer two samples as it answers each alone",
    "each": "the first axis is the batch, since the model answers two samples together as it answers each alone",
    "first": "the first axis is taken for the batch, of which the model answers the first sample only",
    "mixed": "the first axis is taken for the batch, although two samples are not answered as each alone; if it is a length, "
    "say `batch_axis: none` in the card",
    None: "the first axis is taken for the batch, by custom; the model did not tell. `batch_axis` in the card can say otherwise",
}
NO_DATA = "no DATA was given: inputs are seeded noise, so there is fidelity and speed and no accuracy"


@dataclass(frozen=True)
class Invention:
    """Which inputs to make up: axes and card as read, and the size of every axis that nobody told."""

    tensors: list[dict]
    card: Card
    axes: Axes
    size: int
    notes: list[str] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        """Whether any axis waits for a size."""
        return any(None in self._declared(tensor) for tensor in self.tensors)

    @property
    def too_large(self) -> bool:
        return any(math.prod(self.shape(tensor)) > _MOST_VALUES and None in self._declared(tensor) for tensor in self.tensors)

    def samples(self, n: int, seed: int, split: str) -> Samples:
        """``n`` samples. Inputs without a batch beside others that have one (a sampling rate) are the same for all."""
        rng = np.random.default_rng([seed, split == "train"])
        shared = any(axis is not None for axis in self.axes.of.values())
        inputs = {}
        self.notes.clear()
        for tensor in self.tensors:
            values = self._values(tensor, n, rng)
            alone = shared and self.axes.of[tensor["name"]] is None
            inputs[tensor["name"]] = np.repeat(values[:1], n, axis=0) if alone else values
        return Samples(inputs, None, self.axes.of)

    def shape(self, tensor: dict) -> list[int]:
        """The shape of one sample: the card's, the file's, those of the input that it is a mask of, and the size tried."""
        shape = self._declared(tensor)
        about = partner(tensor, self.tensors) if role(tensor) in ("mask", "padding", "types", "positions") else None
        if None in shape and about is not None:
            theirs = self.shape(about)
            shape = theirs if len(theirs) == len(shape) else shape
        names = [name for axis, name in enumerate(tensor.get("axes") or ()) if axis != self.axes.of[tensor["name"]]]
        names = names if len(names) == len(shape) else [None] * len(shape)
        return [self._size(name) if extent is None else extent for extent, name in zip(shape, names, strict=True)]

    def single(self) -> list[str]:
        """Inputs that are left with one value along an axis of any length, in words."""
        found = []
        for tensor in self.tensors:
            name, shape = tensor["name"], self._declared(tensor)
            if None in shape and self.size == 1:
                found.append(f"'{name}' is one value long where it may have any length, since the model answered no other length tried")
            elif not shape and name in self.axes.doubtful and role(tensor) is None:
                found.append(f"'{name}' is a single value a sample; if it is one signal of any length, say `batch_axis: none` in the card")
        return found

    # --- inside ------------------------------------------------------------------------------------------------------

    def _told(self, tensor: dict) -> InputCard:
        return self.card.inputs.get(tensor["name"], InputCard())

    def _declared(self, tensor: dict) -> list:
        told = self._told(tensor)
        return list(told.shape) if told.shape is not None else sample_shape(tensor, self.axes.of)

    def _size(self, name: str | None) -> int:
        """The size of an open axis. Exporters write sums of axes into its name: ``past_sequence_length + 1``."""
        parts = [part.strip() for part in (name or "").split("+")]
        return sum(int(part) if part.isdigit() else self.size for part in parts)

    def _values(self, tensor: dict, n: int, rng) -> np.ndarray:
        name, dtype, told, shape = tensor["name"], np.dtype(tensor["dtype"]), self._told(tensor), self.shape(tensor)
        if None in self._declared(tensor):
            self.notes.append(f"'{name}': dynamic axes are {self.size} long, so a sample has the shape {shape}")
        given = self._by_role(tensor, shape) if told.range is None else None
        if given is not None:
            return np.broadcast_to(np.asarray(given).astype(dtype), (n, *shape)).copy()
        if dtype.kind == "b":
            return rng.random((n, *shape)) < 0.5
        if dtype.kind in "iu":
            low, high = told.range or (0, 2)
            if told.range is None:
                self.notes.append(f"'{name}': whole numbers 0 and 1, since nothing says how large they may be")
            return rng.integers(int(low), int(high), (n, *shape)).astype(dtype)
        if told.range is None:
            self.notes.append(f"'{name}': standard normal values")
            return rng.standard_normal((n, *shape)).astype(dtype)
        return rng.uniform(*told.range, (n, *shape)).astype(dtype)

    def _by_role(self, tensor: dict, shape: list[int]):
        """What fits the other inputs, where this one speaks of them; None where it does not, or of none."""
        name, what, about = tensor["name"], role(tensor), partner(tensor, self.tensors)
        if what is None or about is None:
            return None
        if what == "length":
            if np.dtype(tensor["dtype"]).kind == "f":
                raise ArtifactError(
                    f"the input '{name}' seems to be the length of '{about['name']}', and as {tensor['dtype']} it may be a count or a "
                    "share of the longest: give DATA, or its range in the card"
                )
            length = self._length(about)
            if length is None:
                return None
            self.notes.append(f"'{name}': {length}, the length of '{about['name']}', as its name says")
            return length
        values = {"mask": 1, "padding": 0, "types": 0}
        if what == "positions":
            self.notes.append(f"'{name}': 0, 1, 2 … along its last axis, as its name says")
            return np.arange(shape[-1]) if shape else 0
        said = {"mask": "ones, so that all of it counts", "padding": "zeros, so that none of it is padding", "types": "zeros, one text"}
        self.notes.append(f"'{name}': {said[what]}, as its name says")
        return values[what]

    def _length(self, about: dict) -> int | None:
        """How long a sample of the input is: along its first axis of any length, otherwise along its first axis."""
        declared, shape = sample_shape(about, self.axes.of), self.shape(about)
        axis = next((axis for axis, extent in enumerate(declared) if extent is None and axis < len(shape)), 0)
        return shape[axis] if shape else None


def sample_shape(tensor: dict, of: dict[str, int | None]) -> list:
    """The shape of one sample: without the batch axis."""
    axis = of[tensor["name"]]
    return [size for index, size in enumerate(tensor["shape"]) if index != axis]


def invent(tensors: list[dict], card: Card, axes: Axes, split: str, n: int, seed: int, ask: Ask) -> tuple[Samples, dict]:
    """Samples that the model answers, and notes. Raises `ArtifactError` with the model's own words when it answers none."""
    chosen, reason = _first_answered(tensors, card, axes, seed, split, ask)
    how, doubts = list(axes.how), []
    if axes.doubtful:
        batch = chosen and of_two_samples(chosen.samples(2, seed, split), ask)
        # Of signals and of features in time the first axis may well be the time; of pictures it is not.
        flat = all(len(tensor["shape"]) <= 2 for tensor in tensors if tensor["name"] in axes.doubtful)
        if chosen is None or (batch == "mixed" and flat):
            other, why = _first_answered(tensors, card, axes.without(), seed, split, ask)
            chosen, reason = (other or chosen), (reason or why)
        found = "length" if chosen and chosen.axes != axes else batch
        how.append(f"{', '.join(repr(name) for name in axes.doubtful)}: {_FOUND[found]}")
        doubts = how[-1:] if found == "mixed" else []
    if chosen is None:
        raise ArtifactError(
            f"the model refuses seeded inputs of the shape its file declares: {reason}. Give real ones with DATA=file.npz, "
            "or say shapes and ranges in a card beside the model"
        )
    made = chosen.samples(n, seed, split)
    single = [*doubts, *chosen.single()]
    return made, {"assumed": [*how, *chosen.notes, NO_DATA]} | ({"single": single} if single else {})


def _first_answered(tensors, card, axes: Axes, seed: int, split: str, ask: Ask) -> tuple[Invention | None, str]:
    """The first size that the model answers with numbers; one that it answers with NaN where there is no better."""
    reason, answered = "", None
    for size in _SIZES:
        made = Invention(tensors, card, axes, size)
        if made.too_large:
            reason = reason or f"with open axes of {size} one sample would hold more than {_MOST_VALUES} values"
            continue
        outputs, refused = ask(made.samples(2, seed, split).batch(0, 1))
        if refused is None and _finite(outputs):
            return made, ""
        reason, answered = refused or reason, answered or (made if refused is None else None)
        if not made.is_open:
            break
    return answered, reason


def _finite(outputs: dict) -> bool:
    return all(np.isfinite(values).all() for values in map(np.asarray, outputs.values()) if values.dtype.kind == "f")
