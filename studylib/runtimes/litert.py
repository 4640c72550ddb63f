"""LiteRT (formerly TensorFlow Lite): the interpreter of the package ai-edge-litert."""

from pathlib import Path
from typing import ClassVar

import numpy as np

from studylib.errors import ArtifactError, RefusedError
from studylib.formats.input_names import as_known
from studylib.formats.litert_names import ends, keeps_state
from studylib.machine.hardware import Host
from studylib.runtimes.base import SESSIONS, Inputs, Options, Outputs, Runtime, Session
from studylib.runtimes.signature import Signature, TensorSpec

_PHONE_DELEGATES = {"gpu": "Android", "nnapi": "Android", "coreml": "iOS", "metal": "iOS"}


class LiteRT(Runtime):
    """A ``.tflite`` file on the CPU. Delegates of phones are named here and run on phones only.

    Settings: ``xnnpack``, the library whose kernels the interpreter takes by itself, or else its own; ``sessions``,
    interpreters beside each other.
    """

    name: ClassVar[str] = "litert"
    format: ClassVar[str] = "tflite"
    package: ClassVar[str] = "ai-edge-litert"
    providers: ClassVar[tuple[str, ...]] = ("cpu", *_PHONE_DELEGATES)
    settings: ClassVar[dict[str, tuple[str, ...]]] = {"xnnpack": ("on", "off"), SESSIONS: ("1", "2", "4", "8")}
    answering: ClassVar[frozenset[str]] = frozenset(("xnnpack",))

    def why_not(self, provider: str, host: Host) -> str | None:
        if provider in _PHONE_DELEGATES:
            phone = _PHONE_DELEGATES[provider]
            return f"the {provider} delegate needs the LiteRT runtime of an {phone} app; it cannot be opened from Python on {host.system}"
        return super().why_not(provider, host)

    def activate(self, options: Options) -> None:
        import ai_edge_litert.interpreter  # noqa: F401

    def _load(self, path: Path, options: Options) -> Session:
        return _Session(path, options.threads, self.setting(options, "xnnpack") == "on")


class _Session(Session):
    def __init__(self, path: Path, threads: int, xnnpack: bool):
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        resolver = OpResolverType.AUTO if xnnpack else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        self._open = lambda: Interpreter(model_path=str(path), num_threads=threads, experimental_op_resolver_type=resolver)
        self._begin()

    def anew(self, inputs: Inputs) -> Outputs:
        if keeps_state(self._interpreter):
            # `reset_all_variables` leaves those that are resources as they are.
            self._begin()
        return self.run(inputs)

    def run(self, inputs: Inputs) -> Outputs:
        interpreter = self._interpreter
        if inputs.keys() != self._inputs.keys():
            inputs = as_known(inputs, self._inputs)
        if any(self._shapes.get(name) != values.shape for name, values in inputs.items()):
            self._resize(inputs)
        for name, values in inputs.items():
            tensor = self._inputs[name]
            interpreter.set_tensor(tensor["index"], _given(values, tensor))
        interpreter.invoke()
        return {name: _real(interpreter.get_tensor(tensor["index"]), tensor) for name, tensor in self._outputs.items()}

    def placement(self) -> str:
        return "CPU"

    def signature(self) -> Signature:
        return Signature(*(tuple(_spec(name, tensor) for name, tensor in ports.items()) for ports in (self._inputs, self._outputs)))

    def _begin(self) -> None:
        self._interpreter = self._open()
        self._inputs, self._outputs = ends(self._interpreter)
        self._shapes: dict[str, tuple[int, ...]] = {}

    def _resize(self, inputs: Inputs) -> None:
        if set(inputs) != set(self._inputs):
            raise ArtifactError(f"the file has the inputs {sorted(self._inputs)}, and {sorted(inputs)} were given")
        for name, values in inputs.items():
            fixed = [int(size) for size in self._inputs[name]["shape_signature"]]
            # A size that the file fixes is often built into its inner shapes as well: resizing would answer wrongly.
            if len(fixed) != values.ndim or any(size not in (-1, given) for size, given in zip(fixed, values.shape, strict=True)):
                raise RefusedError(f"the file takes '{name}' with the fixed shape {fixed}, and {list(values.shape)} was asked for")
            self._interpreter.resize_tensor_input(self._inputs[name]["index"], values.shape)
            self._shapes[name] = values.shape
        self._interpreter.allocate_tensors()


class RawTensors:
    """A file's queries and answers as LiteRT's own tools read and write them: bytes, tensor by tensor in the file's own order.

    ``query``: one query, to whose shapes the file's inputs are resized; raises `RefusedError` where the file fixes others.
    """

    def __init__(self, path: Path, query: Inputs):
        self._session = _Session(path, 1, True)
        self._session.run(query)  # some outputs have their shape only then

    @property
    def shapes(self) -> list[list[int]]:
        """The shape of each input, in the file's order."""
        return [[int(size) for size in tensor["shape"]] for tensor in self._session._interpreter.get_input_details()]

    def packed(self, query: Inputs) -> list[bytes]:
        """The bytes of each input, in the file's order, quantized where the file wants it so."""
        query = as_known(query, self._session._inputs)
        given = {tensor["index"]: _given(query[name], tensor) for name, tensor in self._session._inputs.items()}
        return [np.ascontiguousarray(given[tensor["index"]]).tobytes() for tensor in self._session._interpreter.get_input_details()]

    def answer(self, content: bytes) -> Outputs:
        """The outputs in an answer. Raises `ArtifactError` when it has another length than the file's outputs."""
        found, at = {}, 0
        for tensor in self._session._interpreter.get_output_details():
            like = self._session._interpreter.get_tensor(tensor["index"])
            found[tensor["index"]] = like, content[at : at + like.nbytes]
            at += like.nbytes
        if at != len(content):
            raise ArtifactError(f"an answer has {len(content)} bytes, and the file's outputs have {at}")
        values = {index: np.frombuffer(raw, like.dtype).reshape(like.shape) for index, (like, raw) in found.items()}
        return {name: _real(values[tensor["index"]], tensor) for name, tensor in self._session._outputs.items()}


def _spec(name: str, tensor: dict) -> TensorSpec:
    """A tensor as queries see it: quantized ones are given and answered in real numbers."""
    dtype = np.float32 if tensor["quantization"][0] else tensor["dtype"]
    return TensorSpec(name, np.dtype(dtype).name, tuple(None if size == -1 else int(size) for size in tensor["shape_signature"]))


def _given(values: np.ndarray, tensor: dict) -> np.ndarray:
    """Values as the file's input takes them."""
    return values if values.dtype == tensor["dtype"] else _quantized(values, tensor)


def _quantized(values: np.ndarray, tensor: dict) -> np.ndarray:
    scale, zero = tensor["quantization"]
    if not scale:
        return values.astype(tensor["dtype"], casting="same_kind")
    limits = np.iinfo(tensor["dtype"])
    return np.clip(np.rint(values / scale) + zero, limits.min, limits.max).astype(tensor["dtype"])


def _real(values: np.ndarray, tensor: dict) -> np.ndarray:
    scale, zero = tensor["quantization"]
    if values.dtype.kind == "f" or not scale:
        return values
    return (values.astype(np.float32) - zero) * np.float32(scale)
