"""What is asked of a ranking and of a search: a float model, samples to calibrate and to judge by, and what its answers mean."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from studylib.adaptive.layers import Calibrated
from studylib.models.zoo import Samples


@dataclass(frozen=True)
class SearchTask:
    """``path``: the fp32 file, in ``format``. ``reference``: the source model's outputs on ``held_back``, arrays (n, …) as
    `studylib.build.sources.answer` gives them, which ``kind`` (classification and its like) says how to read.

    ``scratch``: a folder for what is written meanwhile. ``on_step`` is told each step as it ends. ``model``: what the format's surgeon
    made of ``path`` with the ``calibration`` samples, where that is done already; its seconds do not count then.
    """

    path: Path
    format: str
    calibration: Samples
    held_back: Samples
    reference: dict[str, np.ndarray]
    kind: str
    scratch: Path
    on_step: Callable[[dict], None] | None = None
    model: Calibrated | None = None
