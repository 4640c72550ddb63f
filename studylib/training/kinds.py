"""What each kind of Keras layer does to channels: which it mixes, passes on or ties, what it costs, how it is cut.

Channels are the last axis of a tensor. A kind that is not here is never cut, and neither is anything it touches.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# Layers and functions that treat every channel by itself and hold no weights.
_BY_RANK = (
    "SpatialDropout", "MaxPooling", "AveragePooling", "GlobalMaxPooling", "GlobalAveragePooling", "ZeroPadding", "Cropping", "UpSampling",
)  # fmt: skip
PLAIN = (
    "ReLU", "LeakyReLU", "ELU", "Activation", "Identity", "ActivityRegularization",
    "Dropout", "AlphaDropout", "GaussianDropout", "GaussianNoise",
    *(f"{kind}{rank}D" for kind in _BY_RANK for rank in (1, 2, 3)),
)  # fmt: skip
NORMALISING = ("BatchNormalization", "PReLU")
MERGING = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")
# What `keras.ops` and the operators of Python leave in a graph under the same names and with the same meaning.
_OPERATIONS = ("Add", "Subtract", "Multiply", "Maximum", "Minimum", "Concatenate")
_ELEMENTWISE = {
    "linear", "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "swish", "mish", "tanh", "sigmoid", "log_sigmoid",
    "softplus", "softsign", "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh", "exponential", "squareplus",
}  # fmt: skip


@dataclass(frozen=True)
class Mixing:
    """A kind whose outputs each depend on all inputs: removing an input changes sums, removing an output changes nothing else.

    ``axes``: where kernel number ``i`` of its weights has its input and output channels, None where it has none.
    ``count``: the name of its output channels in its configuration. ``macs(call)``: see `terms`.
    """

    count: str
    axes: tuple[tuple[int | None, int | None], ...]
    macs: Callable


def kind_of(operation) -> str:
    """The class name of a layer or operation that Keras itself brings, or "" for any other."""
    import keras

    name = type(operation).__name__
    known = isinstance(operation, keras.layers.Layer) or name in _OPERATIONS
    return name if known and type(operation).__module__.startswith("keras.") else ""


def why_untouchable(call) -> str | None:
    """Why no channel of a layer of a known kind may be removed, neither before nor after it, in words, or None."""
    operation = call.operation
    if getattr(operation, "data_format", None) == "channels_first":
        return "its channels come first"
    if getattr(operation, "groups", 1) not in (1, None):
        return "a grouped convolution"
    if getattr(operation, "quantization_mode", None):
        return "it is quantized"
    if kind_of(operation) == "BatchNormalization" and operation.axis not in (-1, len(call.output_shape) - 1):
        return f"it normalises axis {operation.axis}, not the channels"
    return None


def why_outputs_stay(operation) -> str | None:
    """Why its outputs must all stay although its inputs need not, in words, or None."""
    activation = getattr(operation, "activation", None)
    if activation is None or getattr(activation, "__name__", "") in _ELEMENTWISE:
        return None
    return f"its activation {getattr(activation, '__name__', activation)} reads all channels at once"


def _positions(shape: tuple) -> int:
    """How often a kernel is applied for one sample: the sizes between batch and channels."""
    return math.prod(shape[1:-1])


def _convolution(call) -> list[tuple]:
    return [(_positions(call.output_shape) * math.prod(call.operation.kernel_size) / call.operation.groups, True, True)]


def _transposed(call) -> list[tuple]:
    return [(_positions(call.input_shapes[0]) * math.prod(call.operation.kernel_size), True, True)]


def _separable(call) -> list[tuple]:
    operation, positions = call.operation, _positions(call.output_shape)
    depth = operation.depth_multiplier
    return [(positions * math.prod(operation.kernel_size) * depth, True, False), (positions * depth, True, True)]


def _dense(call) -> list[tuple]:
    return [(_positions(call.output_shape), True, True)]


_CONVOLUTION = Mixing("filters", ((-2, -1), (None, -1)), _convolution)
_TRANSPOSED = Mixing("filters", ((-1, -2), (None, -1)), _transposed)
_SEPARABLE = Mixing("filters", ((-2, None), (-2, -1), (None, -1)), _separable)
MIXING: dict[str, Mixing] = {
    **{f"Conv{rank}D": _CONVOLUTION for rank in (1, 2, 3)},
    **{f"Conv{rank}DTranspose": _TRANSPOSED for rank in (1, 2, 3)},
    **{f"SeparableConv{rank}D": _SEPARABLE for rank in (1, 2)},
    "Dense": Mixing("units", ((-2, -1), (None, -1)), _dense),
}
DEPTHWISE = ("DepthwiseConv1D", "DepthwiseConv2D")


def terms(call) -> list[tuple[int, bool, bool]]:
    """The multiply-accumulates of a call for one sample, as (factor, times inputs?, times outputs?) to be added up."""
    kind = kind_of(call.operation)
    if kind in MIXING:
        return MIXING[kind].macs(call)
    if kind in DEPTHWISE:
        return [(_positions(call.output_shape) * math.prod(call.operation.kernel_size), False, True)]
    return []


def cut_config(operation, config: dict, outputs: np.ndarray) -> dict:
    """The configuration of ``operation`` when only ``outputs`` of its output channels stay (indices)."""
    kind = kind_of(operation)
    if kind in MIXING:
        return config | {MIXING[kind].count: len(outputs)}
    if kind == "Reshape" and config["target_shape"][-1] != -1:
        return config | {"target_shape": (*config["target_shape"][:-1], len(outputs))}
    return config


def cut_weights(operation, weights: list[np.ndarray], inputs: np.ndarray, outputs: np.ndarray) -> list[np.ndarray]:
    """The weights of ``operation`` of which only channels ``inputs`` and ``outputs`` stay (indices)."""
    kind = kind_of(operation)
    if kind in MIXING:
        sides = [(inputs if i == 0 or kind not in _SEPARABLE_NAMES else _spread(inputs, operation), outputs) for i in range(len(weights))]
        return [_taken(w, axes, side) for w, axes, side in zip(weights, MIXING[kind].axes, sides, strict=False)]
    if kind in DEPTHWISE:  # kernel (…, inputs, multiplier), bias (inputs * multiplier)
        return [weights[0].take(inputs, -2), *(bias.take(outputs, -1) for bias in weights[1:])]
    if kind in NORMALISING:
        return [weight.take(outputs, -1) for weight in weights]
    return weights


_SEPARABLE_NAMES = tuple(kind for kind, mixing in MIXING.items() if mixing is _SEPARABLE)


def _spread(inputs: np.ndarray, operation) -> np.ndarray:
    """The channels between the two halves of a separable convolution that come from ``inputs``."""
    depth = operation.depth_multiplier
    return (inputs[:, None] * depth + np.arange(depth)).ravel()


def _taken(weight: np.ndarray, axes: tuple, sides: tuple) -> np.ndarray:
    for axis, kept in zip(axes, sides, strict=True):
        weight = weight if axis is None else weight.take(kept, axis)
    return weight
