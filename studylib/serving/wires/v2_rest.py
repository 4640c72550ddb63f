"""The Open Inference Protocol over REST: JSON, and its binary extension, in which raw tensors follow the JSON.

Source: Open Inference Protocol, "HTTP/REST"; the extension is that of Triton Inference Server ("binary tensor data extension").
"""

import numpy as np
import orjson

from studylib.runtimes.signature import Signature, TensorSpec
from studylib.serving.requests import Answer, Request, RequestError, count, from_bytes, from_list
from studylib.serving.wires import datatypes
from studylib.serving.wires.reading import object_of, text_of

# How long the JSON before the raw tensors is.
LENGTH = "inference-header-content-length"
_SIZE = "binary_data_size"


def path(model: str, version: str = "") -> str:
    """Where a model is asked."""
    return f"{metadata_path(model, version)}/infer"


def metadata_path(model: str, version: str = "") -> str:
    """Where a model tells what it takes and gives."""
    return f"/v2/models/{model}" + (f"/versions/{version}" if version else "")


def encode_metadata(model: str, versions: list[str], platform: str, signature: Signature) -> dict:
    """What a model is, as an object of JSON."""

    def told(specs: tuple[TensorSpec, ...]) -> list[dict]:
        return [{"name": s.name, "datatype": datatypes.v2(s.dtype), "shape": [-1 if n is None else n for n in s.shape]} for s in specs]

    return {"name": model, "versions": versions, "platform": platform, "inputs": told(signature.inputs), "outputs": told(signature.outputs)}


def decode_metadata(body: bytes) -> Signature:
    """What a model takes and gives, by its metadata. Raises `RequestError` where that is none."""
    facts = object_of("metadata", body)

    def read(side: str) -> tuple[TensorSpec, ...]:
        found = []
        for one in facts.get(side, []):
            shape = tuple(n if n >= 0 else None for n in one["shape"])
            found.append(TensorSpec(one["name"], datatypes.of_v2(f"{side}.{one['name']}", one["datatype"]), shape))
        return tuple(found)

    return Signature(read("inputs"), read("outputs"))


def encode_request(request: Request, binary: bool) -> tuple[bytes, dict[str, str]]:
    """A query as a body and its headers; ``binary``: tensors as raw bytes, both ways."""
    facts = {"parameters": {"binary_data_output": True}} if binary else {}
    facts |= {"id": request.id} if request.id else {}
    facts |= {"outputs": [{"name": name} for name in request.outputs]} if request.outputs else {}
    return _encoded("inputs", request.inputs, facts, frozenset(request.inputs) if binary else frozenset())


def decode_request(body: bytes, headers: dict[str, str]) -> Request:
    """The query in a body; ``headers`` by their names in small letters. Raises `RequestError` where it is none."""
    facts, raw = _split(body, headers)
    inputs = _tensors("inputs", facts, raw)
    asked = facts.get("outputs", [])
    if not isinstance(asked, list):
        raise RequestError("outputs", f"it is {type(asked).__name__}", "a list of outputs by name")
    described = [object_of(f"outputs[{place}]", one) for place, one in enumerate(asked)]
    names = [text_of(f"outputs[{place}].name", one.get("name")) for place, one in enumerate(described)]
    binary = {
        name for name, one in zip(names, described, strict=True) if object_of("parameters", one.get("parameters", {})).get("binary_data")
    }
    everything = bool(object_of("parameters", facts.get("parameters", {})).get("binary_data_output"))
    return Request(inputs, tuple(names), text_of("id", facts.get("id", "")), binary=frozenset(binary), all_binary=everything)


def encode_answer(answer: Answer, request: Request) -> tuple[bytes, dict[str, str]]:
    """An answer as a body and its headers, in the form that the request asked for."""
    facts = {"model_name": answer.model, "model_version": answer.version} | ({"id": answer.id} if answer.id else {})
    return _encoded("outputs", answer.outputs, facts, frozenset(answer.outputs) if request.all_binary else request.binary)


def decode_answer(body: bytes, headers: dict[str, str]) -> Answer:
    """The answer in a body. Raises `RequestError` where it is none."""
    facts, raw = _split(body, headers)
    outputs = _tensors("outputs", facts, raw)
    return Answer(outputs, str(facts.get("model_name", "")), str(facts.get("model_version", "")), str(facts.get("id", "")))


def _encoded(kind: str, tensors: dict[str, np.ndarray], facts: dict, binary: frozenset[str]) -> tuple[bytes, dict[str, str]]:
    described, raw = [], []
    for name, values in tensors.items():
        one = {"name": name, "datatype": datatypes.v2(values.dtype), "shape": list(values.shape)}
        if name in binary:
            raw.append(values.tobytes())
            described.append(one | {"parameters": {_SIZE: len(raw[-1])}})
        else:
            flat = np.ascontiguousarray(values).reshape(-1)
            described.append(one | {"data": flat.astype(np.float32) if flat.dtype == np.float16 else flat})
    head = orjson.dumps(facts | {kind: described}, option=orjson.OPT_SERIALIZE_NUMPY)
    if not raw:
        return head, {"content-type": "application/json"}
    return b"".join((head, *raw)), {"content-type": "application/octet-stream", LENGTH: str(len(head))}


def _split(body: bytes, headers: dict[str, str]) -> tuple[dict, memoryview]:
    """The JSON of a body, and the raw bytes behind it."""
    told = headers.get(LENGTH, str(len(body)))
    if not told.isascii() or not told.isdigit() or len(told) > 18 or int(told) > len(body):
        raise RequestError(f"header {LENGTH}", f"it is '{told[:40]}'", f"the length of the JSON, at most the body's {len(body)} bytes")
    length = int(told)
    return object_of("body", body[:length]), memoryview(body)[length:]


def _tensors(kind: str, facts: dict, raw: memoryview) -> dict[str, np.ndarray]:
    described = facts.get(kind)
    if not isinstance(described, list):
        raise RequestError(kind, "it is missing" if described is None else f"it is {type(described).__name__}", "a list of tensors")
    found: dict[str, np.ndarray] = {}
    at = 0
    for place, entry in enumerate(described):
        one = object_of(f"{kind}[{place}]", entry)
        name = text_of(f"{kind}[{place}].name", one.get("name"))
        part = f"{kind}.{name[:80]}"
        if name in found:
            raise RequestError(part, "it is given twice", "each tensor once")
        dtype, shape = datatypes.of_v2(f"{part}.datatype", one.get("datatype")), one.get("shape")
        if not isinstance(shape, list):
            raise RequestError(f"{part}.shape", "it is missing" if shape is None else f"it is {str(shape)[:40]}", "a list of whole numbers")
        size = object_of(f"{part}.parameters", one.get("parameters", {})).get(_SIZE)
        if size is None:
            found[name] = _listed(part, one, dtype, shape)
            continue
        if type(size) is not int or not 0 <= size <= len(raw) - at:
            raise RequestError(f"{part}.parameters.{_SIZE}", f"it is {str(size)[:40]}", f"at most the {len(raw) - at} bytes that are left")
        found[name] = from_bytes(part, raw[at : at + size], dtype, shape)
        at += size
    if at != len(raw):
        raise RequestError("body", f"{len(raw) - at} bytes are left behind the last tensor", f"a {_SIZE} for each raw tensor")
    return found


def _listed(part: str, facts: dict, dtype: str, shape: list[int]) -> np.ndarray:
    """A tensor of the numbers in ``data``, flat or nested."""
    if not isinstance(facts.get("data"), list):
        raise RequestError(f"{part}.data", "it is missing", f"a list of numbers, or raw bytes and {_SIZE}")
    values, size = from_list(f"{part}.data", facts["data"], dtype), count(part, shape)
    if values.size != size:
        raise RequestError(f"{part}.data", f"it holds {values.size} values", f"{size}: {dtype} of shape {shape}")
    return values.reshape(shape)
