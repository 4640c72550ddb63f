"""The artifacts every study starts from: the source model, its samples, the source model's own outputs."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from studylib.artifacts import arrays
from studylib.artifacts.code import code_digest
from studylib.artifacts.store import Artifact, Store, derived_key
from studylib.errors import ArtifactError, told
from studylib.formats.inside.grids import grids
from studylib.formats.inside.precision import FLOAT32, WHOLE
from studylib.formats.mixed_precision import REMEDY
from studylib.models.zoo import Model, Samples, classes_of
from studylib.quality import integer_parity, metrics, varying
from studylib.quality.answers import Run, answered
from studylib.quality.steadiness import require_steady
from studylib.results.records import PLAIN, as_it_came
from studylib.runtimes import RUNTIMES, Options

# Samples that Keras answers at once; every other source is asked one by one.
_BATCH = 32
# Whose version decides what the source model answers.
_FRAMEWORKS = {
    "keras": ("keras", "tf-keras", "tensorflow"), "keras_h5": ("keras", "tf-keras", "tensorflow"), "saved_model": ("tensorflow",),
    "onnx": ("onnxruntime",), "tflite": ("ai-edge-litert",), "torch": ("torch",),
}  # fmt: skip


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
        code = code_digest(type(self), *(type(RUNTIMES[name]) for name in ("tensorflow", "litert", "onnxruntime")))
        return derived_key("reference", {"task": self.model.task}, parents, code, _FRAMEWORKS[self.model.source_format])

    def source(self, store: Store) -> Artifact:
        """The model with its weights, in its own format; trained when the store does not hold it."""
        facts = self._facts(self.model.source_format, self.precision, "source", self.model_key)
        facts["is_float"] = self.model.precision not in WHOLE

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
            ask = asked(source, self.model.trust) if source else None
            samples, notes = self.model.described_samples(split, n, self.seed, source and source.path, ask)
            facts["lineage"][-1].update({"notes": notes} if notes else {})
            return samples.save(folder)

        return store.make(key, facts, write)

    def reference(self, n: int, store: Store, retrained: Artifact | None = None) -> Artifact:
        """The outputs of the source model, or of its retrained version, on the test samples: what every format is held against.

        Raises `ArtifactError` when they are not finite, when the model answers the same samples otherwise each time, or when a label
        is no class of the model.
        """
        key = self.reference_key(n, retrained and retrained.key)

        def write(folder: Path) -> Path:
            samples = Samples.load(self.samples("test", n, store).path)
            source = retrained or self.source(store)
            run = open_source(source, self.model.trust)
            answers = _answers(run, source, samples)
            lie = _output_grids(source)
            outputs = integer_parity.real(answers, lie, list(answers))
            invented = self.model.reads_file and self.model.data == "synthetic"
            _check(outputs, samples, self.model.task, invented)
            require_steady(run, samples, answers, source)
            return arrays.save(folder / "outputs", outputs, {"grids": lie} if lie else {})

        return store.make(key, self._facts("outputs", retrained.precision if retrained else self.precision, "reference", key), write)

    @property
    def precision(self) -> str:
        """The name of what the source model is: ``fp32``, or what it was made before it came here."""
        return PLAIN if self.model.precision == FLOAT32 else as_it_came(self.model.precision)

    @property
    def _parents(self) -> tuple[str, ...]:
        """The source model where its file must be opened to know what samples it takes."""
        return (self.model_key,) if self.model.reads_file else ()

    def _key(self, made_by: str, config: dict, parents: tuple[str, ...] = ()) -> str:
        return derived_key(made_by, {"model": self.model.name, **config}, parents, code_digest(type(self.model)), self.model.packages)

    def _facts(self, format: str, precision: str, made_by: str, key: str) -> dict:
        step = {"made_by": f"{made_by}:{self.model.name}", "config": {"seed": self.seed}, "key": key}
        return {"format": format, "precision": precision, "model": self.model.name, "lineage": (step,)}


def _output_grids(source: Artifact) -> dict[str, dict]:
    """The grids of whole numbers on which the outputs lie, by name, as plain JSON."""
    return {name: grid.to_json() for name, grid in grids(source.path, source.format)["outputs"].items()}


def answer(source: Artifact, samples: Samples, trust: bool = False) -> metrics.Outputs:
    """The source model's outputs by name, first axis the sample, each sample a query of its own."""
    return _answers(open_source(source, trust), source, samples)


def _answers(run: Run, source: Artifact, samples: Samples) -> metrics.Outputs:
    if not source.format.startswith("keras") or any(samples.batch_axes.get(name, 0) != 0 for name in samples.inputs):
        return answered(run, samples)
    parts = []
    for start in range(0, len(samples), _BATCH):
        size = min(_BATCH, len(samples) - start)
        parts.append(run(samples.batch(start, size)))
        if any(np.shape(values)[:1] != (size,) for values in parts[-1].values()):
            return answered(run, samples)  # the first axis of an answer is no batch
    return {name: np.concatenate([part[name] for part in parts])[:, None] for name in parts[0]}


def open_source(source: Artifact, trust: bool = False) -> Run:
    """The source model as a function from inputs to outputs, in the framework it comes from."""
    if source.format.startswith("keras"):
        return _keras(source.path, trust)
    if source.format == "torch":
        from studylib.formats.torch_files import load_program

        return load_program(source.path)
    runtime = next(runtime for runtime in RUNTIMES.values() if runtime.format == source.format and "cpu" in runtime.providers)
    # Not activated: how many threads answer changes no answer, and this process may have set its own already.
    return runtime.load(source.path, Options()).anew


def _keras(path: Path, trust: bool) -> Run:
    from studylib.formats.keras_files import load_keras
    from studylib.formats.keras_signature import serving, signature_of

    model = load_keras(path, trust)
    signature = signature_of(model)
    serve = serving(model, signature)

    def run(inputs: dict) -> metrics.Outputs:
        return {name: values.numpy() for name, values in serve(*signature.ordered(inputs)).items()}

    return run


def asked(source: Artifact, trust: bool) -> Callable[[dict], tuple[metrics.Outputs | None, str | None]]:
    """A function that asks the source model one query: (outputs by name, None), or (None, its error in words) when it refuses."""
    opened = []

    def ask(inputs: dict) -> tuple[metrics.Outputs | None, str | None]:
        opened.extend([] if opened else [open_source(source, trust)])
        try:
            return opened[0](inputs), None
        except Exception as error:  # a framework may raise anything at a shape it does not like: that is the answer
            return None, told(error)

    return ask


def _check(outputs: metrics.Outputs, samples: Samples, task: str, invented: bool) -> None:
    """Refuse outputs that nothing can be held against, and labels that are no class. Raises `ArtifactError`.

    ``invented``: nobody gave the samples, so that NaN says nothing of the model.
    """
    for name, values in outputs.items():
        kind = next((one.dtype for one in values if one.dtype.kind not in "fiub"), None) if varying.is_varying(values) else values.dtype
        if kind is not None and kind.name == "bfloat16":
            raise ArtifactError(
                f"the source model answers in bfloat16 (output '{name}'), the half precision of a TPU, which nothing else here reads: "
                f'its last layer computes by the policy mixed_bfloat16. Give that layer dtype="float32", or {REMEDY}'
            )
        if kind is not None and kind.kind not in "fiub":
            raise ArtifactError(f"the source model's output '{name}' is {kind}; only numbers can be compared")
        finite = np.array([np.isfinite(np.asarray(one, float)).all() for one in values])
        if not finite.all():
            where = (
                f"(output '{name}', {int((~finite).sum())} of {len(finite)} samples, first sample {int(np.argmin(finite))}); "
                "no conversion can be judged"
            )
            if invented:
                raise ArtifactError(
                    f"on invented inputs the model answers NaN or infinity {where}. "
                    "That may be the inputs' fault: give DATA, or a range in the card"
                )
            raise ArtifactError(f"the source model itself answers NaN or infinity {where}. Correct the model or its data")
    if task == "classification":
        name, scores = next(iter(outputs.items()))
        if varying.is_varying(scores):
            raise ArtifactError(
                f"a classification needs one row of scores a sample, and the output '{name}' has another shape for another sample; "
                "say TASK=other"
            )
        _check_scores(name, scores, samples.labels)


def _check_scores(name: str, scores: np.ndarray, labels: np.ndarray | None) -> None:
    classes = classes_of(scores)
    if scores.dtype.kind != "f" or max(scores.shape[1:], default=1) not in (classes, 1):
        raise ArtifactError(
            f"a classification needs one row of scores a sample, and the output '{name}' is {scores.dtype} of shape {scores.shape[1:]}; "
            "say TASK=other"
        )
    outside = [] if labels is None else labels[(labels < 0) | (labels >= classes)]
    if len(outside):
        raise ArtifactError(f"{len(outside)} labels are outside the model's {classes} classes (0 to {classes - 1}): first {outside[0]}")
