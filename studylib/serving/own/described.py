"""How the server describes itself: an OpenAPI description with the model's own name, inputs and types in it."""

import numpy as np
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from studylib.runtimes.signature import Signature, TensorSpec
from studylib.serving.own.front import Front
from studylib.serving.wires import datatypes

_ERROR = {
    "type": "object",
    "required": ["error", "field"],
    "properties": {"error": {"type": "string"}, "field": {"type": "string"}},
}
_JSON = "application/json"
_REFUSED = {"description": "Refused: which field, what is wrong, what is expected", "content": {_JSON: {"schema": _ERROR}}}
_ANSWER = {"description": "The outputs", "content": {_JSON: {"schema": {"type": "object"}}}}
NOT_FOUND = {404: _REFUSED, 503: _REFUSED}
NOT_READY = {503: {"description": "Not ready", "content": {_JSON: {"schema": {"type": "object"}}}}}
ANSWERS = {200: _ANSWER} | dict.fromkeys((400, 401, 404, 408, 413, 415, 429, 503, 504), _REFUSED)
_PICTURE = {"type": "string", "format": "binary"}
# Where a path takes the body of which protocol.
_TFS, _V2, _PREDICT = ":predict", "/infer", "/predict"


def describe(app: FastAPI, front: Front, picture_types: tuple[str, ...]) -> None:
    """Let ``app`` describe itself by the version that answers."""

    def description() -> dict:
        found = get_openapi(title=app.title, version=app.version, routes=app.routes)
        signature, most = front.signature, front.limits.samples
        rows = {_JSON: {"schema": _rows_or_columns(signature, most)}}
        bodies = {_TFS: rows, _V2: {_JSON: {"schema": _tensors(signature, most)}}}
        bodies[_PREDICT] = rows | {kind: {"schema": _PICTURE} for kind in picture_types}
        for path, methods in found["paths"].items():
            for operation in methods.values():
                for parameter in operation.get("parameters", ()):
                    known = {"model": front.model, "version": front.versions.current.version}
                    parameter["schema"] = {"type": "string", "enum": [known[parameter["name"]]]}
            body = next((content for end, content in bodies.items() if path.endswith(end)), None)
            if body and "post" in methods:
                methods["post"]["requestBody"] = {"required": True, "content": body}
        return found

    app.openapi = description


def _rows_or_columns(signature: Signature, most: int) -> dict:
    """A query of TensorFlow Serving's REST, by rows or by columns."""
    names = [spec.name for spec in signature.inputs]
    rows = {spec.name: _values(spec, spec.shape[1:], most) for spec in signature.inputs}
    columns = {spec.name: _values(spec, spec.shape, most) for spec in signature.inputs}
    row = {"type": "object", "required": names, "properties": rows, "additionalProperties": False}
    column = {"type": "object", "required": names, "properties": columns, "additionalProperties": False}
    instances = {"type": "array", "minItems": 1, "maxItems": most, "items": row}
    return {
        "oneOf": [
            {"type": "object", "required": ["instances"], "properties": {"instances": instances}, "additionalProperties": False},
            {"type": "object", "required": ["inputs"], "properties": {"inputs": column}, "additionalProperties": False},
        ]
    }


def _values(spec: TensorSpec, shape: tuple[int | None, ...], most: int) -> dict:
    """Nested lists of numbers that the type holds."""
    kind = np.dtype(spec.dtype)
    found: dict = {"type": {"b": "boolean", "f": "number"}.get(kind.kind, "integer")}
    if kind.kind in "iu":
        found |= {"minimum": int(np.iinfo(kind).min), "maximum": int(np.iinfo(kind).max)}
    for size in reversed(shape):
        found = {"type": "array", "items": found, "minItems": size or 1, "maxItems": size or most}
    return found


def _tensors(signature: Signature, most: int) -> dict:
    """A query of the Open Inference Protocol."""

    def tensor(spec: TensorSpec) -> dict:
        sizes = [{"const": size} if size else {"type": "integer", "minimum": 1, "maximum": most} for size in spec.shape]
        properties = {
            "name": {"const": spec.name},
            "datatype": {"const": datatypes.v2(spec.dtype)},
            "shape": {"type": "array", "prefixItems": sizes, "minItems": len(sizes), "maxItems": len(sizes)},
            "data": {"type": "array", "items": _values(spec, (), most)},
        }
        return {"type": "object", "required": list(properties), "properties": properties}

    inputs = [tensor(spec) for spec in signature.inputs]
    wanted = {"type": "object", "required": ["name"], "properties": {"name": {"enum": [spec.name for spec in signature.outputs]}}}
    return {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string"},
            "inputs": {"type": "array", "prefixItems": inputs, "minItems": len(inputs), "maxItems": len(inputs)},
            "outputs": {"type": "array", "items": wanted},
        },
    }
