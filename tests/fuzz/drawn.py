"""What a generator gives: a model file as a stranger brings one, and in words what it is."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Drawn:
    """A model at ``path``. ``kind``: keras, onnx or litert. ``words``: how it was drawn."""

    path: Path
    kind: str
    words: str


def chance(rng: np.random.Generator, share: float) -> bool:
    return bool(rng.random() < share)


def one_of(rng: np.random.Generator, values):
    """One of a list, whatever its members are."""
    return values[int(rng.integers(len(values)))]
