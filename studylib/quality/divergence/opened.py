"""An opened model of any format, as the search for a divergence sees it: named tensors in order, each of which can be read."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from studylib.errors import ArtifactError


@dataclass(frozen=True)
class Tensor:
    """One value that the model computes. ``labels``: paths of the layers it comes from; ``reads``: names of the tensors it is made of."""

    name: str
    shape: tuple[int, ...]
    labels: frozenset[str]
    reads: tuple[str, ...]


@dataclass(frozen=True)
class Opened:
    """``tensors`` in topological order, names of ``outputs``, and ``read``, which runs the model up to one tensor.

    ``layers`` is true where labels are names of layers (Keras) and false where they are paths of operators.
    """

    format: str
    tensors: list[Tensor]
    outputs: list[str]
    read: Callable[[str], np.ndarray]
    layers: bool = False


def paths(*names: str) -> frozenset[str]:
    """The layers' paths in names: ``StatefulPartitionedCall/net_1/conv_1/Relu;net_1/conv_1/add`` to ``net_1/conv_1``."""
    found = set()
    for name in (part for whole in names for part in whole.split(";")):
        segments = [segment for segment in name.split("/") if segment and not segment.startswith("StatefulPartitionedCall")]
        found.add("/".join(segments[:-1]))
    return frozenset(found - {""})


def arrange(inputs: dict[str, np.ndarray], wanted: list[str]) -> list[np.ndarray]:
    """The values of the inputs ``wanted``, in that order; the only input may have any name."""
    if len(inputs) == len(wanted) == 1:
        return list(inputs.values())
    if set(inputs) != set(wanted):
        raise ArtifactError(f"the model has the inputs {sorted(wanted)}, and {sorted(inputs)} were given")
    return [inputs[name] for name in wanted]


def natural(name: str) -> list:
    """A key that sorts ``output_10`` behind ``output_2``."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
