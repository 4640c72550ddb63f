"""The artifacts every study starts from: the source model, its samples, and the source model's own outputs."""

import inspect
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from studylib.artifact import Artifact, Store, derived_key
from studylib.zoo.base import Model, Samples


@dataclass(frozen=True)
class Sources:
    """Keys and makers of the artifacts that belong to one model and one seed, before any recipe."""

    model: Model
    seed: int

    @property
    def model_key(self) -> str:
        return self._key("source", {"seed": self.seed})

    def samples_key(self, split: str, n: int) -> str:
        return self._key("samples", {"split": split, "n": n, "seed": self.seed})

    def reference_key(self, n: int) -> str:
        return derived_key("reference", {}, (self.model_key, self.samples_key("test", n)), (Path(__file__),), ("keras",))

    def source(self, store: Store) -> Artifact:
        """The Keras model with its weights, ``model.keras``; trained when the store does not hold it."""

        def write(folder: Path) -> Path:
            self.model.build(self.seed).save(folder / "model.keras")
            return folder / "model.keras"

        return store.make(self.model_key, self._facts("keras", "fp32", "source", self.model_key), write)

    def samples(self, split: str, n: int, store: Store) -> Artifact:
        """Real samples, so that a measured process reads two arrays instead of importing data sets."""
        key = self.samples_key(split, n)
        facts = self._facts("samples", split, "samples", key)
        return store.make(key, facts, lambda folder: self.model.samples(split, n, self.seed).save(folder))

    def reference(self, n: int, store: Store) -> Artifact:
        """The source model's outputs on the test samples: what every format is held against."""
        key = self.reference_key(n)

        def write(folder: Path) -> Path:
            import keras

            model = keras.models.load_model(self.source(store).path, compile=False, safe_mode=True)
            samples = Samples.load(self.samples("test", n, store).path)
            inputs = [np.array(samples.inputs[tensor.name]) for tensor in model.inputs]
            np.save(folder / "outputs.npy", model.predict(inputs, batch_size=32, verbose=0))
            return folder / "outputs.npy"

        return store.make(key, self._facts("outputs", "fp32", "reference", key), write)

    def _key(self, made_by: str, config: dict) -> str:
        content = {"model": self.model.name, **config}
        home = Path(inspect.getfile(type(self.model)))
        sources = (home, *(home.parent / name for name in self.model.helpers))
        return derived_key(made_by, content, (), sources, self.model.packages)

    def _facts(self, format: str, precision: str, made_by: str, key: str) -> dict:
        step = {"made_by": f"{made_by}:{self.model.name}", "config": {"seed": self.seed}, "key": key}
        return {"format": format, "precision": precision, "model": self.model.name, "lineage": (step,)}
