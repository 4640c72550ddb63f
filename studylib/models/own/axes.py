"""Where the batch lies in each input of a user's model: as the card, the file's names for axes, the data or the model itself say."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from studylib import stats
from studylib.errors import ArtifactError, RefusedError
from studylib.models.own.card import Card, InputCard
from studylib.models.zoo import Samples

# Asks the source model one query: (outputs by name, None), or (None, why it refused in words).
Ask = Callable[[dict], tuple[dict | None, str | None]]
NO_BATCH = "none"
_BATCH_NAME = re.compile(r"^(n|b|bs|batch(_?size|_?dim)?(_?\d+)?|\w+_batch(_?size)?)$", re.IGNORECASE)
_LENGTH_NAME = re.compile(r"seq|len|time|frame|token|audio|wav|num_samples|step|width|height|past|^[tlhw]$", re.IGNORECASE)
# Less than this and two answers are of different questions; sums in another order stay far above, dynamic quantization above too.
_SAME_DB = 20


@dataclass(frozen=True)
class Axes:
    """The batch axis of each input by name, None where it has none. ``how``: what says so. ``doubtful``: inputs of which nothing does."""

    of: dict[str, int | None]
    how: tuple[str, ...] = ()
    doubtful: tuple[str, ...] = ()

    def without(self) -> "Axes":
        """The same with no batch in the doubtful inputs: their first axis is a length."""
        kept = {name: None if name in self.doubtful else axis for name, axis in self.of.items()}
        return Axes(kept, self.how, self.doubtful)


def normalised(tensors: list[dict]) -> list[dict]:
    """Inputs whose open axes are None, however the file wrote them."""
    return [
        tensor if tensor["shape"] is None else tensor | {"shape": [None if size is None or size < 0 else size for size in tensor["shape"]]}
        for tensor in tensors
    ]


def read_axes(tensors: list[dict], card: Card, certain: bool) -> Axes:
    """What card and names say, and the custom where they are silent.

    By custom an open first axis is the batch; where that is fixed, the only open one. ``certain``: the format itself says so (Keras).
    Raises `ArtifactError` for an axis that is not there.
    """
    of, how, doubtful = {}, [], []
    for tensor in tensors:
        name, told = tensor["name"], card.inputs.get(tensor["name"], InputCard()).batch_axis
        named = {axis: kind for axis, symbol in enumerate(tensor.get("axes") or ()) if (kind := _kind(symbol, tensor["shape"][axis]))}
        if told is not None:
            of[name] = _told(tensor, told)
            how.append(f"'{name}': the card says that {_axis(of[name])} is the batch")
        elif "batch" in named.values():
            of[name] = next(axis for axis, kind in named.items() if kind == "batch")
        elif tensor["shape"] and tensor["shape"][0] is None and not certain:
            if 0 in named:
                of[name] = None
                how.append(f"'{name}': its first axis is a length by its name '{tensor['axes'][0]}', so it holds one sample a query")
            else:
                doubtful.append(name)
    batched = any(axis is not None for axis in of.values()) or any(
        tensor["shape"] and tensor["shape"][0] is None and tensor["name"] not in of for tensor in tensors
    )
    for tensor in tensors:
        if tensor["name"] not in of:
            of[tensor["name"]] = _customary(tensor["shape"]) if batched else None
    return Axes({tensor["name"]: of[tensor["name"]] for tensor in tensors}, tuple(how), tuple(doubtful))


def of_two_samples(samples: Samples, ask: Ask) -> str | None:
    """How the model answers two samples together: ``each`` as alone, which only a batch does; only the ``first``, which is a batch of
    one baked into the file; or ``mixed``. None where it cannot be told: it refuses, or answers the same question differently.
    """
    try:
        queries = [samples.batch(0, 1), samples.batch(1, 1), samples.batch(0, 1), samples.batch(0, 2)]
    except RefusedError:
        return None
    answers = []
    for query in queries:
        found, _ = ask(query)
        if found is None:
            return None
        answers.append({name: np.asarray(values) for name, values in found.items()})
    first, second, again, together = answers
    if any(not _same(first[name], again[name]) for name in first):
        return None
    scaled = [_scaled(together[name], first[name], second[name]) for name in first]
    if all(one is not False for one in scaled) and any(scaled):
        return "each"
    ignored = all(_same(together[name], first[name]) or _scaled(together[name], first[name], first[name]) for name in first)
    return "first" if ignored and not all(one is None for one in scaled) else "mixed"


def _scaled(together: np.ndarray, first: np.ndarray, second: np.ndarray) -> bool | None:
    """Whether ``together`` is ``first`` and then ``second`` along some axis; None for an output that is the same for all three."""
    for axis in range(first.ndim if first.shape == second.shape else 0):
        if _same(np.concatenate([first, second], axis), together):
            return True
    return None if _same(first, together) and _same(second, together) else False


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    if one.shape != other.shape or one.dtype.kind not in "fiub":
        return one.shape == other.shape and bool((one == other).all())
    one, other = one.astype(float), other.astype(float)
    if not (np.isfinite(one) == np.isfinite(other)).all():
        return False
    one, other = np.nan_to_num(one), np.nan_to_num(other)
    return bool((one == other).all()) or stats.sqnr_db(one, other) >= _SAME_DB


def _kind(symbol: str | None, size: int | None) -> str | None:
    """What the file's own name for an open axis says: ``batch``, ``length``, or nothing."""
    if not symbol or size is not None:
        return None
    return "batch" if _BATCH_NAME.match(symbol) else "length" if _LENGTH_NAME.search(symbol) else None


def _told(tensor: dict, told: int | str) -> int | None:
    if told == NO_BATCH:
        return None
    if told >= len(tensor["shape"]):
        raise ArtifactError(f"the card puts the batch of '{tensor['name']}' on axis {told}; it has {len(tensor['shape'])} axes")
    return told


def _customary(shape: list) -> int | None:
    dynamic = [axis for axis, size in enumerate(shape) if size is None]
    if 0 in dynamic:
        return 0
    # A fixed first axis of one before an open one is a batch of one signal; a state has its layers first and more axes.
    return dynamic[0] if len(dynamic) == 1 and (len(shape) > 2 or shape[0] != 1) else None


def _axis(axis: int | None) -> str:
    return "no axis" if axis is None else f"axis {axis}"
