"""What an input says of another one, by its name and type: a length, a mask, types or positions of tokens."""

import re

import numpy as np

# Words of a length that is no fact about another input: a setting of what is computed.
_SETTINGS = re.compile(r"(^|_)(max|min|out|output|hop|win|window|beam|new|chunk|stride)(_|$)")
_LENGTH = re.compile(r"^(?P<of>.*?)_?(seq_?|sequence_?)?(len|lens|length|lengths)$")
_PADDING = re.compile(r"pad(ding|ded)?_?mask|mask_?pad")
_MASK = re.compile(r"(^|_)masks?($|_)|mask$")
_TYPES = re.compile(r"(^|_)(token_?type|segment|input_?type|type)_?(ids?|mask)?$")
_POSITIONS = re.compile(r"(^|_)(cache_)?(position|pos|positions)(_ids?)?$")


def role(tensor: dict) -> str | None:
    """``length``, ``padding``, ``mask``, ``types`` or ``positions``; None for an input that holds values of its own.

    A ``mask`` has ones where others count, a ``padding`` mask zeros there.
    """
    name, kind = _plain(tensor["name"]), np.dtype(tensor["dtype"]).kind
    if _PADDING.search(name):
        return "padding"
    if kind in "iu" and _TYPES.search(name):
        return "types"
    if _MASK.search(name):
        return "mask"
    if kind in "iu" and _POSITIONS.search(name):
        return "positions"
    if kind in "iuf" and _LENGTH.match(name) and not _SETTINGS.search(name):
        return "length"
    return None


def partner(tensor: dict, tensors: list[dict]) -> dict | None:
    """The input that ``tensor``, which has a `role`, speaks of: the one its name names, otherwise the first with an open axis."""
    others = [other for other in tensors if role(other) is None and other["shape"]]
    found = _LENGTH.match(_plain(tensor["name"]))
    stem = found["of"].strip("_") if found else ""
    names = {id(other): _plain(other["name"]) for other in others}
    for fits in (str.__eq__, str.startswith, str.__contains__):
        named = [other for other in others if stem and fits(names[id(other)], stem)]
        if named:
            return named[0]
    is_open = [other for other in others if None in other["shape"][1:]] or [other for other in others if None in other["shape"]]
    return next(iter(is_open or others), None)


def _plain(name: str) -> str:
    """A tensor's name in small letters, without a position and a signature's prefix."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.split(":")[0].split("/")[-1])
    return re.sub(r"[^a-z0-9]+", "_", spaced.lower()).removeprefix("serving_default_").strip("_")
