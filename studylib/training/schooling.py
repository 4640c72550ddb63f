"""How models of legacy Keras are taught again after a change: rate, epochs, and what their batch normalization does meanwhile."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from studylib.training import resuming
from studylib.training.lessons import Lessons, one_or_all

# Below this, statistics of a few batches would replace those of the set the model was trained on.
_ENOUGH_SAMPLES = 100
_RENEWING_BATCHES = 32


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
    def enough(self) -> bool:
        """Whether there are samples enough for the statistics of batch normalization."""
        return len(self.lessons) >= _ENOUGH_SAMPLES

    def renew_statistics(self, model) -> str:
        """Take the statistics of batch normalization anew, as means over batches, where there are samples enough; says what was done.

        A moving average would still hold mostly the old ones after a short training.
        """
        layers = _normalizations(model)
        if not layers:
            return "the model has none"
        if not self.enough:
            return f"kept as it was: {len(self.lessons)} samples are too few for statistics"
        before = [(layer.momentum, layer.trainable) for layer in layers]
        seen = 0
        for start in range(0, min(len(self.lessons), _RENEWING_BATCHES * self.batch), self.batch):
            given = [np.asarray(values[start : start + self.batch]) for values in self.lessons.inputs]
            share = len(given[0]) / (seen + len(given[0]))
            for layer in layers:
                # One that is frozen would only compute.
                layer.momentum, layer.trainable = 1 - share, True
            model(one_or_all(given), training=True)
            seen += len(given[0])
        for layer, (momentum, trainable) in zip(layers, before, strict=True):
            layer.momentum, layer.trainable = momentum, trainable
        return f"statistics taken anew from {seen} samples"

    def gentle(self) -> "Schooling":
        """The same at a tenth of the rate and for half of the epochs, for what moves weights little."""
        return replace(self, learning_rate=self.learning_rate / 10, epochs=max(1, self.epochs // 2))

    def teach(self, model, stage: str, callbacks: Sequence = (), normalizes_anew: bool = False) -> list[float]:
        """Train ``model`` (tf_keras) in place; returns the loss of each epoch. ``stage`` names the training.

        ``normalizes_anew``: batch normalization goes by each batch meanwhile, where there are samples enough;
        `renew_statistics` must follow. Otherwise it stays as it was trained and only computes.
        """
        import tf_keras

        for layer in _normalizations(model):
            layer.trainable = normalizes_anew and self.enough
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


def _normalizations(model) -> list:
    import tf_keras

    return [layer for layer in model._flatten_layers() if isinstance(layer, tf_keras.layers.BatchNormalization)]
