"""What a training teaches: labels where there are some, otherwise the answers of the model it started from.

Works on models of Keras 3 and of legacy Keras alike: the module (`keras` or `tf_keras`) is the first argument.
"""

from dataclasses import dataclass

import numpy as np

from studylib.errors import RefusedError
from studylib.models.zoo import Samples

_BATCH = 32
# How far rows of probabilities may be from a sum of one.
_SUM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Lessons:
    """Samples and what is to be answered, in the order of the model's inputs and of its taught outputs; first axis the sample.

    ``outputs``: positions of the taught outputs among the model's. ``losses``: one for each, by its name in ``keras.losses``.
    ``from_scores``: whether the outputs are scores before a softmax or sigmoid, for losses on probabilities. ``weights``:
    factors that make the losses of several outputs comparable. ``taught``: in words, for the notes.
    """

    inputs: list[np.ndarray]
    answers: list[np.ndarray]
    outputs: list[int]
    losses: list[str]
    from_scores: list[bool]
    weights: list[float]
    taught: str

    def __len__(self) -> int:
        return len(self.inputs[0])

    @property
    def labelled(self) -> bool:
        """Whether labels are taught, not the answers of a model."""
        return self.losses[0].endswith("Crossentropy")

    def compiled(self, keras, model, optimizer):
        """A model of the same layers as ``model`` with flat tuples of inputs and taught outputs, ready for `resuming.fit`."""
        flat = keras.Model(one_or_all(model.inputs), one_or_all([model.outputs[index] for index in self.outputs]))
        losses = [_loss(keras, name, scores) for name, scores in zip(self.losses, self.from_scores, strict=True)]
        flat.compile(optimizer=optimizer, loss=one_or_all(losses), loss_weights=one_or_all(self.weights))
        return flat


def lessons(keras, model, samples: Samples) -> Lessons:
    """What ``model`` (functional or sequential) is taught with ``samples``.

    Integer labels, one a sample, are taught to a model with one row of scores as its only output. Otherwise the model's own
    answers are, by the Kullback-Leibler divergence where they are probabilities and by the mean squared error elsewhere.
    Raises `RefusedError` for samples that do not fit, that are not finite, or from which nothing can be learned.
    """
    inputs = inputs_of(model, samples)
    answers = answers_of(keras, model, inputs)
    if not all(np.isfinite(values).all() for values in answers if values.dtype.kind == "f"):
        raise RefusedError("the source model answers training samples with NaN or infinity; give samples it can answer")
    if samples.labels is not None and _is_classifier(answers, samples.labels):
        return _labelled(inputs, np.asarray(samples.labels), answers[0])
    return _imitated(inputs, answers)


def inputs_of(model, samples: Samples) -> list[np.ndarray]:
    """The samples of each of the model's inputs, in their order. Raises `RefusedError` when they do not fit."""
    names = [tensor.name.split(":")[0] for tensor in model.inputs]
    given = list(samples.inputs)
    if len(samples) == 0:
        raise RefusedError("there are no training samples; give at least one")
    if set(names) != set(given):
        if len(names) != len(given) or len(names) > 1:
            raise RefusedError(f"training samples are for the inputs {given}; the model has {names}")
        names = given
    for name in names:
        if samples.batch_axes.get(name, 0) != 0:
            raise RefusedError(f"the input '{name}' has no batch on its first axis; a training needs one")
        values = samples.inputs[name]
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise RefusedError(f"training samples of the input '{name}' hold NaN or infinity; remove those samples")
    return [samples.inputs[name] for name in names]


def answers_of(keras, model, inputs: list[np.ndarray], batch: int = _BATCH) -> list[np.ndarray]:
    """What ``model`` answers now, one array for each output in the order of ``model.outputs``."""
    flat = keras.Model(one_or_all(model.inputs), one_or_all(model.outputs))
    found = flat.predict(one_or_all(inputs), batch_size=batch, verbose=0)
    return list(found) if isinstance(found, list | tuple) else [found]


def one_or_all(values: list):
    """A single value as itself, several as a tuple, as Keras takes them for one or several inputs, outputs and losses."""
    return values[0] if len(values) == 1 else tuple(values)


def _is_classifier(answers: list[np.ndarray], labels: np.ndarray) -> bool:
    return len(answers) == 1 and _is_float(answers[0]) and answers[0].ndim == 2 and labels.ndim == 1 and labels.dtype.kind in "iub"


def _labelled(inputs: list[np.ndarray], labels: np.ndarray, scores: np.ndarray) -> Lessons:
    classes = max(2, scores.shape[1])
    if labels.min() < 0 or labels.max() >= classes:
        outside = labels.min() if labels.min() < 0 else labels.max()
        raise RefusedError(f"the label {outside} is none of the model's {classes} classes; allowed are 0 to {classes - 1}")
    if scores.shape[1] == 1:
        loss, labels, raw = "BinaryCrossentropy", labels.astype(np.float32)[:, None], bool(scores.min() < 0 or scores.max() > 1)
    else:
        loss, raw = "SparseCategoricalCrossentropy", not _are_probabilities(scores)
    return Lessons(inputs, [labels], [0], [loss], [raw], [1.0], f"labels of {len(labels)} samples, by cross-entropy")


def _imitated(inputs: list[np.ndarray], answers: list[np.ndarray]) -> Lessons:
    taught = [index for index, values in enumerate(answers) if _is_float(values)]
    if not taught:
        raise RefusedError(f"no output of the model is a float ({answers[0].dtype}): there is nothing to follow downhill; give labels")
    chosen = [answers[index] for index in taught]
    probable = [_are_probabilities(values) for values in chosen]
    losses = ["KLDivergence" if one else "MeanSquaredError" for one in probable]
    # Squared errors count in units of the answers' variance, so that outputs of different size count alike.
    weights = [1.0 if one else 1 / (float(values.var()) or 1.0) for one, values in zip(probable, chosen, strict=True)]
    words = {"KLDivergence": "Kullback-Leibler divergence", "MeanSquaredError": "mean squared error over the answers' variance"}
    named = ", ".join(words[loss] for loss in dict.fromkeys(losses))
    return Lessons(
        inputs,
        chosen,
        taught,
        losses,
        [False] * len(taught),
        weights,
        f"the source model's own answers to {len(inputs[0])} samples, by {named}",
    )


def _is_float(values: np.ndarray) -> bool:
    return values.dtype.kind == "f"


def _are_probabilities(scores: np.ndarray) -> bool:
    """Whether each row along the last axis is a distribution over several classes."""
    if scores.ndim < 2 or scores.shape[-1] < 2 or scores.min() < 0:
        return False
    return bool(np.abs(scores.sum(-1) - 1).max() < _SUM_TOLERANCE)


def _loss(keras, name: str, from_scores: bool):
    kind = getattr(keras.losses, name)
    return kind(from_logits=from_scores) if name.endswith("Crossentropy") else kind()
