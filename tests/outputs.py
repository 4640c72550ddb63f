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


def status_of(results, trial) -> tuple[str, str]:
    """What became of a trial, and why in words."""
    state = results.state(trial)
    return str(state.status), state.why


def conversion_status_of(results, cell) -> tuple[str, str]:
    """What became of a cell of the matrix of formats, and why in words."""
    state = results.conversion_state(cell)
    return str(state.status), state.why
