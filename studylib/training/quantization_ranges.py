"""Where the ranges of fake-quantization begin, before a model is taught.

tfmot begins every range of activations at ±6 and moves it by a thousandth a step: after a short training a ReLU would still
waste half of its 255 steps on numbers below zero. Here ranges begin at what the float model shows on training samples.
"""

from collections.abc import Sequence

import numpy as np

from studylib.training.lessons import one_or_all

# How many batches are looked at.
_BATCHES = 4
# The share of a moving average that tfmot keeps at every step.
_KEPT = 0.999
_AFTER = ("output", "post_activation")
_ALL = (*_AFTER, "pre_activation")


def begin(quantized, model, inputs: Sequence[np.ndarray], batch: int) -> None:
    """Set the ranges in ``quantized`` (tf_keras) to those of ``model``, which it was made from, on the first samples."""
    seen = _seen(model, inputs, batch)
    open_ranges = []
    for layer in quantized.layers:
        for (kind, end), variable in _ranges(layer).items():
            name = layer.layer.name
            if kind in _AFTER and name in seen:
                variable.assign(seen[name][end])
            else:
                open_ranges.append(variable)
    _run_in(quantized, open_ranges, inputs, batch)


def _batches(inputs: Sequence[np.ndarray], batch: int):
    for start in range(0, min(len(inputs[0]), _BATCHES * batch), batch):
        yield one_or_all([np.asarray(values[start : start + batch]) for values in inputs])


def _seen(model, inputs, batch: int) -> dict[str, dict[str, float]]:
    """For each layer of one output the mean over batches of its least and largest number; zero is always among them."""
    import tensorflow as tf
    import tf_keras

    layers = [layer for layer in model.layers if len(layer._inbound_nodes) == 1 and isinstance(layer.output, type(model.outputs[0]))]
    looking = tf_keras.Model(model.inputs, [layer.output for layer in layers])

    @tf.function
    def ends(given):
        # A list even for one layer.
        outputs = tf.nest.flatten(looking(given, training=False))
        return [(tf.minimum(tf.reduce_min(one), 0), tf.maximum(tf.reduce_max(one), 0)) for one in map(_as_float, outputs)]

    found = np.mean([[(float(low), float(high)) for low, high in ends(given)] for given in _batches(inputs, batch)], axis=0)
    return {layer.name: {"min": low, "max": high} for layer, (low, high) in zip(layers, found, strict=True)}


def _as_float(values):
    import tensorflow as tf

    return tf.cast(values, tf.float32)


def _ranges(layer) -> dict[tuple[str, str], object]:
    """The variables of a wrapped layer's ranges of activations, by (kind, ``min`` or ``max``)."""
    found = {}
    for variable in layer.weights if hasattr(layer, "layer") else ():
        kind, _, end = variable.name.split("/")[-1].split(":")[0].rpartition("_")
        if kind in _ALL and end in ("min", "max") and variable.shape.rank == 0:
            found[kind, end] = variable
    return found


def _run_in(quantized, variables: list, inputs, batch: int) -> None:
    """Let the model watch some batches, and take out of its moving averages where they began."""
    import tf_keras

    frozen = [layer for layer in quantized._flatten_layers() if isinstance(layer, tf_keras.layers.BatchNormalization) and layer.trainable]
    for layer in frozen:
        layer.trainable = False
    before, steps = [variable.numpy() for variable in variables], 0
    for given in _batches(inputs, batch):
        quantized(given, training=True)
        steps += 1
    for layer in frozen:
        layer.trainable = True
    kept = _KEPT**steps
    for variable, began in zip(variables, before, strict=True):
        variable.assign((variable.numpy().astype(np.float64) - kept * began) / (1 - kept))
