"""Recipes that train: they change the source model itself, and every format is then made from what they wrote."""

import json
import os
import subprocess
import sys
import tempfile
from abc import abstractmethod
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from studylib.errors import RefusedError, TrialError
from studylib.recipes.base import Recipe
from studylib.training import LEGACY
from studylib.training.job import Job
from studylib.zoo import Samples


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

    @abstractmethod
    def options(self) -> dict:
        """What the technique is told, plain JSON."""

    @abstractmethod
    def result(self, folder: Path) -> Path:
        """What the technique wrote into ``folder``."""

    def begin(self, source: Path, folder: Path, lessons: Path | None, unfinished: Path) -> tuple[Path, dict]:
        notes = train(Job(self.technique, source, lessons, folder, unfinished, self.seed, self.options()))
        return self.result(folder), notes

    def write(self, source: Path, folder: Path, samples: Samples | None) -> tuple[Path, dict]:
        with tempfile.TemporaryDirectory(prefix="studylib-training-") as scratch:
            return self.begin(source, folder, samples.save(Path(scratch)), Path(scratch) / "unfinished")


def train(job: Job) -> dict:
    """The notes of a training, done in a fresh process. Raises `RefusedError` with its words, `TrialError` when it dies."""
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
            raise TrialError(f"the training process ended with status {process.returncode}: {last[:300]}")
        answer = json.loads(answer_path.read_text(encoding="utf-8"))
    if "refused" in answer:
        raise RefusedError(answer["refused"])
    return answer["notes"]


RETRAINED: dict[str, Retrained] = {}
