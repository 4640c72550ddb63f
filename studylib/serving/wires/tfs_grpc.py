"""TensorFlow Serving's gRPC: tensors as ``tensor_content``, or as numbers of their type."""

import numpy as np

from studylib.runtimes.signature import Signature, TensorSpec
from studylib.serving.requests import Answer, Request, RequestError, count, from_bytes
from studylib.serving.wires import datatypes
from studylib.serving.wires.tfs_messages import SERVICE, messages

ASK, METADATA = f"/{SERVICE}/Predict", f"/{SERVICE}/GetModelMetadata"
_SIGNATURE = "signature_def"
_DEFAULT = "serving_default"
# Where numbers lie that do not come as raw bytes. Source: tensorflow/core/framework/tensor.proto.
_VALUES = {
    "float32": "float_val", "float64": "double_val", "int32": "int_val", "int16": "int_val", "int8": "int_val", "uint8": "int_val",
    "uint16": "int_val", "int64": "int64_val", "bool": "bool_val", "uint32": "uint32_val", "uint64": "uint64_val",
}  # fmt: skip
# A request of a few bytes may not ask for gigabytes.
_MOST_REPEATED = 2**24


def encode_request(request: Request, model: str, version: str = "") -> bytes:
    """A query as bytes."""
    message = messages().predict.PredictRequest()
    message.model_spec.name = model
    if version:
        message.model_spec.version.value = int(version)
    for name, values in request.inputs.items():
        _write(message.inputs[name], values)
    message.output_filter.extend(request.outputs)
    return message.SerializeToString()


def decode_request(message) -> Request:
    """The query in a ``PredictRequest``. Raises `RequestError` where it contradicts itself."""
    return Request({name: _read(f"inputs.{name[:80]}", tensor) for name, tensor in message.inputs.items()}, tuple(message.output_filter))


def encode_answer(answer: Answer) -> bytes:
    """An answer as bytes, all tensors raw."""
    message = messages().predict.PredictResponse()
    message.model_spec.name = answer.model
    if answer.version:
        message.model_spec.version.value = int(answer.version)
    for name, values in answer.outputs.items():
        _write(message.outputs[name], values)
    return message.SerializeToString()


def decode_answer(content: bytes) -> Answer:
    """The answer in bytes. Raises `RequestError` where it is none."""
    from google.protobuf.message import DecodeError

    try:
        message = messages().predict.PredictResponse.FromString(content)
    except DecodeError as error:
        raise RequestError("message", f"it is no PredictResponse ({str(error)[:120]})", "the protocol's message") from None
    # A map keeps no order.
    outputs = {name: _read(f"outputs.{name}", message.outputs[name]) for name in sorted(message.outputs)}
    return Answer(outputs, message.model_spec.name, str(message.model_spec.version.value))


def ask_metadata(model: str, version: str = "") -> bytes:
    """The question what a model is."""
    message = messages().metadata.GetModelMetadataRequest(metadata_field=[_SIGNATURE])
    message.model_spec.name = model
    if version:
        message.model_spec.version.value = int(version)
    return message.SerializeToString()


def encode_metadata(model: str, version: str, signature: Signature) -> bytes:
    """What a model is, as a ``GetModelMetadataResponse``."""
    found, known = messages().metadata.GetModelMetadataResponse(), messages().metadata.SignatureDefMap()
    found.model_spec.name, found.model_spec.version.value = model, int(version)
    described = known.signature_def[_DEFAULT]
    described.method_name = "tensorflow/serving/predict"
    for specs, tensors in ((signature.inputs, described.inputs), (signature.outputs, described.outputs)):
        for spec in specs:
            tensors[spec.name].name, tensors[spec.name].dtype = spec.name, datatypes.tensorflow(spec.dtype)
            for size in spec.shape:
                tensors[spec.name].tensor_shape.dim.add(size=-1 if size is None else size)
    found.metadata[_SIGNATURE].Pack(known)
    return found.SerializeToString()


def decode_metadata(content: bytes) -> Signature:
    """What a model takes and gives, by a ``GetModelMetadataResponse``. Raises `RequestError` where that is none."""
    message, known = messages().metadata.GetModelMetadataResponse.FromString(content), messages().metadata.SignatureDefMap()
    if not message.metadata[_SIGNATURE].Unpack(known) or _DEFAULT not in known.signature_def:
        raise RequestError("metadata", f"it describes no signature {_DEFAULT}", "the model's signatures")

    def read(tensors) -> tuple[TensorSpec, ...]:
        found = []
        for name in sorted(tensors):
            shape = tuple(dim.size if dim.size >= 0 else None for dim in tensors[name].tensor_shape.dim)
            found.append(TensorSpec(name, datatypes.of_tensorflow(name, tensors[name].dtype), shape))
        return tuple(found)

    described = known.signature_def[_DEFAULT]
    return Signature(read(described.inputs), read(described.outputs))


def _write(tensor, values: np.ndarray) -> None:
    tensor.dtype = datatypes.tensorflow(values.dtype)
    for size in values.shape:
        tensor.tensor_shape.dim.add(size=size)
    tensor.tensor_content = values.tobytes()


def _read(part: str, tensor) -> np.ndarray:
    dtype = datatypes.of_tensorflow(part, tensor.dtype)
    if tensor.tensor_shape.unknown_rank:
        raise RequestError(f"{part}.tensor_shape", "its rank is unknown", "the size of every axis")
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.tensor_content:
        return from_bytes(part, tensor.tensor_content, dtype, shape)
    field = _VALUES.get(dtype)
    values, wanted = getattr(tensor, field) if field else (), count(part, shape)
    # One value stands for all of them, as TensorFlow reads it.
    if len(values) not in (wanted, 1) or (len(values) == 1 and wanted > _MOST_REPEATED):
        raise RequestError(part, f"it holds {len(values)} values", f"tensor_content, or {wanted} values: {dtype} of shape {shape}")
    found, limits = np.array(values), np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else None
    if limits and len(values) and not limits.min <= int(found.min()) <= int(found.max()) <= limits.max:
        raise RequestError(part, f"it holds a value that is no {dtype}", f"whole numbers from {limits.min} to {limits.max}")
    found = found.astype(dtype)
    return found.reshape(shape) if len(values) == wanted else np.full(shape, found[0])
