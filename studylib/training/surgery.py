"""Rebuilds a model with fewer channels and blocks: names, inputs and outputs kept, weights sliced."""

from collections.abc import Iterable

import numpy as np

from studylib.training import kinds
from studylib.training.blocks import Block
from studylib.training.channels import Channels
from studylib.training.graph import rebuilt, weights_by_name


def cut(model, channels: Channels, kept: np.ndarray, without: Iterable[Block] = (), weights: bool = True):
    """A copy of ``model`` with the units ``kept`` (booleans, shape (units,)), and ``without`` those blocks.

    ``weights``: whether the copy takes over what stays of the model's weights; otherwise they are fresh.
    """
    import keras

    shortcuts = {block.name: block.shortcut for block in without}

    def call(operation, *args, **kwargs):
        if operation.name in shortcuts:
            tensors = [value for value in keras.tree.flatten((args, kwargs)) if keras.backend.is_keras_tensor(value)]
            return tensors[shortcuts[operation.name]]
        return operation(*args, **kwargs)

    def configure(operation, config):
        if operation.name not in channels.outputs:
            return config
        return kinds.cut_config(operation, config, np.flatnonzero(kept[channels.outputs[operation.name]]))

    copy = rebuilt(model, call, configure=configure)
    if weights:
        stays = {layer.name for layer in copy.layers}
        for name, arrays in weights_by_name(model).items():
            if name in stays:
                copy.get_layer(name).set_weights(_sliced(model.get_layer(name), arrays, channels, kept))
    return copy


def _sliced(layer, weights: list[np.ndarray], channels: Channels, kept: np.ndarray) -> list[np.ndarray]:
    if layer.name not in channels.outputs:
        return weights
    sides = [np.flatnonzero(kept[side[layer.name]]) for side in (channels.inputs, channels.outputs)]
    if all(kept[side[layer.name]].all() for side in (channels.inputs, channels.outputs)):
        return weights
    return kinds.cut_weights(layer, weights, *sides)
