"""Names of inputs where a format allows fewer characters than the one before: TensorFlow takes identifiers only."""

import keyword
import re
from collections.abc import Iterable, Mapping

import numpy as np


def identifier(name: str) -> str:
    """The name of an input as a signature of TensorFlow can have it: ``input.1`` as ``input_1``, ``0`` as ``input_0``."""
    plain = re.sub(r"\W", "_", name, flags=re.ASCII)
    usable = re.match("[A-Za-z]", plain) and not keyword.iskeyword(plain) and plain not in ("self", "cls")
    return plain if usable else f"input_{plain}"


def as_known(inputs: Mapping[str, np.ndarray], known: Iterable[str]) -> dict[str, np.ndarray]:
    """Inputs under the names that a file has, where those are the identifiers of the given ones; otherwise as they are."""
    known = set(known)
    if inputs.keys() == known:
        return dict(inputs)
    renamed = {name if name in known else identifier(name): values for name, values in inputs.items()}
    return renamed if renamed.keys() == known and len(renamed) == len(inputs) else dict(inputs)
