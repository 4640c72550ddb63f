"""Smaller models of the same kind: channels and blocks removed by measured importance, and students of half the width."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from studylib.recipes.retrain.retrained import Retrained


@dataclass(frozen=True)
class _Slimmed(Retrained):
    """What pruning and distillation have in common: how long and how fast the smaller model is taught."""

    packages: ClassVar[tuple[str, ...]] = ("keras", "tensorflow", "numpy", "scipy")

    epochs: int = 10
    batch: int = 32
    learning_rate: float = 1e-3

    def result(self, folder: Path) -> Path:
        return folder / "model.keras"

    def options(self) -> dict:
        return {"epochs": self.epochs, "batch": self.batch, "learning_rate": self.learning_rate}


@dataclass(frozen=True)
class PrunedChannels(_Slimmed):
    """Whole channels removed, always those that cost least for what they save, until ``share`` of the MACs is left; then taught again.

    Layers of unknown kinds stay whole with all they touch; the notes name them. Source: Theis et al. (2018), Fisher pruning;
    Fang et al. (2023), dependency graph.
    """

    name: ClassVar[str] = "pruned_channels50"
    technique: ClassVar[str] = "structured"
    blocks: ClassVar[bool] = False

    share: float = 0.5

    def options(self) -> dict:
        return super().options() | {"share": self.share, "blocks": self.blocks}


@dataclass(frozen=True)
class PrunedBlocks(PrunedChannels):
    """As `PrunedChannels`, with whole residual branches among what may be removed."""

    name: ClassVar[str] = "pruned_blocks"
    blocks: ClassVar[bool] = True


@dataclass(frozen=True)
class StudentAlone(_Slimmed):
    """The same architecture with ``width`` of its channels, trained from fresh weights on the labels alone.

    Distillation is held against it. Refused without labels.
    """

    name: ClassVar[str] = "student_half"
    technique: ClassVar[str] = "distillation"
    teacher: ClassVar[bool] = False

    epochs: int = 12
    batch: int = 64
    learning_rate: float = 4e-3
    width: float = 0.5

    def options(self) -> dict:
        return super().options() | {"width": self.width, "teacher": self.teacher}


@dataclass(frozen=True)
class Distilled(StudentAlone):
    """As `StudentAlone`, same epochs and first weights, taught by the source model, and by labels where there are some.

    ``temperature`` softens the source model's answers; labels count ``label_weight`` of the loss. Source: Hinton et al. (2015),
    ``keras.distillation.Distiller``.
    """

    name: ClassVar[str] = "distilled_half"
    teacher: ClassVar[bool] = True

    temperature: float = 4.0
    label_weight: float = 0.1

    def options(self) -> dict:
        return super().options() | {"temperature": self.temperature, "label_weight": self.label_weight}


SLIMMED: dict[str, Retrained] = {recipe.name: recipe for recipe in (PrunedChannels(), PrunedBlocks(), Distilled(), StudentAlone())}
