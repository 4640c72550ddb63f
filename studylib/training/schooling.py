"""How models of legacy Keras are taught again after a change: rate, epochs, and what their batch normalization does meanwhile."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from studylib.training import resuming
from studylib.training.lessons import Lessons

# Below this, statistics of a few batches would replace those of the set the model was trained on.
_ENOUGH_SAMPLES = 1000


@dataclass(frozen=True)
class Schooling:
    """One recipe's way to teach: Adam, its rate falling to zero along a cosine over ``epochs``; the same from ``seed``."""

    lessons: Lessons
    learning_rate: float
    epochs: int
    batch: int
    seed: int
    unfinished: Path

    @property
    def steps(self) -> int:
        """How many batches a stage of this recipe sees."""
        return self.epochs * -(-len(self.lessons) // self.batch)

    @property
    def learns_statistics(self) -> bool:
        """Whether batch normalization takes part; otherwise it stays as it was trained and only computes."""
        return len(self.lessons) >= _ENOUGH_SAMPLES

    def gentle(self) -> "Schooling":
        """The same at a tenth of the rate and for half of the epochs, for what moves weights little."""
        return replace(self, learning_rate=self.learning_rate / 10, epochs=max(1, self.epochs // 2))

    def teach(self, model, stage: str, callbacks: Sequence = ()) -> list[float]:
        """Train ``model`` (tf_keras) in place; returns the loss of each epoch. ``stage`` names the training."""
        import tf_keras

        if not self.learns_statistics:
            for layer in model._flatten_layers():
                if isinstance(layer, tf_keras.layers.BatchNormalization):
                    layer.trainable = False
        optimizer = tf_keras.optimizers.Adam(tf_keras.optimizers.schedules.CosineDecay(self.learning_rate, self.steps))
        losses = resuming.fit(
            tf_keras,
            self.lessons.compiled(tf_keras, model, optimizer),
            self.lessons.inputs,
            self.lessons.answers,
            epochs=self.epochs,
            batch=self.batch,
            seed=self.seed,
            unfinished=self.unfinished,
            stage=stage,
            callbacks=callbacks,
        )
        return [round(loss, 6) for loss in losses]
