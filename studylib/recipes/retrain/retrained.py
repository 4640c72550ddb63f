"""Recipes that train: they change the source model itself, and every format is then made from what they wrote."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from abc import abstractmethod
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from studylib.errors import Kind, OutputError, RefusedError, TrialError
from studylib.formats.keras_safety import why_unsafe
from studylib.models.zoo import Samples
from studylib.recipes.base import Recipe
from studylib.training import LEGACY, TECHNIQUES
from studylib.training.job import Job


@dataclass(frozen=True)
class Retrained(Recipe):
    """A Keras model changed by ``technique`` and taught again on training samples, from ``seed``.

    Samples with labels are learned as they are labelled; without labels the source model's own answers are the lesson.
    A training that was killed goes on from its last epoch. Raises `RefusedError` when the technique cannot take the model.
    """

    source_format: ClassVar[str] = "keras"
    learns_from: ClassVar[str] = "training"
    float_result: ClassVar[bool] = True
    target: ClassVar[str] = "keras"
    packages: ClassVar[tuple[str, ...]] = ("keras", "tensorflow")
    technique: ClassVar[str]

    seed: int = 0

    @property
    def modules(self) -> tuple[str, ...]:
        """What the training process imports by name."""
        return ("studylib.training.__main__", TECHNIQUES[self.technique])

    @abstractmethod
    def options(self) -> dict:
        """What the technique is told, plain JSON."""

    @abstractmethod
    def result(self, folder: Path) -> Path:
        """What the technique wrote into ``folder``."""

    def begin(self, source: Path, folder: Path, lessons: Path | None, unfinished: Path) -> tuple[Path, dict]:
        reason = why_unsafe(source)
        if reason:
            raise RefusedError(f"{reason}; a model that trains here must do without")
        notes = train(Job(self.technique, source, lessons, folder, unfinished, self.seed, self.options()))
        return self.result(folder), notes

    def write(self, source: Path, folder: Path, samples: Samples | None) -> tuple[Path, dict]:
        with tempfile.TemporaryDirectory(prefix="studylib-training-") as scratch:
            return self.begin(source, folder, samples.save(Path(scratch)), Path(scratch) / "unfinished")


def train(job: Job) -> dict:
    """The notes of a training, done in a fresh process.

    Raises `RefusedError` with its words, `OutputError` when it cannot write, `TrialError` when it dies. What it kept for
    going on stays unless it refused.
    """
    with tempfile.TemporaryDirectory(prefix="studylib-training-") as scratch:
        job_path, answer_path = Path(scratch) / "job.json", Path(scratch) / "answer.json"
        job_path.write_text(job.to_json(), encoding="utf-8")
        legacy = {"TF_USE_LEGACY_KERAS": "1"} if job.technique in LEGACY else {}
        process = subprocess.Popen(
            [sys.executable, "-m", "studylib.training", job_path, answer_path],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"} | legacy,
        )
        tail: deque[str] = deque(maxlen=20)
        try:
            for line in process.stdout:
                tail.append(line.strip())
                if line.startswith('{"stage": '):
                    print(line.strip(), flush=True)
            process.wait()
        finally:
            process.kill()  # whatever made us leave; one that has ended is not hurt
        if not answer_path.exists():
            last = next((line for line in reversed(tail) if line and not line.startswith("{")), "it said nothing")
            killed = process.returncode < 0
            ended = f"was killed by signal {-process.returncode}" if killed else f"ended with status {process.returncode}"
            raise TrialError(f"the training process {ended}: {last[:300]}", Kind.INTERRUPTED if killed else Kind.ERROR)
        return notes_of(json.loads(answer_path.read_text(encoding="utf-8")), job)


def notes_of(answer: dict, job: Job) -> dict:
    """The notes in what a training answered. Raises `RefusedError` or `OutputError` with its words where it has none."""
    if "unwritable" in answer:
        raise OutputError(answer["unwritable"])
    if "refused" in answer:
        shutil.rmtree(job.unfinished, ignore_errors=True)
        raise RefusedError(answer["refused"])
    return answer["notes"]


@dataclass(frozen=True)
class _Tfmot(Retrained):
    """``epochs`` and ``learning_rate`` are of pruning; clustering and quantization-aware training take half and a tenth of them.

    ``most_unlabelled``: the learning rate at most without labels. Measured with `PrunedConstant50` on EfficientNet-Lite0, by the
    divergence from the source model: on 40 held-back crops of the scenes it was taught with 0.58 at 1e-3, 0.22 at 3e-4, 0.24 at
    1e-4; on 67 crops of other scenes 1.01 at 3e-4, 1.12 at 1e-4, 1.06 untaught.
    """

    technique: ClassVar[str] = "tfmot"
    packages: ClassVar[tuple[str, ...]] = ("keras", "tensorflow", "tf-keras", "tensorflow-model-optimization", "numpy")
    quantize: ClassVar[bool] = False

    sparsity: float | None = None
    schedule: str = "constant"
    pattern: tuple[int, int] | None = None
    clusters: int | None = None
    learning_rate: float = 1e-3
    most_unlabelled: float = 3e-4
    epochs: int = 2
    batch: int = 32

    def options(self) -> dict:
        names = ("sparsity", "schedule", "pattern", "clusters", "learning_rate", "most_unlabelled", "epochs", "batch")
        return {name: getattr(self, name) for name in names} | {"quantize": self.quantize}

    def result(self, folder: Path) -> Path:
        return folder / "model.keras"


@dataclass(frozen=True)
class _QuantizationAware(_Tfmot):
    """Writes a SavedModel with fake-quantization, which ``wi8_ai8`` makes int8."""

    target: ClassVar[str] = "saved_model"
    float_result: ClassVar[bool] = False
    quantize: ClassVar[bool] = True

    def result(self, folder: Path) -> Path:
        return folder / "saved_model"


@dataclass(frozen=True)
class PrunedConstant50(_Tfmot):
    """Half of the weights zero from the first step on, those of least magnitude. Source: tfmot, Zhu and Gupta (2017)."""

    name: ClassVar[str] = "pruned_constant50"

    sparsity: float | None = 0.5


@dataclass(frozen=True)
class PrunedPolynomial80(_Tfmot):
    """Four of five weights zero, more and more of them over half of the training. Source: tfmot, Zhu and Gupta (2017)."""

    name: ClassVar[str] = "pruned_polynomial80"

    sparsity: float | None = 0.8
    schedule: str = "polynomial"
    learning_rate: float = 3e-3
    epochs: int = 3


@dataclass(frozen=True)
class Pruned2By4(_Tfmot):
    """Two zeros in every four weights along the input channels, the pattern of sparse tensor cores. Source: tfmot."""

    name: ClassVar[str] = "pruned_2by4"

    pattern: tuple[int, int] | None = (2, 4)


@dataclass(frozen=True)
class Clustered16(_Tfmot):
    """Sixteen distinct values in each kernel, begun by k-means++: files compress better. Source: tfmot, Han et al. (2016)."""

    name: ClassVar[str] = "clustered16"

    clusters: int | None = 16


@dataclass(frozen=True)
class PrunedClustered16(Clustered16):
    """Pruned by half, then clustered to sixteen values of which zero is one. Source: tfmot, sparsity-preserving clustering."""

    name: ClassVar[str] = "pruned_clustered16"

    sparsity: float | None = 0.5


@dataclass(frozen=True)
class Qat(_QuantizationAware):
    """Quantization-aware training: taught with weights and activations rounded to int8. Source: tfmot, Jacob et al. (2018)."""

    name: ClassVar[str] = "qat"


@dataclass(frozen=True)
class PrunedQat(_QuantizationAware):
    """Pruned by half, then trained for int8 with its zeros kept. Source: tfmot, pruning-preserving QAT (PQAT)."""

    name: ClassVar[str] = "pruned_qat"

    sparsity: float | None = 0.5


@dataclass(frozen=True)
class ClusteredQat(_QuantizationAware):
    """Clustered to sixteen values, then trained for int8 with its clusters kept. Source: tfmot, cluster-preserving QAT (CQAT)."""

    name: ClassVar[str] = "clustered_qat"

    clusters: int | None = 16


@dataclass(frozen=True)
class PrunedClusteredQat(ClusteredQat):
    """Pruned, clustered, then trained for int8 with zeros and clusters kept. Source: tfmot, PCQAT."""

    name: ClassVar[str] = "pruned_clustered_qat"

    sparsity: float | None = 0.5


RETRAINED: dict[str, Retrained] = {
    recipe.name: recipe
    for recipe in (
        PrunedConstant50(), PrunedPolynomial80(), Pruned2By4(), Clustered16(), PrunedClustered16(),
        Qat(), PrunedQat(), ClusteredQat(), PrunedClusteredQat(),
    )
}  # fmt: skip
