"""Multiply-accumulates of one LiteRT operator from the shapes of its inputs and outputs. Weights lie output channels first."""

from studylib.formats.inside.counting import Count, convolution, matrix_product, product, recurrent
from studylib.formats.inside.tensorflow_macs import COUNTED

_STEPWISE = ("UNIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN", "BIDIRECTIONAL_SEQUENCE_RNN")
_SINGLE = ("LSTM", "RNN")
_UNKNOWN = ("STABLEHLO_CONVOLUTION", "STABLEHLO_DOT_GENERAL", "STABLEHLO_COMPOSITE", "STABLEHLO_CUSTOM_CALL", "CALL", "SVDF", "DELEGATE")


def operator_macs(what: str, kind: str, options, inputs: list, outputs: list, custom: bool) -> Count:
    """MACs of one operator; 0 for those without multiply-accumulates."""
    if kind in ("CONV_2D", "DEPTHWISE_CONV_2D", "CONV_3D"):
        # Depthwise weights are (1, height, width, channels), 3D weights (depth, height, width, in, out).
        channels = _axis(inputs[1], 0 if kind == "CONV_2D" else -1)
        return convolution(what, outputs[0], inputs[1], channels)
    if kind == "TRANSPOSE_CONV":
        return convolution(what, inputs[2], inputs[1], _axis(inputs[1], -1))
    if kind == "CONV_3D_TRANSPOSE":
        return convolution(what, inputs[2], inputs[1], _axis(inputs[1], -1))
    if kind == "FULLY_CONNECTED":
        return matrix_product(what, outputs[0], _axis(inputs[1], -1))
    if kind == "BATCH_MATMUL":
        return matrix_product(what, outputs[0], _axis(inputs[0], -2 if options.adjX else -1))
    if kind in _STEPWISE or kind in _SINGLE:
        return _recurrent(what, kind, options, inputs)
    return _other(what, kind, custom)


def _axis(shape, axis: int) -> int | None:
    return shape[axis] if shape else None


def _recurrent(what: str, kind: str, options, inputs: list) -> Count:
    """Every matrix among the weights meets one vector per step and sample; vectors are biases and peepholes."""
    if not inputs[0]:
        return product(what, None)
    matrices = [shape for shape in _weights(kind, inputs) if shape is not None and len(shape) == 2]
    if kind in _SINGLE:
        return recurrent(what, 1, inputs[0][0], matrices)
    steps, batch = inputs[0][:2] if options.timeMajor else (inputs[0][1], inputs[0][0])
    return recurrent(what, steps, batch, matrices)


def _weights(kind: str, inputs: list) -> list:
    """The weights among the inputs; the states at the end are (batch, hidden) and no weights."""
    if kind == "BIDIRECTIONAL_SEQUENCE_LSTM":
        return inputs[1:35]
    if kind == "BIDIRECTIONAL_SEQUENCE_RNN":
        return [*inputs[1:3], *inputs[5:7]]
    return inputs[1:18] if kind.endswith("LSTM") else inputs[1:3]


def _other(what: str, kind: str, custom: bool) -> Count:
    flex = kind.startswith("Flex")
    if kind in _UNKNOWN or (custom and (not flex or kind.removeprefix("Flex") in COUNTED)):
        return f"how many multiply-accumulates {what} makes is not known here"
    return 0
