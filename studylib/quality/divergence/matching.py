"""Which tensor of one model is which tensor of another, and how alike the two are."""

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np

from studylib import stats
from studylib.quality.divergence.opened import Opened, Tensor


@dataclass(frozen=True)
class Pair:
    """The same value in both models. ``place`` is the suspect's position in its own order; ``layer`` is what people call it."""

    layer: str
    reference: Tensor
    suspect: Tensor
    place: int


def match(reference: Opened, suspect: Opened) -> list[Pair]:
    """Pairs in the suspect's order: the outputs by position, the others by name within one format and by layer between two."""
    finals = _outputs(reference, suspect)
    taken = {tensor.name for pair in finals for tensor in pair}
    left, right = ([tensor for tensor in model.tensors if tensor.name not in taken and tensor.shape] for model in (reference, suspect))
    inner = _by_name(left, right) if reference.format == suspect.format else []
    if not inner:
        inner = _by_layer(*_relabelled(left, right, reference, suspect))
    places = {tensor.name: place for place, tensor in enumerate(suspect.tensors)}
    pairs = [Pair(_called(a, b, reference, suspect), a, b, places[b.name]) for a, b in (*inner, *finals) if alike(a.shape, b.shape)]
    return sorted(pairs, key=lambda pair: pair.place)


def sqnr_db(reference: np.ndarray, suspect: np.ndarray) -> float:
    """SQNR in dB of the better of the possible layouts (as it is, channels first, channels last)."""
    wanted = _squeezed(np.asarray(reference, float))
    found = [stats.sqnr_db(wanted, other) for other in _layouts(_squeezed(np.asarray(suspect, float))) if other.shape == wanted.shape]
    return max(found, default=float("-inf"), key=lambda value: -np.inf if np.isnan(value) else value)


def alike(reference: tuple[int, ...], suspect: tuple[int, ...]) -> bool:
    """Whether two shapes are the same up to axes of size 1 and the place of the channels."""
    wanted = _squeezed(np.broadcast_to(0, reference)).shape
    return any(layout.shape == wanted for layout in _layouts(_squeezed(np.broadcast_to(0, suspect))))


def _squeezed(values: np.ndarray) -> np.ndarray:
    """Without axes of size 1, the batch kept."""
    return values.reshape([size for axis, size in enumerate(values.shape) if axis == 0 or size != 1])


def _layouts(values: np.ndarray) -> list[np.ndarray]:
    return [values] if values.ndim < 3 else [values, np.moveaxis(values, 1, -1), np.moveaxis(values, -1, 1)]


def _outputs(reference: Opened, suspect: Opened) -> list[tuple[Tensor, Tensor]]:
    if len(reference.outputs) != len(suspect.outputs):
        return []
    both = [{tensor.name: tensor for tensor in model.tensors} for model in (reference, suspect)]
    named = zip(reference.outputs, suspect.outputs, strict=True)
    return [(both[0][a], both[1][b]) for a, b in named if a in both[0] and b in both[1]]


def _by_name(left: list[Tensor], right: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
    known = {tensor.name: tensor for tensor in left}
    return [(known[tensor.name], tensor) for tensor in right if tensor.name in known]


def _by_layer(left: list[Tensor], right: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Tensors that are each the last one of the other's layers: a fused tensor meets the last layer that was fused into it."""
    return [(a, b) for a in left if (b := _last(right, a.labels)) is not None and _last(left, b.labels) is a]


def _last(tensors: list[Tensor], labels: frozenset[str]) -> Tensor | None:
    return next((tensor for tensor in reversed(tensors) if tensor.labels & labels), None)


def _relabelled(left: list[Tensor], right: list[Tensor], reference: Opened, suspect: Opened):
    """Both lists with labels of one kind: where one side has layer names, the other side's paths become those names."""
    if reference.layers == suspect.layers:
        return left, right
    names = {label for tensor in (left if reference.layers else right) for label in tensor.labels}
    names |= {label for tensor in (reference if reference.layers else suspect).tensors for label in tensor.labels}
    if reference.layers:
        return left, _named(right, names)
    return _named(left, names), right


def _named(tensors: list[Tensor], names: set[str]) -> list[Tensor]:
    """Paths replaced by the layer they lead through. TensorFlow numbers scopes (``conv2d_1`` may be the layer ``conv2d``), or does not."""
    ways = [
        [{_layer(path, names, plain) for path in tensor.labels} - {None} for tensor in tensors] for plain in (lambda s: s, _without_number)
    ]
    best = max(ways, key=lambda labels: len(Counter(label for found in labels for label in found)))
    return [Tensor(tensor.name, tensor.shape, frozenset(labels), tensor.reads) for tensor, labels in zip(tensors, best, strict=True)]


def _layer(path: str, names: set[str], plain) -> str | None:
    return next((plain(segment) for segment in reversed(path.split("/")) if plain(segment) in names), None)


def _without_number(segment: str) -> str:
    return re.sub(r"_\d+$", "", segment)


def _called(a: Tensor, b: Tensor, reference: Opened, suspect: Opened) -> str:
    """A Keras layer's name, else the last part of the path, else the tensor's name."""
    for tensor, model in ((a, reference), (b, suspect)):
        if model.layers:
            return tensor.name
    shared = sorted(a.labels & b.labels) or sorted(a.labels | b.labels)
    return a.name if reference.format == suspect.format or not shared else shared[-1]
