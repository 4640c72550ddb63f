"""How the server describes itself: the shapes of bodies in its OpenAPI description."""

_ERROR = {
    "type": "object",
    "required": ["error", "field"],
    "properties": {"error": {"type": "string"}, "field": {"type": "string"}},
}
_REFUSED = {"description": "Refused: which field, what is wrong, what is expected", "content": {"application/json": {"schema": _ERROR}}}
_ANSWER = {"description": "The outputs", "content": {"application/json": {"schema": {"type": "object"}}}}
NOT_FOUND = {404: _REFUSED, 503: _REFUSED}
NOT_READY = {503: {"description": "Not ready", "content": {"application/json": {"schema": {"type": "object"}}}}}
ANSWERS = {200: _ANSWER} | dict.fromkeys((400, 401, 404, 413, 415, 429, 503, 504), _REFUSED)


def _body(**schemas: dict) -> dict:
    return {"requestBody": {"required": True, "content": {kind.replace("_", "/"): {"schema": schema} for kind, schema in schemas.items()}}}


_ROWS = {"type": "object", "required": ["instances"], "properties": {"instances": {"type": "array", "minItems": 1}}}
_COLUMNS = {"type": "object", "required": ["inputs"], "properties": {"inputs": {}}}
TFS = _body(application_json={"oneOf": [_ROWS, _COLUMNS]})
_TENSOR = {
    "type": "object",
    "required": ["name", "shape", "datatype", "data"],
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "datatype": {"type": "string"},
        "data": {"type": "array"},
    },
}
_INFER = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string"},
        "inputs": {"type": "array", "items": _TENSOR},
        "outputs": {"type": "array", "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}},
    },
}
V2 = _body(application_json=_INFER)
_PICTURE = {"type": "string", "format": "binary"}
PREDICT = _body(application_json={"oneOf": [_ROWS, _COLUMNS]}, image_jpeg=_PICTURE, image_png=_PICTURE, image_webp=_PICTURE)
