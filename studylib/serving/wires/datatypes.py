"""Names of types: the Open Inference Protocol's and TensorFlow's, by numpy's."""

import numpy as np

from studylib.serving.requests import RequestError

# Source: Open Inference Protocol, "Tensor Data Types".
_V2 = {
    "bool": "BOOL", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64", "int8": "INT8", "int16": "INT16",
    "int32": "INT32", "int64": "INT64", "float16": "FP16", "float32": "FP32", "float64": "FP64",
}  # fmt: skip
_OF_V2 = {name: dtype for dtype, name in _V2.items()}
# Source: tensorflow/core/framework/types.proto.
_TENSORFLOW = {
    "float32": 1, "float64": 2, "int32": 3, "uint8": 4, "int16": 5, "int8": 6, "int64": 9, "bool": 10, "uint16": 17, "float16": 19,
    "uint32": 22, "uint64": 23,
}  # fmt: skip
_NAMES = {"float32": "float", "float64": "double", "float16": "half"}
_OF_TENSORFLOW = {number: dtype for dtype, number in _TENSORFLOW.items()}


def v2(dtype: str | np.dtype) -> str:
    """The protocol's name of a numpy type."""
    return _V2[np.dtype(dtype).name]


def of_v2(part: str, name: object) -> str:
    """numpy's name of the protocol's type. Raises `RequestError` for another."""
    return _found(part, _OF_V2, name)


def tensorflow(dtype: str | np.dtype) -> int:
    """The number of a numpy type in TensorFlow's messages."""
    return _TENSORFLOW[np.dtype(dtype).name]


def of_tensorflow(part: str, number: int) -> str:
    """numpy's name of TensorFlow's number. Raises `RequestError` for one that is no type of numbers."""
    return _found(part, _OF_TENSORFLOW, number)


def tensorflow_name(dtype: str) -> str:
    """TensorFlow's name of a numpy type, as its JSON has it: ``DT_FLOAT``."""
    return f"DT_{_NAMES.get(dtype, dtype).upper()}"


def of_tensorflow_name(part: str, name: object) -> str:
    """numpy's name of TensorFlow's name. Raises `RequestError` for one that is no type of numbers."""
    return _found(part, {tensorflow_name(dtype): dtype for dtype in _TENSORFLOW}, name)


def _found(part: str, table: dict, name: object) -> str:
    if not isinstance(name, str | int) or name not in table:
        raise RequestError(part, f"its type is '{str(name)[:40]}'", f"one of {', '.join(map(str, table))}")
    return table[name]
