"""Mixed precision that was searched for: each layer's precision chosen from measured sensitivity and latency, within a budget."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from studylib.artifacts.disk import copied
from studylib.errors import RefusedError
from studylib.models.zoo import Samples
from studylib.recipes.base import Recipe


@dataclass(frozen=True)
class _Adaptive(Recipe):
    """The file that a search made (`studylib.build.searched`), with what it found in the notes."""

    name: ClassVar[str] = "adaptive_wi8"
    learns_from: ClassVar[str] = "search"

    def begin(self, source: Path, folder: Path, lessons: Path | None, unfinished: Path) -> tuple[Path, dict]:
        found = json.loads((lessons / "search.json").read_text(encoding="utf-8"))
        path = folder / f"model.{self.target}"
        copied(lessons / path.name, path)
        facts = found["facts"]
        return path, {name: facts[name] for name in ("budget_words", "within_budget", "why", "stopped_by") if name in facts}

    def write(self, source: Path, folder: Path, samples: Samples | None) -> Path:
        raise RefusedError("an adaptive recipe applies what a search found; there was none. Let the study search first")


@dataclass(frozen=True)
class AdaptiveOnnx(_Adaptive):
    """Layers of an ONNX file in float32, dynamic int8 or static int8, whatever is fastest within the budget."""

    target: ClassVar[str] = "onnx"
    source_format: ClassVar[str] = "onnx"
    packages: ClassVar[tuple[str, ...]] = ("onnx", "onnxruntime")


@dataclass(frozen=True)
class AdaptiveLiteRT(_Adaptive):
    """Layers of a LiteRT file in float32, dynamic int8 or static int8, whatever is fastest within the budget."""

    target: ClassVar[str] = "tflite"
    source_format: ClassVar[str] = "tflite"
    packages: ClassVar[tuple[str, ...]] = ("ai-edge-quantizer", "ai-edge-litert")


@dataclass(frozen=True)
class AdaptiveOpenVINO(_Adaptive):
    """Layers of OpenVINO's files in float32 or static int8, whatever is fastest within the budget."""

    target: ClassVar[str] = "openvino"
    source_format: ClassVar[str] = "openvino"
    packages: ClassVar[tuple[str, ...]] = ("openvino", "nncf")
