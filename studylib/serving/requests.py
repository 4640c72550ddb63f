"""What is asked of a server and what it answers, whatever the wire; and how it refuses."""

from dataclasses import dataclass, field
from http import HTTPStatus

import numpy as np

from studylib.errors import StudyError
from studylib.runtimes.signature import Signature, TensorSpec

# No axis of a query is longer: a shape that says so is a mistake or an attack.
_LONGEST = 2**31 - 1
_MOST_AXES = 32


@dataclass(frozen=True)
class Request:
    """One query. ``outputs``: the wanted ones, empty for all. ``id``: whatever the client calls it; the answer repeats it.

    How the answer is to be written: ``columns``, TensorFlow Serving's form by columns; ``binary``, the outputs that come as raw bytes;
    ``all_binary``, all of them do.
    """

    inputs: dict[str, np.ndarray]
    outputs: tuple[str, ...] = ()
    id: str = ""
    columns: bool = False
    binary: frozenset[str] = frozenset()
    all_binary: bool = False


@dataclass(frozen=True)
class Answer:
    """``spent_ns``: by part of the way (``queue``, ``compute``) what the server itself measured. ``batch``: samples that ran together.

    ``by``: which of several servers answered, where who balances over them tells.
    """

    outputs: dict[str, np.ndarray]
    model: str = ""
    version: str = ""
    id: str = ""
    spent_ns: dict[str, int] = field(default_factory=dict)
    batch: int = 0
    by: str = ""


class RequestError(StudyError):
    """A request that is refused: which ``part`` of it, what is wrong with it, and what is expected. ``status``: as HTTP has it."""

    def __init__(self, part: str, wrong: str, expected: str = "", status: HTTPStatus = HTTPStatus.BAD_REQUEST):
        self.part, self.status = part, status
        super().__init__(f"{part}: {wrong}" + (f"; expected {expected}" if expected else ""))


def checked(inputs: dict[str, np.ndarray], signature: Signature, most_samples: int) -> int:
    """How many samples a query holds. Raises `RequestError` where it is not what the signature takes, or holds too many."""
    known = {spec.name: spec for spec in signature.inputs}
    words = ", ".join(told(spec) for spec in signature.inputs)
    if missing := [name for name in known if name not in inputs]:
        raise RequestError(f"inputs.{missing[0]}", "is missing", words)
    if unknown := [name for name in inputs if name not in known]:
        raise RequestError(f"inputs.{unknown[0][:80]}", "the model has no such input", words)
    for name, values in inputs.items():
        spec = known[name]
        if values.dtype.name != spec.dtype:
            raise RequestError(f"inputs.{name}", f"its type is {values.dtype.name}", told(spec))
        right = len(values.shape) == len(spec.shape) and all(
            size > 0 and own in (None, size) for size, own in zip(values.shape, spec.shape, strict=True)
        )
        if not right:
            raise RequestError(f"inputs.{name}", f"its shape is {list(values.shape)}", told(spec))
    if not signature.takes_batches:
        return 1
    sizes = {len(values) for values in inputs.values()}
    if len(sizes) > 1:
        raise RequestError("inputs", f"they hold different numbers of samples: {', '.join(map(str, sorted(sizes)))}", "one number for all")
    (size,) = sizes
    if size > most_samples:
        raise RequestError("inputs", f"{size} samples in one request", f"at most {most_samples}")
    return size


def wanted(outputs: dict[str, np.ndarray], names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The outputs that were asked for, all without names. Raises `RequestError` for one that the model does not have."""
    for name in names:
        if name not in outputs:
            raise RequestError("outputs", f"the model has no output '{name[:80]}'", ", ".join(outputs))
    return {name: outputs[name] for name in names} if names else outputs


def told(spec: TensorSpec) -> str:
    """An input in words: its name, type and shape, with -1 for a size that is free."""
    return f"{spec.name} {spec.dtype} {[-1 if size is None else size for size in spec.shape]}"


def from_bytes(part: str, content: bytes | memoryview, dtype: str, shape: list[int]) -> np.ndarray:
    """An array over raw little-endian bytes, without a copy. Raises `RequestError` where these are not what type and shape say."""
    size = count(part, shape) * np.dtype(dtype).itemsize
    if size != len(content):
        raise RequestError(part, f"it has {len(content)} bytes", f"{size}: {dtype} of shape {shape}")
    found = np.frombuffer(content, dtype).reshape(shape)
    if dtype == "bool" and found.size and found.view(np.uint8).max() > 1:
        raise RequestError(part, "it has a byte that is neither 0 nor 1", "0 or 1 for each boolean")
    return found


def count(part: str, shape: list[int]) -> int:
    """How many values a shape holds. Raises `RequestError` for what is no shape."""
    if len(shape) > _MOST_AXES or not all(type(size) is int and 0 <= size <= _LONGEST for size in shape):
        raise RequestError(f"{part}.shape", f"it is {str(shape)[:80]}", f"at most {_MOST_AXES} whole numbers from 0 to {_LONGEST}")
    found = 1
    for size in shape:
        found *= size
    return found


def from_list(part: str, values: object, dtype: str) -> np.ndarray:
    """An array of nested lists of numbers. Raises `RequestError` for ragged ones, and for values that the type does not hold."""
    kind = np.dtype(dtype)
    try:
        found = np.array(values)
        if kind == np.uint64 and found.dtype.kind == "f":
            # Numbers on both sides of 2**63 become floats unless each stays what it is.
            found = np.array(values, object)
            if not all(type(value) is int for value in found.flat):
                raise ValueError("it takes whole numbers")
            found = found.astype(kind)
        if found.dtype.kind in "US" or (found.dtype == object and any(isinstance(value, str) for value in np.array(values, object).flat)):
            raise ValueError("it holds a text")
        if found.dtype == object:
            # Nulls stand for what is no number; a list that holds something else is refused below.
            found = np.array(values, np.float64) if kind.kind == "f" else np.array(values, kind)
        if found.size and (found.dtype.kind == "b") != (kind.kind == "b"):
            raise ValueError("booleans and numbers are told apart")
        if found.size and kind.kind in "iu":
            if found.dtype.kind not in "iu":
                raise ValueError("it takes whole numbers")
            limits = np.iinfo(kind)
            if int(found.min()) < limits.min or int(found.max()) > limits.max:
                raise ValueError(f"from {limits.min} to {limits.max}")
        with np.errstate(over="ignore"):
            return found.astype(kind)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise RequestError(part, f"no array of {dtype} can be made of it ({str(error)[:120]})", "nested lists of one length each") from None
