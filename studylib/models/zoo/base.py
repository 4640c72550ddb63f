"""What every model of the zoo is."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from studylib.artifacts import arrays
from studylib.errors import RefusedError
from studylib.formats.input_names import as_known, identifier
from studylib.models.zoo.downloads import PublishedFile


@dataclass(frozen=True)
class Samples:
    """Inputs by name, first axis the sample, and labels (class indices) or None where nobody labelled them.

    ``batch_axes``: where the samples of one query lie in the model's input, 0 unless said otherwise; None is an input
    without such an axis (a sampling rate, a whole query of fixed size), of which a query takes one.
    """

    inputs: dict[str, np.ndarray]
    labels: np.ndarray | None
    batch_axes: dict[str, int | None] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def batch(self, start: int, size: int) -> dict[str, np.ndarray]:
        """The inputs of one query: ``size`` consecutive samples from ``start`` on, going round at the end.

        Raises `RefusedError` for a size over one when an input has no batch axis and differs from sample to sample.
        """
        return self.gathered(np.arange(start, start + size) % len(self))

    def gathered(self, indices) -> dict[str, np.ndarray]:
        """The inputs of one query: the samples at these positions, in this order. Raises as `batch` does."""
        chosen = np.asarray(indices, int)
        return {name: self._query(name, values[chosen]) for name, values in self.inputs.items()}

    def _query(self, name: str, values: np.ndarray) -> np.ndarray:
        axis = self.batch_axes.get(name, 0)
        if axis is not None:
            return np.ascontiguousarray(np.moveaxis(values, 0, axis))
        if len(values) > 1 and not (values == values[0]).all():
            raise RefusedError(f"the input '{name}' has no batch axis: the model answers one sample a query, not {len(values)}")
        return np.array(values[0])

    def taken(self, indices: Iterable[int]) -> "Samples":
        """Some of the samples, by their positions."""
        chosen = np.fromiter(indices, int)
        labels = None if self.labels is None else self.labels[chosen]
        return Samples({name: values[chosen] for name, values in self.inputs.items()}, labels, self.batch_axes)

    def under(self, known: Iterable[str]) -> "Samples":
        """The same under the names that a file has for its inputs, where it could not keep theirs."""
        inputs = as_known(self.inputs, known)
        axes = {name if name in inputs else identifier(name): axis for name, axis in self.batch_axes.items()}
        return Samples(inputs, self.labels, axes)

    def content(self, index: int) -> bytes:
        """The bytes of one sample's inputs: equal for equal samples."""
        return b"".join(np.ascontiguousarray(self.inputs[name][index]).tobytes() for name in sorted(self.inputs))

    def save(self, folder: Path) -> Path:
        """Write them into ``folder/samples``."""
        labels = {} if self.labels is None else {_LABELS: self.labels}
        return arrays.save(folder / "samples", self.inputs | labels, {"batch_axes": self.batch_axes})

    @classmethod
    def load(cls, folder: Path) -> "Samples":
        inputs, facts = arrays.load(folder)
        labels = inputs.pop(_LABELS, None)
        return cls(inputs, None if labels is None else np.array(labels), facts["batch_axes"])


_LABELS = "labels of the samples"


class Model(ABC):
    """A model that a study can deploy.

    ``task``: classification, question_answering, speech_recognition or other. ``weights``: trained (here or by its
    authors), random, by hand, or own (the user's file); random weights never get an accuracy. ``inputs``: name to shape without
    the batch axis; ``dtypes``: their numpy types, float32 unless said. ``data``: whether its samples are real or
    synthetic. ``packages``: whose versions decide the weights and the data. ``test_samples``: how many samples an
    evaluation takes at most; ``train_samples``: how many a recipe that trains may learn from. ``independent_samples``:
    whether they are drawn independently; otherwise a share of them carries no interval. ``source_format``: what `write`
    writes; ``reads_file``: whether its samples are made to fit what that file says; ``precision``: what it holds, one of
    `studylib.formats.inside.precision.KINDS`; ``trust``: whether that file may run code; ``published``: the file of trained weights that
    `studylib.models.zoo.downloads.fetch` can bring, or None. ``stream``: of a model that hands its state on, the ``states`` (output to the
    next query's input) and ``chunk_s``, the seconds of signal in a query; None for all others.
    """

    name: str
    task: str
    weights: str
    inputs: dict[str, tuple[int, ...]]
    dtypes: dict[str, str] = {}
    data: str = "real"
    packages: tuple[str, ...]
    test_samples: int
    train_samples: int = 500
    independent_samples: bool = True
    source_format: str = "keras"
    reads_file: bool = False
    precision: str = "float32"
    trust: bool = False
    published: PublishedFile | None = None
    stream: dict | None = None

    def source_facts(self) -> dict:
        """What else decides the source model: part of its key."""
        return {}

    def data_facts(self) -> dict:
        """What else decides the samples: part of their key."""
        return {}

    def write(self, folder: Path, seed: int) -> Path:
        """Write the source model with its weights into ``folder``."""
        self.build(seed).save(folder / "model.keras")
        return folder / "model.keras"

    def notes(self, source: Path) -> dict:
        """What was put right in the ``source`` that `write` wrote, for the lineage, as plain JSON."""
        return {}

    def described_samples(
        self, split: str, n: int, seed: int, source: Path | None, ask: Callable[[dict], tuple[dict | None, str | None]] | None
    ) -> tuple[Samples, dict]:
        """`samples`, and notes on what was assumed to make them.

        ``source``: the written file, where ``reads_file``; ``ask(inputs)``: the source model's outputs
        by name and None, or None and why it refuses.
        """
        return self.samples(split, n, seed), {}

    def build(self, seed: int):
        """The Keras model with its weights. Imports Keras; may train.

        Several inputs are a list in the order of ``inputs``, because such a model takes a list and a dict alike. Several
        outputs are a dict, because only its names reach a SavedModel.
        """
        raise NotImplementedError(f"{self.name} is not built here: `write` gives its file")

    @abstractmethod
    def samples(self, split: str, n: int, seed: int) -> Samples:
        """At most ``n`` samples of ``split`` (train or test), the same for the same seed."""


def classes_of(scores: np.ndarray) -> int:
    """How many classes the scores of one sample tell apart; (n, …) with the sample first."""
    return max(2, int(np.prod(scores.shape[1:])))
