"""The artifacts every study starts from: the source model, its samples, the source model's own outputs."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from studylib import arrays, quality
from studylib.artifact import Artifact, Store, derived_key
from studylib.errors import ArtifactError, StudyError
from studylib.runtimes import RUNTIMES, Options
from studylib.zoo import Model, Samples

# Samples that Keras answers at once; every other source is asked one by one.
_BATCH = 32
# Whose version decides what the source model answers.
_FRAMEWORKS = {
    "keras": ("keras", "tensorflow"), "keras_h5": ("keras", "tf-keras", "tensorflow"), "saved_model": ("tensorflow",),
    "onnx": ("onnxruntime",), "tflite": ("ai-edge-litert",), "torch": ("torch",),
}  # fmt: skip
Run = Callable[[dict[str, np.ndarray]], quality.Outputs]


@dataclass(frozen=True)
class Sources:
    """Keys and makers of the artifacts that belong to one model and one seed, before any recipe."""

    model: Model
    seed: int

    @cached_property
    def model_key(self) -> str:
        return self._key("source", {"seed": self.seed, "weights": self.model.weights} | self.model.source_facts())

    def samples_key(self, split: str, n: int) -> str:
        return self._key("samples", {"split": split, "n": n, "seed": self.seed} | self.model.data_facts(), self._parents)

    def reference_key(self, n: int, retrained: str | None = None) -> str:
        """The key of the outputs on ``n`` test samples, of the source model or of its version with the key ``retrained``."""
        parents = (retrained or self.model_key, self.samples_key("test", n))
        here = Path(__file__).parent
        answering = (
            "recipes/keras_files.py",
            "recipes/from_torch.py",
            "runtimes/tensorflow.py",
            "runtimes/litert.py",
            "runtimes/onnxruntime.py",
        )
        sources = (Path(__file__), *(here / name for name in answering))
        return derived_key("reference", {"task": self.model.task}, parents, sources, _FRAMEWORKS[self.model.source_format])

    def source(self, store: Store) -> Artifact:
        """The model with its weights, in its own format; trained when the store does not hold it."""
        facts = self._facts(self.model.source_format, "fp32", "source", self.model_key)

        def write(folder: Path) -> Path:
            written = self.model.write(folder, self.seed)
            notes = self.model.notes(written)
            facts["lineage"][-1].update({"notes": notes} if notes else {})
            return written

        return store.make(self.model_key, facts, write)

    def samples(self, split: str, n: int, store: Store) -> Artifact:
        """Samples, so that a measured process reads arrays instead of importing data sets."""
        key = self.samples_key(split, n)
        facts = self._facts("samples", split, "samples", key)

        def write(folder: Path) -> Path:
            source = self.source(store) if self._parents else None
            works = why_refused(source, self.model.trust) if source else None
            samples, notes = self.model.described_samples(split, n, self.seed, source and source.path, works)
            facts["lineage"][-1].update({"notes": notes} if notes else {})
            return samples.save(folder)

        return store.make(key, facts, write)

    def reference(self, n: int, store: Store, retrained: Artifact | None = None) -> Artifact:
        """The outputs of the source model, or of its retrained version, on the test samples: what every format is held against.

        Raises `ArtifactError` when they are not finite, or when a label is no class of the model.
        """
        key = self.reference_key(n, retrained and retrained.key)

        def write(folder: Path) -> Path:
            samples = Samples.load(self.samples("test", n, store).path)
            outputs = answer(retrained or self.source(store), samples, self.model.trust)
            _check(outputs, samples, self.model.task)
            return arrays.save(folder / "outputs", outputs)

        return store.make(key, self._facts("outputs", retrained.precision if retrained else "fp32", "reference", key), write)

    @property
    def _parents(self) -> tuple[str, ...]:
        """The source model where its file must be opened to know what samples it takes."""
        return (self.model_key,) if self.model.reads_file else ()

    def _key(self, made_by: str, config: dict, parents: tuple[str, ...] = ()) -> str:
        home = Path(inspect.getfile(type(self.model)))
        sources = (home, *(home.parent / name for name in self.model.helpers))
        return derived_key(made_by, {"model": self.model.name, **config}, parents, sources, self.model.packages)

    def _facts(self, format: str, precision: str, made_by: str, key: str) -> dict:
        step = {"made_by": f"{made_by}:{self.model.name}", "config": {"seed": self.seed}, "key": key}
        return {"format": format, "precision": precision, "model": self.model.name, "lineage": (step,)}


def answer(source: Artifact, samples: Samples, trust: bool = False) -> quality.Outputs:
    """The source model's outputs by name, first axis the sample, each sample a query of its own."""
    run = open_source(source, trust)
    if source.format.startswith("keras") and all(samples.batch_axes.get(name, 0) == 0 for name in samples.inputs):
        together = run({name: np.array(values) for name, values in samples.inputs.items()})
        return {name: values[:, None] for name, values in together.items()}
    return stacked(run, samples)


def stacked(run: Run, samples: Samples) -> quality.Outputs:
    """Outputs of ``run`` on one sample at a time: arrays of shape (n, …) with the batch axis of 1 kept."""
    found = [run(samples.batch(index, 1)) for index in range(len(samples))]
    for name in found[0]:
        shapes = sorted({np.shape(outputs[name]) for outputs in found})
        if len(shapes) > 1:
            raise ArtifactError(
                f"the output '{name}' has another shape for another sample ({shapes[0]}, {shapes[1]}); such answers cannot be compared"
            )
    return {name: np.stack([outputs[name] for outputs in found]) for name in found[0]}


def open_source(source: Artifact, trust: bool = False) -> Run:
    """The source model as a function from inputs to outputs, in the framework it comes from."""
    if source.format.startswith("keras"):
        return _keras(source.path, trust)
    if source.format == "torch":
        from studylib.recipes.from_torch import load_program

        return load_program(source.path)
    runtime = next(runtime for runtime in RUNTIMES.values() if runtime.format == source.format and "cpu" in runtime.providers)
    # Not activated: how many threads answer changes no answer, and this process may have set its own already.
    return runtime.load(source.path, Options()).run


def _keras(path: Path, trust: bool) -> Run:
    from studylib.recipes.keras_files import load_keras

    model = load_keras(path, trust)
    names = [tensor.name.split(":")[0] for tensor in model.inputs]

    def run(inputs: dict) -> quality.Outputs:
        ordered = [inputs[name] for name in names] if set(names) == set(inputs) else list(inputs.values())
        return named(model.predict(ordered if len(ordered) > 1 else ordered[0], batch_size=_BATCH, verbose=0))

    return run


def why_refused(source: Artifact, trust: bool) -> Callable[[dict], str | None]:
    """A function that asks the source model one query and gives its error in words, or None when it answers."""
    opened = []

    def ask(inputs: dict) -> str | None:
        opened.extend([] if opened else [open_source(source, trust)])
        try:
            opened[0](inputs)
        except StudyError as error:
            return str(error)
        except Exception as error:  # a framework may raise anything at a shape it does not like: that is the answer
            return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
        return None

    return ask


def named(outputs) -> dict[str, np.ndarray]:
    """Outputs by the names that a SavedModel of the same model has: its own, or ``output_0`` and so on."""
    if isinstance(outputs, dict):
        return {name: np.asarray(values) for name, values in outputs.items()}
    outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
    return {f"output_{index}": np.asarray(values) for index, values in enumerate(outputs)}


def _check(outputs: quality.Outputs, samples: Samples, task: str) -> None:
    """Refuse outputs that nothing can be held against, and labels that are no class. Raises `ArtifactError`."""
    for name, values in outputs.items():
        if values.dtype.kind not in "fiub":
            raise ArtifactError(f"the source model's output '{name}' is {values.dtype}; only numbers can be compared")
        if values.size == 0:
            raise ArtifactError(f"the source model's output '{name}' is empty, shape {values.shape[1:]}; there is nothing to compare")
        finite = np.isfinite(np.asarray(values, float)).reshape(len(values), -1).all(1)
        if not finite.all():
            raise ArtifactError(
                f"the source model itself answers NaN or infinity (output '{name}', {int((~finite).sum())} of {len(finite)} samples, "
                f"first sample {int(np.argmin(finite))}); correct the model or its data, no conversion can be judged"
            )
    if task == "classification":
        _check_scores(*next(iter(outputs.items())), samples.labels)


def _check_scores(name: str, scores: np.ndarray, labels: np.ndarray | None) -> None:
    classes = quality.classes_of(scores)
    if scores.dtype.kind != "f" or max(scores.shape[1:], default=1) not in (classes, 1):
        raise ArtifactError(
            f"a classification needs one row of scores a sample, and the output '{name}' is {scores.dtype} of shape {scores.shape[1:]}; "
            "say TASK=other"
        )
    outside = [] if labels is None else labels[(labels < 0) | (labels >= classes)]
    if len(outside):
        raise ArtifactError(f"{len(outside)} labels are outside the model's {classes} classes (0 to {classes - 1}): first {outside[0]}")
