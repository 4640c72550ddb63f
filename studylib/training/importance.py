"""How much the loss would grow without each unit of channels, and without each block.

Of channels: on training samples, the mean square of the loss's first-order change when the unit's activations become zero,
halved; where the model itself is the teacher, with answers drawn from its own distribution, which makes it the second-order
growth of the Kullback-Leibler divergence. Source: Theis et al., "Faster gaze prediction with dense networks and Fisher
pruning" (2018); activation x gradient as in Molchanov et al. (2017).
"""

import numpy as np

from studylib.training import kinds
from studylib.training.channels import Channels
from studylib.training.graph import rebuilt, weights_by_name
from studylib.training.lessons import Lessons, one_or_all

_BATCH = 16
# Below this a probability counts as this, so that its logarithm stays finite.
_TINY = 1e-7


def fisher(model, channels: Channels, lessons: Lessons, samples: int, seed: int) -> np.ndarray:
    """Expected growth of the loss by unit, shape (units,), on the first ``samples`` lessons.

    It was compared with the mean absolute weight of each unit relative to its layer (Li et al., 2017), which sees no sample.
    """
    import keras
    import tensorflow as tf

    probed, names = _probed(keras, tf, model, channels)
    chance = np.random.default_rng([seed, 2])

    @tf.function(reduce_retracing=True)
    def slopes(inputs, lesson):
        with tf.GradientTape() as tape:
            outputs, activations = probed(one_or_all(list(inputs)), training=False)
            loss = _loss(tf, lessons, outputs, lesson)
        gradients = tape.gradient(loss, activations, unconnected_gradients="zero")
        # Over all places of a channel: the loss's slope when the whole channel is scaled, shape (batch, channels).
        return [tf.reduce_sum(a * g, list(range(1, len(a.shape) - 1))) for a, g in zip(activations, gradients, strict=True)]

    found = np.zeros(channels.count)
    for start in range(0, samples, _BATCH):
        chosen = slice(start, min(start + _BATCH, samples))
        lesson = _lesson(lessons, chosen, chance)
        by_unit = np.zeros((chosen.stop - start, channels.count))
        for name, values in zip(names, slopes([values[chosen] for values in lessons.inputs], lesson), strict=True):
            np.add.at(by_unit, (slice(None), channels.inputs[name]), values.numpy())
        found += (by_unit**2).sum(0)
    return found / (2 * samples)


def _probed(keras, tf, model, channels: Channels):
    """The model with the activations that layers of a known mixing kind read as further outputs, and those layers' names."""

    class Probe(keras.layers.Layer):
        """Its input again, as a tensor of its own: a slope taken there is that of this one reader."""

        def call(self, inputs):
            return tf.identity(inputs)

    names, probes = [], []

    def call(operation, *args, **kwargs):
        if kinds.kind_of(operation) in kinds.MIXING and operation.name in channels.inputs and len(args) == 1:
            names.append(operation.name)
            probes.append(Probe(name=f"{operation.name}-probe-{len(probes)}")(args[0]))
            args = (probes[-1],)
        return operation(*args, **kwargs)

    copy = rebuilt(model, call)
    for name, weights in weights_by_name(model).items():
        copy.get_layer(name).set_weights(weights)
    return keras.Model(one_or_all(copy.inputs), (copy.outputs, probes)), names


def _lesson(lessons: Lessons, chosen: slice, chance: np.random.Generator) -> list[np.ndarray]:
    """What is asked of each taught output: classes (labels, or drawn from the answers), or random directions for numbers."""
    return [_asked(loss, answers[chosen], chance) for loss, answers in zip(lessons.losses, lessons.answers, strict=True)]


def _asked(loss: str, answers: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    if loss == "KLDivergence":
        reached = np.cumsum(answers, -1) >= chance.random((*answers.shape[:-1], 1)) * answers.sum(-1, keepdims=True)
        return reached.argmax(-1).astype(np.int64)
    if loss == "MeanSquaredError":
        return chance.standard_normal(answers.shape).astype(np.float32)
    return answers


def _loss(tf, lessons: Lessons, outputs: list, lesson: list):
    """Whose slopes, squared and halved, are the growth of the lessons' losses; the sum over the batch."""
    total = 0.0
    for index, kind, scores, weight, asked in zip(
        lessons.outputs, lessons.losses, lessons.from_scores, lessons.weights, lesson, strict=True
    ):
        output = tf.cast(outputs[index], tf.float32)
        if kind == "MeanSquaredError":
            size = tf.cast(tf.size(output[0]), tf.float32)
            total += tf.reduce_sum(output * asked) * (2 * weight / size) ** 0.5
        elif kind == "BinaryCrossentropy":
            score = output if scores else tf.math.log(output + _TINY) - tf.math.log(1 - output + _TINY)
            total += tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(asked, score))
        else:
            total += tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(asked, output if scores else tf.math.log(output + _TINY)))
    return total


def loss_of(model, lessons: Lessons, samples: int) -> float:
    """The lessons' loss of ``model`` on the first ``samples`` lessons."""
    import keras

    inputs, answers = ([values[:samples] for values in side] for side in (lessons.inputs, lessons.answers))
    compiled = lessons.compiled(keras, model, "sgd")
    found = compiled.evaluate(one_or_all(inputs), one_or_all(answers), batch_size=_BATCH, verbose=0, return_dict=True)
    return float(found["loss"])
