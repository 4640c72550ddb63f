"""What a model answers on samples, one query at a time."""

from collections.abc import Callable

import numpy as np

from studylib.errors import ArtifactError
from studylib.models.zoo import Samples
from studylib.quality import metrics, varying

Run = Callable[[dict[str, np.ndarray]], metrics.Outputs]


def answered(run: Run, samples: Samples) -> metrics.Outputs:
    """Outputs of ``run`` on one sample at a time, with the batch axis of 1 kept: (n, …), or as `studylib.quality.varying` keeps them."""
    return varying.gathered([run(samples.batch(index, 1)) for index in range(len(samples))])


def stacked(run: Run, samples: Samples) -> metrics.Outputs:
    """The same where every answer must be comparable. Raises `ArtifactError` where a shape differs from sample to sample."""
    found = answered(run, samples)
    for name, values in found.items():
        if varying.is_varying(values):
            shapes = sorted({one.shape for one in values})
            raise ArtifactError(
                f"the output '{name}' has another shape for another sample ({shapes[0]}, {shapes[1]}); such answers cannot be compared: "
                f"{varying.REMEDY}"
            )
    return found
