"""Statistics of batch normalisation, measured anew where the layers before it have changed.

Keras' moving averages forget slowly (momentum 0.99): a short training on few samples ends with those of another model.
"""

import numpy as np

from studylib.training.lessons import Lessons, one_or_all
from studylib.training.resuming import order_of, reseed

_BATCH = 32
_SAMPLES = 1024


def renormalise(model, lesson: Lessons, seed: int) -> int:
    """Set every moving mean and variance to the average over batches of the lessons; how many layers there were."""
    import keras

    # Dropout is at work too, and of its past a training that went on from a checkpoint knows another part.
    reseed(keras, model, seed, *b"renormalise")
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable]
    order = order_of(len(lesson), seed, 0)[:_SAMPLES]
    batches = np.array_split(order, max(1, len(order) // _BATCH))
    momenta = [layer.momentum for layer in layers]
    try:
        for seen, chosen in enumerate(batches if layers else []):
            for layer in layers:
                layer.momentum = seen / (seen + 1)  # the average of all batches so far
            flat = [values[chosen] for values in lesson.inputs]
            model(keras.tree.pack_sequence_as(model.input, flat) if len(flat) > 1 else one_or_all(flat), training=True)
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
    return len(layers)
