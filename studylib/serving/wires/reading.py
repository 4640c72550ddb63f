"""JSON that somebody sent: read without trust."""

import orjson

from studylib.serving.requests import RequestError


def object_of(part: str, value: bytes | object) -> dict:
    """A JSON object, of bytes or read already. Raises `RequestError` for anything else."""
    if isinstance(value, bytes | bytearray):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError as error:
            raise RequestError(part, f"it is no JSON ({str(error)[:120]})", "a JSON object") from None
    if not isinstance(value, dict):
        raise RequestError(part, f"it is {type(value).__name__}", "a JSON object")
    return value


def text_of(part: str, value: object) -> str:
    """A text. Raises `RequestError` for anything else."""
    if not isinstance(value, str):
        raise RequestError(part, "it is missing" if value is None else f"it is {type(value).__name__}", "a text")
    return value
