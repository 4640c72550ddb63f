"""What a model answers on samples, one query at a time."""

from collections.abc import Callable

import numpy as np

from studylib import quality, varying
from studylib.errors import ArtifactError
from studylib.zoo import Samples

Run = Callable[[dict[str, np.ndarray]], quality.Outputs]


def answered(run: Run, samples: Samples) -> quality.Outputs:
    """Outputs of ``run`` on one sample at a time, with the batch axis of 1 kept: (n, …), or as `studylib.varying` keeps them."""
    return varying.gathered([run(samples.batch(index, 1)) for index in range(len(samples))])


def stacked(run: Run, samples: Samples) -> quality.Outputs:
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
