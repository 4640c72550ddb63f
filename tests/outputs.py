"""What a session or a recipe gave back, where it is one thing."""

from pathlib import Path

import numpy as np


def only(outputs: dict) -> np.ndarray:
    """The one output of a model that has one."""
    (values,) = outputs.values()
    return np.asarray(values)


def path_of(written) -> Path:
    """The path of what a recipe's ``write`` gave back, with notes or without."""
    return written[0] if isinstance(written, tuple) else written
