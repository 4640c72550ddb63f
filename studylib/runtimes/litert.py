"""LiteRT (formerly TensorFlow Lite): the interpreter of the package ai-edge-litert."""

from pathlib import Path
from typing import ClassVar

import numpy as np

from studylib.errors import ArtifactError
from studylib.hardware import Host
from studylib.runtimes.base import Inputs, Options, Runtime, Session

_PHONE_DELEGATES = {"gpu": "Android", "nnapi": "Android", "coreml": "iOS", "metal": "iOS"}


class LiteRT(Runtime):
    """A ``.tflite`` file on the CPU (XNNPACK). Delegates of phones are named here and run on phones only."""

    name: ClassVar[str] = "litert"
    format: ClassVar[str] = "tflite"
    package: ClassVar[str] = "ai-edge-litert"
    providers: ClassVar[tuple[str, ...]] = ("cpu", *_PHONE_DELEGATES)

    def why_not(self, provider: str, host: Host) -> str | None:
        if provider in _PHONE_DELEGATES:
            phone = _PHONE_DELEGATES[provider]
            return f"the {provider} delegate needs the LiteRT runtime of an {phone} app; it cannot be opened from Python on {host.system}"
        return super().why_not(provider, host)

    def activate(self, options: Options) -> None:
        import ai_edge_litert.interpreter  # noqa: F401

    def load(self, path: Path, options: Options) -> Session:
        return _Session(path, options.threads)


class _Session(Session):
    def __init__(self, path: Path, threads: int):
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(model_path=str(path), num_threads=threads)
        self._inputs = {_plain(tensor["name"]): tensor for tensor in self._interpreter.get_input_details()}
        self._outputs = sorted(self._interpreter.get_output_details(), key=lambda tensor: tensor["name"])
        self._shapes: dict[str, tuple[int, ...]] = {}

    def run(self, inputs: Inputs) -> list[np.ndarray]:
        interpreter = self._interpreter
        if any(self._shapes.get(name) != values.shape for name, values in inputs.items()):
            self._resize(inputs)
        for name, values in inputs.items():
            tensor = self._inputs[name]
            interpreter.set_tensor(tensor["index"], values if values.dtype == tensor["dtype"] else _quantized(values, tensor))
        interpreter.invoke()
        return [_real(interpreter.get_tensor(tensor["index"]), tensor) for tensor in self._outputs]

    def placement(self) -> str:
        return "CPU"

    def _resize(self, inputs: Inputs) -> None:
        if set(inputs) != set(self._inputs):
            raise ArtifactError(f"the file has the inputs {sorted(self._inputs)}, and {sorted(inputs)} were given")
        for name, values in inputs.items():
            self._interpreter.resize_tensor_input(self._inputs[name]["index"], values.shape)
            self._shapes[name] = values.shape
        self._interpreter.allocate_tensors()


def _plain(name: str) -> str:
    """``serving_default_image:0`` to ``image``."""
    return name.removeprefix("serving_default_").split(":")[0]


def _quantized(values: np.ndarray, tensor: dict) -> np.ndarray:
    scale, zero = tensor["quantization"]
    limits = np.iinfo(tensor["dtype"])
    return np.clip(np.rint(values / scale) + zero, limits.min, limits.max).astype(tensor["dtype"])


def _real(values: np.ndarray, tensor: dict) -> np.ndarray:
    if values.dtype.kind == "f":
        return values
    scale, zero = tensor["quantization"]
    return (values.astype(np.float32) - zero) * np.float32(scale) if scale else values
