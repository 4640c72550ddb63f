"""What the smoke study made: its samples, its reference outputs, its artifacts."""

from pathlib import Path

import numpy as np

from studylib.artifacts import arrays
from studylib.models.zoo import Samples
from tests.outputs import only


def samples_of(study, model: str = "mnist_cnn"):
    """The test samples of a study's model."""
    return Samples.load(study.artifact(study.plan.origins[model].samples).path)


def reference_of(study, model: str = "mnist_cnn") -> np.ndarray:
    """The outputs of a source model with one output, shape (samples, classes)."""
    outputs, _ = arrays.load(study.artifact(study.plan.origins[model].reference).path)
    return only(outputs)[:, 0]


def artifact_of(study, runtime) -> Path:
    """The path of a study's float artifact in the format that a runtime opens."""
    cells = [cell for cell in study.plan.conversions if not cell.reason and cell.target == runtime.format]
    return study.artifact(cells[0].keys[-1]).path
