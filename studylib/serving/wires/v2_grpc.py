"""The Open Inference Protocol over gRPC: tensors as raw bytes, or as numbers of their type."""

import numpy as np

from studylib.runtimes.signature import Signature, TensorSpec
from studylib.serving.requests import Answer, Request, RequestError, count, from_bytes
from studylib.serving.wires import datatypes
from studylib.serving.wires.v2_messages import SERVICE, messages

ASK, METADATA = f"/{SERVICE}/ModelInfer", f"/{SERVICE}/ModelMetadata"
# The wire type of what says its length first.
_BYTES = 2
# Where numbers lie that do not come as raw bytes.
_CONTENTS = {
    "bool": "bool_contents", "int8": "int_contents", "int16": "int_contents", "int32": "int_contents", "int64": "int64_contents",
    "uint8": "uint_contents", "uint16": "uint_contents", "uint32": "uint_contents", "uint64": "uint64_contents",
    "float32": "fp32_contents", "float64": "fp64_contents",
}  # fmt: skip


def encode_request(request: Request, model: str, version: str = "") -> bytes:
    """A query as bytes."""
    kinds = messages()
    message = kinds.ModelInferRequest(model_name=model, model_version=version, id=request.id)
    for name, values in request.inputs.items():
        message.inputs.add(name=name, datatype=datatypes.v2(values.dtype), shape=values.shape)
    for name in request.outputs:
        message.outputs.add(name=name)
    return _with_raw(message, "raw_input_contents", request.inputs)


def _with_raw(message, field: str, tensors: dict[str, np.ndarray]) -> bytes:
    """The message as bytes, and behind it the field with a tensor's bytes in each element, which are copied once.

    protobuf copies them when they are put in, and again when it writes; it reads messages one behind the other as one message. Source:
    protobuf, "Encoding": last one wins, repeated fields are joined.
    """
    tag = message.DESCRIPTOR.fields_by_name[field].number << 3 | _BYTES
    parts = [message.SerializeToString()]
    for values in tensors.values():
        parts += [_varint(tag), _varint(values.nbytes), np.ascontiguousarray(values).data.cast("B") if values.size else b""]
    return b"".join(parts)


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first, the highest bit set where more follow."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def parsed(message: type, content: bytes):
    """A message of bytes. Raises `RequestError` for what is none."""
    from google.protobuf.message import DecodeError

    try:
        return message.FromString(content)
    except DecodeError as error:
        raise RequestError("message", f"it is no {message.DESCRIPTOR.name} ({str(error)[:120]})", "the protocol's message") from None


def decode_request(message) -> Request:
    """The query in a ``ModelInferRequest``. Raises `RequestError` where it contradicts itself."""
    raw = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        raise RequestError(
            "raw_input_contents", f"it holds {len(raw)} tensors", f"one for each of the {len(message.inputs)} inputs, or none"
        )
    inputs: dict[str, np.ndarray] = {}
    for place, tensor in enumerate(message.inputs):
        part = f"inputs.{tensor.name[:80]}"
        if tensor.name in inputs:
            raise RequestError(part, "it is given twice", "each input once")
        dtype, shape = datatypes.of_v2(part, tensor.datatype), list(tensor.shape)
        inputs[tensor.name] = from_bytes(part, raw[place], dtype, shape) if raw else _of_contents(part, tensor, dtype, shape)
    return Request(inputs, tuple(tensor.name for tensor in message.outputs), message.id)


def _of_contents(part: str, tensor, dtype: str, shape: list[int]) -> np.ndarray:
    field = _CONTENTS.get(dtype)
    if field is None:
        raise RequestError(part, f"{dtype} has no field among the contents", "raw_input_contents")
    values, wanted = getattr(tensor.contents, field), count(part, shape)
    if len(values) != wanted:
        raise RequestError(part, f"{field} holds {len(values)} values", f"{wanted}: {dtype} of shape {shape}")
    found, limits = np.array(values), np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else None
    if limits and len(values) and not limits.min <= int(found.min()) <= int(found.max()) <= limits.max:
        raise RequestError(part, f"{field} holds a value that is no {dtype}", f"whole numbers from {limits.min} to {limits.max}")
    return found.astype(dtype).reshape(shape)


def encode_answer(answer: Answer) -> bytes:
    """An answer as bytes, all tensors raw."""
    message = messages().ModelInferResponse(model_name=answer.model, model_version=answer.version, id=answer.id)
    for name, values in answer.outputs.items():
        message.outputs.add(name=name, datatype=datatypes.v2(values.dtype), shape=values.shape)
    return _with_raw(message, "raw_output_contents", answer.outputs)


def decode_answer(content: bytes) -> Answer:
    """The answer in bytes. Raises `RequestError` where it is none."""
    message = parsed(messages().ModelInferResponse, content)
    raw, outputs = message.raw_output_contents, {}
    for place, tensor in enumerate(message.outputs):
        part = f"outputs.{tensor.name}"
        dtype, shape = datatypes.of_v2(part, tensor.datatype), list(tensor.shape)
        outputs[tensor.name] = from_bytes(part, raw[place], dtype, shape) if raw else _of_contents(part, tensor, dtype, shape)
    return Answer(outputs, message.model_name, message.model_version, message.id)


def encode_metadata(model: str, versions: list[str], platform: str, signature: Signature) -> bytes:
    """What a model is, as a ``ModelMetadataResponse``."""
    kinds = messages()

    def told(specs: tuple[TensorSpec, ...]) -> list:
        return [
            kinds.TensorMetadata(name=s.name, datatype=datatypes.v2(s.dtype), shape=[-1 if n is None else n for n in s.shape])
            for s in specs
        ]

    facts = {"inputs": told(signature.inputs), "outputs": told(signature.outputs)}
    return kinds.ModelMetadataResponse(name=model, versions=versions, platform=platform, **facts).SerializeToString()


def ask_metadata(model: str, version: str = "") -> bytes:
    """The question what a model is."""
    return messages().ModelMetadataRequest(name=model, version=version).SerializeToString()


def decode_metadata(content: bytes) -> Signature:
    """What a model takes and gives, by a ``ModelMetadataResponse``. Raises `RequestError` where that is none."""
    message = parsed(messages().ModelMetadataResponse, content)

    def read(side: str, tensors) -> tuple[TensorSpec, ...]:
        return tuple(
            TensorSpec(one.name, datatypes.of_v2(f"{side}.{one.name}", one.datatype), tuple(n if n >= 0 else None for n in one.shape))
            for one in tensors
        )

    return Signature(read("inputs", message.inputs), read("outputs", message.outputs))
