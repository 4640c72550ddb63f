"""Layers whose precision can be chosen, and the operators between them that have to follow."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from studylib.errors import InputError, RefusedError, suggestion
from studylib.models.zoo import Samples

FLOAT, DYNAMIC, STATIC = PRECISIONS = ("fp32", "dynamic_wi8_afp32", "static_wi8_ai8")
Run = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Layer:
    """A quantizable operator (Conv, Gemm, MatMul, LSTM …). ``parameters``: constant weights it reads.

    ``name``: the same whenever the same model is built and converted again. ``precisions``: what its kernels can do here.
    """

    name: str
    operator: str
    parameters: int
    precisions: tuple[str, ...] = PRECISIONS


@dataclass(frozen=True)
class Operator:
    """An operator of the graph: its name, its kind, and the activations (no constants) that it reads and writes."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Calibrated:
    """A model made ready once, from which any number of mixed files are written. ``ranges``, ``means`` of inputs: the format's own."""

    format: str
    path: Path
    layers: tuple[Layer, ...]
    ranges: object = None
    means: dict[str, np.ndarray] = field(default_factory=dict)


class Surgeon(ABC):
    """Reads the layers of files of one format and writes files in which each has a precision of its own.

    ``packages``: whose versions decide what is written, and how fast it is.
    """

    format: str
    packages: tuple[str, ...]

    @abstractmethod
    def layers(self, path: Path) -> list[Layer]:
        """The quantizable operators in the order of the graph. Raises `RefusedError` for a file that has none."""

    @abstractmethod
    def calibrated(self, path: Path, samples: Samples, folder: Path) -> Calibrated:
        """The ranges of all activations over ``samples``, streaming; files it needs go into ``folder``."""

    @abstractmethod
    def apply(self, model: Calibrated | Path, assignment: dict[str, str], target: Path) -> Path:
        """Write ``target`` with the precisions of ``assignment`` (layer to precision); unnamed layers stay fp32.

        Raises `RefusedError` for a static precision without calibration, `InputError` for an unknown layer or precision.
        """

    @abstractmethod
    def open(self, path: Path, threads: int) -> Run:
        """The file as a function from inputs by name to outputs by name."""

    def layer_times(self, model: Calibrated, path: Path, queries: list[dict], threads: int) -> dict[str, float] | None:
        """Seconds that each layer of ``model`` takes of one query of its file ``path``; None where the runtime does not tell."""
        return None

    def work(self, model: Calibrated) -> dict[str, float]:
        """How much each layer computes, in any unit."""
        return {layer.name: float(max(1, layer.parameters)) for layer in model.layers}


def check_samples(samples: Samples, what: str) -> None:
    """Raise `RefusedError` when there are none."""
    if not len(samples):
        raise RefusedError(f"the {what} samples are empty; give at least one, better 16 or more real ones")


def check_assignment(assignment: dict[str, str], layers: tuple[Layer, ...] | list[Layer]) -> None:
    """Raise `InputError` for a layer that is not there, and for a precision that does not exist or that its kernels lack."""
    known = {layer.name: layer for layer in layers}
    for name, precision in assignment.items():
        if name not in known:
            raise InputError(
                f"The model has no layer '{name}'; it has {len(known)}, first '{next(iter(known), '')}'.{suggestion(name, known)}"
            )
        if precision not in PRECISIONS:
            raise InputError(
                f"Unknown precision '{precision}' of layer '{name}'. Known: {', '.join(PRECISIONS)}.{suggestion(precision, PRECISIONS)}"
            )
        if precision not in known[name].precisions:
            allowed = ", ".join(known[name].precisions)
            raise InputError(f"Layer '{name}' ({known[name].operator}) cannot be {precision} in this format; it can be {allowed}.")


def short_names(names: list[str]) -> list[str]:
    """Paths without the scopes that all of them share (the model's own name); alike ones are numbered."""
    parts = [name.split("/") for name in names]
    while len({path[0] for path in parts}) == 1 and all(len(path) > 1 for path in parts):
        parts = [path[1:] for path in parts]
    found: list[str] = []
    for name in ("/".join(path) for path in parts):
        twins = sum(other == name or other.startswith(f"{name}#") for other in found)
        found.append(f"{name}#{twins + 1}" if twins else name)
    return found


def uniform(layers, precision: str) -> dict[str, str]:
    """Every layer that can have ``precision`` has it."""
    return {layer.name: precision for layer in layers if precision in layer.precisions and precision != FLOAT}


def carried(operators: list[Operator], static: set[str], carriers: frozenset[str], activations: frozenset[str] = frozenset()) -> set[str]:
    """Names of the operators between ``static`` ones that have to compute in integers too, lest values go to float and back.

    One of ``carriers`` follows when all it reads comes out of integers and something that computes in integers reads it.
    One of ``activations`` directly behind a static layer always follows: runtimes fuse it into that layer.
    ``operators`` stand in the order of computation.
    """
    producers = {name: operator for operator in operators for name in operator.outputs}
    ahead: set[str] = set()
    closing: set[str] = set()
    for operator in operators:
        fed = [producers.get(name) for name in operator.inputs]
        if operator.name in static or not fed:
            continue
        if operator.kind in activations and fed[0] and fed[0].name in static:
            closing.add(operator.name)
        if operator.kind in carriers | activations and all(one and one.name in static | ahead | closing for one in fed):
            ahead.add(operator.name)
    wanted = {name for operator in operators if operator.name in static for name in operator.inputs}
    kept: set[str] = set()
    for operator in reversed(operators):
        if operator.name in ahead and wanted & set(operator.outputs):
            kept.add(operator.name)
            wanted |= set(operator.inputs)
    return kept | closing
