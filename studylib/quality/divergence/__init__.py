"""Where two models diverge: the first layer whose output is no longer the same, found by bisection over intermediate tensors."""

import importlib
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from studylib.errors import ArtifactError, lookup, said
from studylib.quality.divergence.matching import Pair, match, sqnr_db
from studylib.quality.divergence.opened import Opened

_READERS = {"keras": "keras", "keras_h5": "keras", "onnx": "onnx", "saved_model": "saved_model", "tflite": "litert"}
FORMATS = tuple(_READERS)


@dataclass(frozen=True)
class Divergence:
    """``layer`` is the first comparable layer below ``limit_db``, ``before`` the last one ahead of it that agrees (None: only the inputs).

    ``between`` are layers that lie between the two and cannot be compared, mostly because the converter fused them with ``layer``:
    the cause is in ``layer`` or in one of them. ``matched`` counts comparable layers, ``probes`` those that were read.
    """

    layer: str
    sqnr_db: float
    before: str | None
    before_sqnr_db: float | None
    between: tuple[str, ...]
    limit_db: float
    matched: int
    probes: int

    @property
    def text(self) -> str:
        """One sentence for people."""
        what = (
            " or ".join([*self.between, self.layer]) if len(self.between) < 6 else f"{self.layer} or one of {len(self.between)} before it"
        )
        agreed = f"after {self.before} ({_db(self.before_sqnr_db)})" if self.before else "right behind the inputs"
        return (
            f"The models diverge in {what}: {_db(self.sqnr_db)} at the output of {self.layer}, below {self.limit_db:g} dB, {agreed} "
            f"({self.probes} of {self.matched} comparable layers read)."
        )


def first_divergence(
    reference: tuple[Path, str], suspect: tuple[Path, str], inputs: dict[str, np.ndarray], limit_db: float
) -> Divergence | None:
    """The first layer whose output in ``suspect`` has an SQNR below ``limit_db`` against ``reference``, or None when all outputs
    agree: what goes wrong inside and never reaches an output with these inputs is not looked for.

    Models are (path, format) with a format among keras, saved_model, onnx and tflite; ``inputs`` are real samples, named as in the models.
    Tensors are matched by name within a format and by layer between formats, of equal shape up to NHWC or NCHW; quantized LiteRT
    tensors are dequantized first. Raises `ArtifactError` when a model cannot be run or the two have nothing to compare.
    """
    first, second = _opened(*reference, inputs), _opened(*suspect, inputs)
    pairs = match(first, second)
    if not pairs:
        raise ArtifactError(f"{reference[0]} and {suspect[0]} share no layer names and their outputs differ in number or shape; "
                            "give two conversions of the same model")  # fmt: skip
    return _Search(first, second, pairs, limit_db).run()


def _opened(path: Path, format: str, inputs: dict[str, np.ndarray]) -> Opened:
    reader = lookup(_READERS, "format", format)
    if not Path(path).exists():
        raise ArtifactError(f"{path} does not exist; give a {format} model")
    told = _told_in_words(f"{path} cannot be run as {format} with inputs {_shapes(inputs)}")
    model = told(importlib.import_module(f"{__name__}.{reader}").opened)(Path(path), inputs)
    return replace(model, read=told(model.read))


def _told_in_words(what: str):
    """Decorator: the runtimes refuse files and inputs by exceptions of their own, all of which become an `ArtifactError`."""

    def decorate(function):
        def call(*arguments):
            try:
                return function(*arguments)
            except (ArtifactError, ImportError, MemoryError):
                raise
            except Exception as error:
                raise ArtifactError(f"{what}: {said(error)}") from error

        return call

    return decorate


class _Search:
    """One search: it remembers what it has read, and never compares a pair twice."""

    def __init__(self, reference: Opened, suspect: Opened, pairs: list[Pair], limit_db: float):
        self.reference, self.suspect, self.pairs, self.limit_db = reference, suspect, pairs, limit_db
        self.known: dict[int, float] = {}
        self.behind = _ancestors(suspect, pairs)

    def run(self) -> Divergence | None:
        outputs = [index for index, pair in enumerate(self.pairs) if pair.suspect.name in self.suspect.outputs]
        worst = next((index for index in outputs or [len(self.pairs) - 1] if not self._agrees(index)), None)
        if worst is None:
            return None
        while (earlier := self._bisected(worst)) is not None:
            worst = earlier
        return self._found(worst)

    def _bisected(self, bad: int) -> int | None:
        """A diverging layer ahead of ``bad`` with nothing diverging known ahead of it, or None when all of those directly ahead agree."""
        line = sorted(self.behind[bad])
        low, high = -1, len(line)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._agrees(line[middle]) else (low, middle)
        if high < len(line):
            return line[high]
        # A branch that agrees may stand later in the order than the one that does not: each direct neighbour is asked.
        return next((index for index in self._nearest(bad) if not self._agrees(index)), None)

    def _nearest(self, index: int) -> list[int]:
        """The compared layers ahead of ``index`` with no other compared layer in between, latest first."""
        ahead = self.behind[index]
        hidden = {further for other in ahead for further in self.behind[other]}
        return sorted(ahead - hidden, reverse=True)

    def _agrees(self, index: int) -> bool:
        if index not in self.known:
            pair = self.pairs[index]
            self.known[index] = sqnr_db(self.reference.read(pair.reference.name), self.suspect.read(pair.suspect.name))
        return self.known[index] >= self.limit_db

    def _found(self, bad: int) -> Divergence:
        nearest = self._nearest(bad)
        before = nearest[0] if nearest else None
        return Divergence(
            layer=self.pairs[bad].layer,
            sqnr_db=self.known[bad],
            before=None if before is None else self.pairs[before].layer,
            before_sqnr_db=None if before is None else self.known[before],
            between=self._between(bad, nearest),
            limit_db=self.limit_db,
            matched=len(self.pairs),
            probes=len(self.known),
        )

    def _between(self, bad: int, nearest: list[int]) -> tuple[str, ...]:
        """Layers of the reference that lead from what agrees to what does not, and have no counterpart of their own."""
        if not self.reference.layers:
            return ()
        made = {tensor.name: tensor for tensor in self.reference.tensors}
        stop = {self.pairs[index].reference.name for index in nearest}
        waiting, found = list(self.pairs[bad].reference.reads), set()
        while waiting:
            name = waiting.pop()
            if name in made and name not in stop | found:
                found.add(name)
                waiting += made[name].reads
        return tuple(name for name in made if name in found)


def _ancestors(model: Opened, pairs: list[Pair]) -> list[set[int]]:
    """For each pair, the pairs that its suspect tensor is computed from."""
    index = {pair.suspect.name: place for place, pair in enumerate(pairs)}
    reached: dict[str, set[int]] = {}
    for tensor in model.tensors:
        ahead = [reached.get(name, set()) | ({index[name]} if name in index else set()) for name in tensor.reads]
        reached[tensor.name] = set().union(*ahead)
    return [reached[pair.suspect.name] for pair in pairs]


def _db(value: float) -> str:
    return "identical" if math.isinf(value) and value > 0 else f"{value:.1f} dB"


def _shapes(inputs: dict[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    return {name: values.shape for name, values in inputs.items()}
