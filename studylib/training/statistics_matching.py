"""Batch normalization after kernels have changed: statistics moved so that what it hands on is distributed as before.

Statistics taken anew from a few samples would be those of other images than the model was trained on: with those of 160 crops
EfficientNet-Lite0 itself, no weight changed, agrees with itself in 18 % of its answers. Here the same samples go through the
model before and after the change, and only the difference counts. The idea is that of REPAIR (Jordan et al., 2023), with
moments of every channel.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from studylib.training.lessons import one_or_all

# Samples that are looked at; all at once, since each layer must have been moved before the next one is looked at.
SAMPLES = 64
# A variance is multiplied by this at most, and divided by it.
_MOST = 100.0
_TINY = 1e-8


@dataclass(frozen=True)
class Moments:
    """Of one layer: mean and variance by channel of what it was given, and the moving ones that it held then."""

    mean: np.ndarray
    variance: np.ndarray
    moving_mean: np.ndarray
    moving_variance: np.ndarray


def observed(model, inputs: Sequence[np.ndarray]) -> dict[str, Moments]:
    """The moments of every batch normalization of ``model`` (tf_keras) that is used once, by its name."""
    found: dict[str, list[Moments]] = {}

    def look(layer, values) -> None:
        held = layer.moving_mean.numpy(), layer.moving_variance.numpy()
        found.setdefault(layer.name, []).append(Moments(*_moments(layer, values), *held))

    _run(model, inputs, look)
    return {name: moments for name, (moments, *again) in found.items() if not again}


def match(model, inputs: Sequence[np.ndarray], before: dict[str, Moments]) -> None:
    """Move the statistics in ``model`` so that every layer of ``before`` normalizes these inputs to the moments it did then."""

    def move(layer, values) -> None:
        if layer.name not in before:
            return
        was, (mean, variance) = before[layer.name], _moments(layer, values)
        grown = np.clip((variance + _TINY) / (was.variance + _TINY), 1 / _MOST, _MOST)
        layer.moving_mean.assign(mean - (was.mean - was.moving_mean) * np.sqrt(grown))
        layer.moving_variance.assign(np.maximum((was.moving_variance + layer.epsilon) * grown - layer.epsilon, 0))

    _run(model, inputs, move)


def normalizations(model) -> list:
    """The batch normalizations in ``model`` (tf_keras)."""
    import tf_keras

    return [layer for layer in model._flatten_layers() if isinstance(layer, tf_keras.layers.BatchNormalization)]


def _run(model, inputs: Sequence[np.ndarray], see: Callable) -> None:
    """One pass over ``inputs`` in which ``see(layer, values)`` gets what each batch normalization is given, before it computes."""
    with _seeing(normalizations(model), see):
        model(one_or_all([np.asarray(values) for values in inputs]), training=False)


@contextmanager
def _seeing(layers: list, see: Callable) -> Iterator[None]:
    def instead(layer):
        compute = layer.call

        def call(values, *args, **kwargs):
            see(layer, values)
            return compute(values, *args, **kwargs)

        return call

    for layer in layers:
        layer.call = instead(layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.call


def _moments(layer, values) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance over all axes but the layer's own, in the shape of its statistics."""
    import tensorflow as tf

    own = [axis % len(values.shape) for axis in tf.nest.flatten(layer.axis)]
    others = [axis for axis in range(len(values.shape)) if axis not in own]
    mean, variance = tf.nn.moments(tf.cast(values, tf.float32), others)
    return tuple(one.numpy().reshape(layer.moving_mean.shape) for one in (mean, variance))
