"""Data-dependent initialisation: random networks whose outputs tell one sample from another.

A random network with its layers as they come answers every sample alike, and any quantized copy of it looks perfect.
Scaling layers by what real inputs do to them repairs that. Source: LSUV, Mishkin & Matas 2015, "All you need is a good init".
"""

import numpy as np

LOGIT_DEVIATION = 3.0  # A softmax over 1000 such logits gives its best class 5 to 50 %, as trained classifiers do.


def set_batch_statistics(model, inputs: dict[str, np.ndarray]) -> None:
    """Give every BatchNormalization the mean and variance that ``inputs`` have where it stands, in one pass."""
    import keras

    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0  # the moving statistics become the batch's own
    model(inputs, training=True)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


def set_unit_variance(model, inputs: dict[str, np.ndarray], names: list[str]) -> None:
    """Scale the kernels of the Dense layers ``names``, in this order, so that each puts out a standard deviation of 1."""
    for name in names:
        layer = model.get_layer(name)
        kernel, bias = layer.get_weights()
        layer.set_weights([kernel / _seen_at(model, layer.input, inputs, layer).std(), bias])


def spread_logits(model, inputs: dict[str, np.ndarray], name: str, deviation: float = LOGIT_DEVIATION) -> None:
    """Scale and centre Dense layer ``name``: over ``inputs`` each of its units has mean 0 and standard deviation ``deviation``."""
    layer = model.get_layer(name)
    kernel, bias = layer.get_weights()
    logits = _seen_at(model, layer.input, inputs, layer).reshape(-1, kernel.shape[1])
    scale = deviation / logits.std(axis=0)
    layer.set_weights([kernel * scale, (bias - logits.mean(axis=0)) * scale])


def _seen_at(model, tensor, inputs: dict[str, np.ndarray], layer) -> np.ndarray:
    """What Dense ``layer`` makes of ``inputs`` before its activation, float64, last axis its units."""
    import keras

    features = keras.Model(model.inputs, tensor)([inputs[source.name] for source in model.inputs])
    kernel, bias = layer.get_weights()
    return np.asarray(features, np.float64) @ kernel + bias
