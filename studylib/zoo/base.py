"""What every model of the zoo is."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from studylib.zoo.downloads import PublishedFile


@dataclass(frozen=True)
class Samples:
    """Inputs by name, first axis the sample, and labels (class indices) or None where nobody labelled them."""

    inputs: dict[str, np.ndarray]
    labels: np.ndarray | None

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def batch(self, start: int, size: int) -> dict[str, np.ndarray]:
        """``size`` consecutive samples from ``start`` on, going round at the end."""
        indices = np.arange(start, start + size) % len(self)
        return {name: np.ascontiguousarray(values[indices]) for name, values in self.inputs.items()}

    def save(self, folder: Path) -> Path:
        folder = folder / "samples"
        (folder / "inputs").mkdir(parents=True)
        for name, values in self.inputs.items():
            np.save(folder / "inputs" / f"{name}.npy", values)
        if self.labels is not None:
            np.save(folder / "labels.npy", self.labels)
        return folder

    @classmethod
    def load(cls, folder: Path) -> "Samples":
        labels = folder / "labels.npy"
        return cls(
            inputs={path.stem: np.load(path, mmap_mode="r") for path in sorted((folder / "inputs").glob("*.npy"))},
            labels=np.load(labels) if labels.exists() else None,
        )


class Model(ABC):
    """A model that a study can deploy.

    ``task``: classification, question_answering, speech_recognition or other.
    ``weights``: trained (here or by its authors) or random; random weights never get an accuracy.
    ``inputs``: name to shape without the batch axis. ``dtypes``: input name to numpy dtype name where it is not float32.
    ``data``: whether the samples are real or synthetic. ``packages``: whose versions decide the weights and the data.
    ``test_samples``: how many samples an evaluation takes at most. ``independent_samples``: whether they are drawn
    independently; otherwise a share of them carries no interval. ``helpers``: files beside it that decide its data.
    ``published``: the file of trained weights that `studylib.zoo.downloads.fetch` can bring, None where nothing is fetched.
    """

    name: str
    task: str
    weights: str
    inputs: dict[str, tuple[int, ...]]
    dtypes: dict[str, str] = {}
    data: str = "real"
    packages: tuple[str, ...]
    test_samples: int
    independent_samples: bool = True
    helpers: tuple[str, ...] = ()
    published: PublishedFile | None = None

    @abstractmethod
    def build(self, seed: int):
        """The Keras model with its weights. Imports Keras; may train.

        Several inputs are a list in the order of ``inputs``, because such a model takes a list and a dict alike. Several outputs
        are a dict, because only its names reach a SavedModel.
        """

    @abstractmethod
    def samples(self, split: str, n: int, seed: int) -> Samples:
        """At most ``n`` samples of ``split`` (train or test), the same for the same seed."""
