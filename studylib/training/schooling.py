"""How models of legacy Keras are taught again after a change: rate, epochs, and what their batch normalization does meanwhile."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from studylib.training import resuming, statistics_matching
from studylib.training.lessons import Lessons, one_or_all
from studylib.training.statistics_matching import Moments

# Below this, mean and variance say more about the samples than about the model.
_ENOUGH_SAMPLES = 16
# From so many labelled samples on they stand for what the model was trained on, and its statistics can be learned anew.
_ENOUGH_LABELS = 100
_RENEWING_BATCHES = 32


@dataclass(frozen=True)
class Schooling:
    """One recipe's way to teach: Adam, its rate falling to zero along a cosine over ``epochs``; the same from ``seed``.

    ``moments``: of the source model's batch normalization, which are kept. Source: `statistics_matching`. ``most_unlabelled``: the rate
    at most where the source model's answers are taught.
    """

    lessons: Lessons
    learning_rate: float
    epochs: int
    batch: int
    seed: int
    unfinished: Path
    moments: dict[str, Moments] = field(default_factory=dict)
    most_unlabelled: float = math.inf

    @property
    def steps(self) -> int:
        """How many batches a stage of this recipe sees."""
        return self.epochs * -(-len(self.lessons) // self.batch)

    @property
    def rate(self) -> float:
        """The learning rate that the cosine falls from."""
        return self.learning_rate if self.lessons.labelled else min(self.learning_rate, self.most_unlabelled)

    @property
    def enough(self) -> bool:
        """Whether there are samples enough for statistics."""
        return len(self.lessons) >= _ENOUGH_SAMPLES

    @property
    def relearns(self) -> bool:
        """Whether the samples may replace the statistics, for what changes so much that matching them holds it back."""
        return bool(self.moments) and self.lessons.labelled and len(self.lessons) >= _ENOUGH_LABELS

    def normalization(self, anew: bool = False) -> str:
        """What is done to batch normalization, for the notes."""
        if not self.moments:
            return "the model has none"
        if not self.enough:
            return f"kept as it was: {len(self.lessons)} samples are too few for statistics"
        if anew:
            return f"statistics taken anew from {min(len(self.lessons), _RENEWING_BATCHES * self.batch)} samples"
        return f"statistics matched to those of the source model on {min(len(self.lessons), statistics_matching.SAMPLES)} samples"

    def renew_statistics(self, model) -> None:
        """Take the statistics of batch normalization anew, as means over batches, after `teach` with ``anew``.

        A moving average would still hold mostly the old ones after a short training.
        """
        import tf_keras

        # Dropout is at work too, and of its past a training that went on from a checkpoint knows another part.
        resuming.reseed(tf_keras, model, self.seed, *b"renew")
        layers, seen = statistics_matching.normalizations(model), 0
        momenta = [layer.momentum for layer in layers]
        for start in range(0, min(len(self.lessons), _RENEWING_BATCHES * self.batch), self.batch):
            given = [np.asarray(values[start : start + self.batch]) for values in self.lessons.inputs]
            seen += len(given[0])
            for layer in layers:
                # One that is frozen would only compute.
                layer.momentum, layer.trainable = 1 - len(given[0]) / seen, True
            model(one_or_all(given), training=True)
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum

    def match_statistics(self, model) -> None:
        """Move the statistics of batch normalization to where they fit what was changed before them, given samples enough."""
        if self.moments and self.enough:
            statistics_matching.match(model, samples_to_look_at(self.lessons, self.seed), self.moments)

    def gentle(self) -> "Schooling":
        """The same at a tenth of the rate and for half of the epochs, for what moves weights little."""
        return replace(self, learning_rate=self.learning_rate / 10, epochs=max(1, self.epochs // 2))

    def teach(self, model, stage: str, callbacks: Sequence = (), anew: bool = False) -> list[float]:
        """Train ``model`` (tf_keras) in place; returns the loss of each epoch. ``stage`` names the training.

        Batch normalization only computes meanwhile; its statistics are matched before and after every epoch. What was
        matched before is in the checkpoint. ``anew``: it goes by each batch instead; `renew_statistics` must follow.
        """
        import tf_keras

        for layer in statistics_matching.normalizations(model):
            layer.trainable = anew
        if not anew:
            self.match_statistics(model)
            callbacks = [*callbacks, tf_keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: self.match_statistics(model))]
        optimizer = resuming.optimizer(tf_keras, self.rate, len(self.lessons), self.epochs, self.batch)
        losses = resuming.fit(
            tf_keras,
            self.lessons.compiled(tf_keras, model, optimizer),
            self.lessons.inputs,
            self.lessons.answers,
            resuming.Stage(stage, self.epochs, self.batch, self.seed, self.unfinished),
            callbacks,
        )
        return [round(loss, 6) for loss in losses]


def samples_to_look_at(lessons: Lessons, seed: int) -> list[np.ndarray]:
    """A few samples of each input, drawn by ``seed``, for `statistics_matching`."""
    chosen = np.sort(resuming.order_of(len(lessons), seed, 0)[: statistics_matching.SAMPLES])
    return [np.asarray(values[chosen]) for values in lessons.inputs]
