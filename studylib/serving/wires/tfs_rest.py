"""TensorFlow Serving's REST: JSON, by rows (``instances``) or by columns (``inputs``).

Source: TensorFlow Serving, "RESTful API", Predict. Types are not in it: the model's own are taken.
"""

import numpy as np
import orjson

from studylib.runtimes.signature import Signature, TensorSpec
from studylib.serving.requests import Answer, Request, RequestError, from_list, told
from studylib.serving.wires import datatypes
from studylib.serving.wires.reading import object_of

_SIGNATURE = "serving_default"


def path(model: str, version: str = "") -> str:
    """Where a model is asked."""
    return f"/v1/models/{model}" + (f"/versions/{version}" if version else "") + ":predict"


def metadata_path(model: str, version: str = "") -> str:
    """Where a model tells what it takes and gives."""
    return f"/v1/models/{model}" + (f"/versions/{version}" if version else "") + "/metadata"


def encode_metadata(model: str, version: str, signature: Signature) -> dict:
    """What a model is, as an object of JSON."""

    def told(specs: tuple[TensorSpec, ...]) -> dict:
        return {
            s.name: {
                "dtype": datatypes.tensorflow_name(s.dtype),
                "tensor_shape": {"dim": [{"size": str(-1 if n is None else n), "name": ""} for n in s.shape], "unknown_rank": False},
                "name": s.name,
            }
            for s in specs
        }

    facts = {"inputs": told(signature.inputs), "outputs": told(signature.outputs), "method_name": "tensorflow/serving/predict"}
    return {
        "model_spec": {"name": model, "signature_name": "", "version": version},
        "metadata": {"signature_def": {"signature_def": {_SIGNATURE: facts}}},
    }


def decode_metadata(body: bytes) -> Signature:
    """What a model takes and gives, by its metadata. Raises `RequestError` where that is none."""
    known = object_of("metadata", body)
    for name in ("metadata", "signature_def", "signature_def"):
        known = object_of(f"metadata.{name}", known.get(name))
    facts = object_of(f"signature {_SIGNATURE}", known.get(_SIGNATURE))

    def read(side: str) -> tuple[TensorSpec, ...]:
        found = []
        for name, one in sorted(facts[side].items()):
            sizes = [int(dim["size"]) for dim in one["tensor_shape"].get("dim", [])]
            found.append(TensorSpec(name, datatypes.of_tensorflow_name(name, one["dtype"]), tuple(n if n >= 0 else None for n in sizes)))
        return tuple(found)

    return Signature(read("inputs"), read("outputs"))


def encode_request(request: Request) -> bytes:
    """A query as a body, by columns: one list of numbers an input."""
    inputs = {name: np.ascontiguousarray(values) for name, values in request.inputs.items()}
    return orjson.dumps({"inputs": inputs}, option=orjson.OPT_SERIALIZE_NUMPY)


def decode_request(body: bytes, signature: Signature) -> Request:
    """The query in a body. Raises `RequestError` where it is none."""
    facts = object_of("body", body)
    kinds = {spec.name: spec.dtype for spec in signature.inputs}
    columns = "inputs" in facts
    if columns == ("instances" in facts):
        raise RequestError("body", "it has both" if columns else "it has neither of them", "either instances (rows) or inputs (columns)")
    values = _columns(facts["inputs"], kinds) if columns else _rows(facts["instances"], kinds)
    wanted = {name: f"inputs.{name}" if columns else "instances" for name in values}
    return Request({name: from_list(wanted[name], one, kinds[name]) for name, one in values.items()}, columns=columns)


def _columns(given: object, kinds: dict[str, str]) -> dict[str, object]:
    """The values of each input; where there is one input, its name may be left out."""
    if not isinstance(given, dict):
        return {_only("inputs", kinds): given}
    return {_known(f"inputs.{str(name)[:80]}", name, kinds): values for name, values in given.items()}


def _rows(given: object, kinds: dict[str, str]) -> dict[str, object]:
    if not isinstance(given, list) or not given:
        raise RequestError("instances", "it is no list" if not isinstance(given, list) else "it is empty", "a list with a sample each")
    if not any(isinstance(row, dict) for row in given):
        return {_only("instances", kinds): given}
    found: dict[str, list] = {name: [] for name in kinds}
    for place, row in enumerate(given):
        for name in object_of(f"instances[{place}]", row):
            _known(f"instances[{place}].{str(name)[:80]}", name, kinds)
        for name, values in found.items():
            if name not in row:
                raise RequestError(f"instances[{place}].{name}", "it is missing", f"a value for each of {', '.join(kinds)}")
            values.append(row[name])
    return found


def _only(part: str, kinds: dict[str, str]) -> str:
    if len(kinds) != 1:
        raise RequestError(part, "names are missing, and the model has several inputs", f"an object with {', '.join(kinds)}")
    return next(iter(kinds))


def _known(part: str, name: str, kinds: dict[str, str]) -> str:
    if name not in kinds:
        raise RequestError(part, "the model has no such input", ", ".join(kinds))
    return name


def encode_answer(answer: Answer, request: Request) -> bytes:
    """An answer as a body, by rows or columns as the request was."""
    outputs = {name: _jsonable(values) for name, values in answer.outputs.items()}
    only = next(iter(outputs.values())) if len(outputs) == 1 else None
    if request.columns:
        facts = {"outputs": outputs if only is None else only}
    elif only is not None:
        facts = {"predictions": only}
    else:
        rows = zip(*outputs.values(), strict=True)
        facts = {"predictions": [dict(zip(outputs, map(_plain, row), strict=True)) for row in rows]}
    return orjson.dumps(facts, option=orjson.OPT_SERIALIZE_NUMPY)


def _plain(value: np.ndarray | np.generic) -> object:
    """A row; of whole numbers Python's own, since not all of numpy's are written."""
    return value.item() if value.ndim == 0 and value.dtype.kind != "f" else value


def _jsonable(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values, np.float32 if values.dtype == np.float16 else None)


def decode_answer(body: bytes, signature: Signature) -> Answer:
    """The answer, by columns, in a body. Raises `RequestError` where it is none."""
    facts, kinds = object_of("body", body), {spec.name: spec.dtype for spec in signature.outputs}
    if "outputs" not in facts:
        raise RequestError("outputs", "it is missing", ", ".join(told(spec) for spec in signature.outputs))
    given = facts["outputs"]
    columns = given if len(kinds) > 1 else {_only("outputs", kinds): given}
    return Answer({name: from_list(f"outputs.{name}", columns[name], dtype) for name, dtype in kinds.items()})
