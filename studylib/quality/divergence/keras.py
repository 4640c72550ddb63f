"""Keras models for the search: one layer is read through a model that ends there."""

from pathlib import Path

import numpy as np

from studylib.formats.keras_files import load_keras
from studylib.formats.keras_signature import library_of, signature_of
from studylib.quality.divergence.opened import Opened, Tensor, arrange
from studylib.training.reading import laid_open


def opened(path: Path, inputs: dict[str, np.ndarray]) -> Opened:
    model = load_keras(path)
    library, signature = library_of(model), signature_of(model)
    model = laid_open(library, model)
    values = arrange(inputs, [tensor.name for tensor in signature.inputs])
    layers = {layer.name: layer for layer in model.layers if _is_comparable(layer)}
    made = {id(tensor): name for name, layer in layers.items() for tensor in [layer.output]}
    tensors = [_tensor(layer, made, len(values[0])) for layer in layers.values()]

    def read(name: str) -> np.ndarray:
        part = library.Model(model.inputs, layers[name].output)
        return np.asarray(part(values[0] if len(values) == 1 else values, training=False))

    return Opened("keras", tensors, [made.get(id(tensor), "") for tensor in model.outputs], read, layers=True)


def _is_comparable(layer) -> bool:
    """Layers that are called once and give one tensor; the inputs are given, not computed."""
    once = len(layer._inbound_nodes) == 1
    return once and type(layer).__name__ != "InputLayer" and not isinstance(layer.output, list | tuple | dict)


def _tensor(layer, made: dict[int, str], batch: int) -> Tensor:
    shape = tuple(batch if axis == 0 and size is None else size for axis, size in enumerate(layer.output.shape))
    read = layer.input if isinstance(layer.input, list | tuple) else [layer.input]
    known = tuple(made[id(tensor)] for tensor in read if id(tensor) in made)
    return Tensor(layer.name, () if None in shape else shape, frozenset({layer.name}), known)
