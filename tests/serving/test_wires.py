"""What goes over a wire comes out of it bit for bit; what is no request is refused by the part that is wrong."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis.extra import numpy as arrays

from studylib.runtimes.signature import Signature, TensorSpec
from studylib.serving.requests import Answer, Request, RequestError, checked, from_bytes
from studylib.serving.wires import tfs_grpc, tfs_messages, tfs_rest, v2_grpc, v2_messages, v2_rest
from tests.serving.served_models import SIGNATURE, query

DTYPES = ("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float32", "float64")
_FINITE = {"float16": 16, "float32": 32, "float64": 64}


def _v2_grpc(request, signature):
    return v2_grpc.decode_request(v2_grpc.parsed(v2_messages.messages().ModelInferRequest, v2_grpc.encode_request(request, "m")))


def _tfs_grpc(request, signature):
    return tfs_grpc.decode_request(tfs_messages.messages().predict.PredictRequest.FromString(tfs_grpc.encode_request(request, "m")))


REQUESTS = {
    "v2_grpc": _v2_grpc,
    "tfs_grpc": _tfs_grpc,
    "v2_binary": lambda request, signature: v2_rest.decode_request(*v2_rest.encode_request(request, True)),
    "v2_json": lambda request, signature: v2_rest.decode_request(*v2_rest.encode_request(request, False)),
    "tfs_rest": lambda request, signature: tfs_rest.decode_request(tfs_rest.encode_request(request), signature),
}
ANSWERS = {
    "v2_grpc": lambda answer, request, signature: v2_grpc.decode_answer(v2_grpc.encode_answer(answer)),
    "tfs_grpc": lambda answer, request, signature: tfs_grpc.decode_answer(tfs_grpc.encode_answer(answer)),
    "v2_binary": lambda answer, request, signature: v2_rest.decode_answer(*v2_rest.encode_answer(answer, request)),
    "v2_json": lambda answer, request, signature: v2_rest.decode_answer(*v2_rest.encode_answer(answer, Request({}))),
    "tfs_rest": lambda answer, request, signature: tfs_rest.decode_answer(
        tfs_rest.encode_answer(answer, Request({}, columns=True)), signature
    ),
}
JSON = ("v2_json", "tfs_rest")


@some.composite
def tensors(draw, finite: bool):
    """One to three tensors of any type, by name."""
    found = {}
    for name in draw(some.sampled_from([("x",), ("x", "y"), ("x", "y", "z")])):
        dtype = draw(some.sampled_from(DTYPES))
        shape = draw(arrays.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4))
        numbers = some.floats(width=_FINITE[dtype], allow_nan=False, allow_infinity=False) if dtype in _FINITE and finite else None
        found[name] = draw(arrays.arrays(dtype, shape, elements=numbers))
    return found


def test_tensors_behind_a_message_are_read_as_its_own():
    """What is written past protobuf is read by protobuf: one and several tensors, empty ones, ones that lie otherwise in memory."""
    kinds = v2_messages.messages()
    tensors = {"a": np.arange(70_000, dtype=np.float32).reshape(7, -1).T, "none": np.zeros((0, 3)), "one": np.ones(1, np.int8)}
    message = kinds.ModelInferRequest.FromString(v2_grpc.encode_request(Request(tensors, ("y",), "7"), "m", "2"))
    assert list(message.raw_input_contents) == [one.tobytes() for one in tensors.values()]
    assert (message.id, message.model_name, message.model_version, message.outputs[0].name) == ("7", "m", "2", "y")
    assert [(one.name, tuple(one.shape)) for one in message.inputs] == [(name, one.shape) for name, one in tensors.items()]
    answer = kinds.ModelInferResponse.FromString(v2_grpc.encode_answer(Answer(tensors, "m", "2", "7")))
    assert list(answer.raw_output_contents) == [one.tobytes() for one in tensors.values()]
    # protobuf's own writing is the same number of bytes.
    assert answer.ByteSize() == len(v2_grpc.encode_answer(Answer(tensors, "m", "2", "7")))


def _same(found, given) -> bool:
    return {n: (v.dtype, v.shape, v.tobytes()) for n, v in found.items()} == {n: (v.dtype, v.shape, v.tobytes()) for n, v in given.items()}


def _signature(values) -> Signature:
    specs = tuple(TensorSpec(name, one.dtype.name, one.shape) for name, one in values.items())
    return Signature(specs, specs)


@pytest.mark.parametrize("wire", REQUESTS)
@settings(max_examples=60, deadline=None)
@given(data=some.data())
def test_a_query_arrives_bit_for_bit(wire, data):
    values = data.draw(tensors(finite=wire in JSON))
    assert _same(REQUESTS[wire](Request(values), _signature(values)).inputs, values)


@pytest.mark.parametrize("wire", ANSWERS)
@settings(max_examples=60, deadline=None)
@given(data=some.data())
def test_an_answer_arrives_bit_for_bit(wire, data):
    values = data.draw(tensors(finite=wire in JSON))
    request = Request({}, all_binary=True)
    assert _same(ANSWERS[wire](Answer(values, "m", "1"), request, _signature(values)).outputs, values)


def test_json_has_no_infinity_and_says_null():
    answer = Answer({"y": np.array([1.5, np.nan, np.inf], np.float32)})
    assert json.loads(tfs_rest.encode_answer(answer, Request({}, columns=True))) == {"outputs": [1.5, None, None]}


@pytest.mark.parametrize("field", ["float_val", "double_val", "int_val", "int64_val", "bool_val", "uint32_val", "uint64_val"])
def test_tensorflow_s_messages_may_hold_numbers_instead_of_bytes(field):
    dtypes = {"float_val": "float32", "double_val": "float64", "int_val": "int16", "int64_val": "int64", "bool_val": "bool"}
    dtype = dtypes.get(field, field.replace("_val", ""))
    request = tfs_messages.messages().predict.PredictRequest()
    tensor = request.inputs["x"]
    tensor.dtype = tfs_grpc.datatypes.tensorflow(dtype)
    tensor.tensor_shape.dim.add(size=2)
    getattr(tensor, field).extend([1, 0])
    assert tfs_grpc.decode_request(request).inputs["x"].tolist() == [1, 0]
    del getattr(tensor, field)[1:]
    assert tfs_grpc.decode_request(request).inputs["x"].tolist() == [1, 1]  # one value stands for all


def test_rows_and_columns_say_the_same():
    rows = {"instances": [{"x": [1, 2, 3], "k": 4}, {"x": [5, 6, 7], "k": 8}]}
    columns = {"inputs": {"x": [[1, 2, 3], [5, 6, 7]], "k": [4, 8]}}
    one, other = (tfs_rest.decode_request(json.dumps(body).encode(), SIGNATURE) for body in (rows, columns))
    assert _same(one.inputs, other.inputs)
    assert (one.columns, other.columns) == (False, True)
    answer = Answer({"y": np.ones((2, 1), np.float32), "n": np.arange(2)})
    assert json.loads(tfs_rest.encode_answer(answer, one)) == {"predictions": [{"y": [1.0], "n": 0}, {"y": [1.0], "n": 1}]}
    assert json.loads(tfs_rest.encode_answer(answer, other)) == {"outputs": {"y": [[1.0], [1.0]], "n": [0, 1]}}


WRONG = {
    b"": "body: it is no JSON",
    b"[]": "body: it is list; expected a JSON object",
    b"{}": "body: it has neither of them; expected either instances (rows) or inputs (columns)",
    b'{"instances": [], "inputs": {}}': "body: it has both",
    b'{"instances": 3}': "instances: it is no list",
    b'{"instances": []}': "instances: it is empty",
    b'{"instances": [[1, 2, 3]]}': "instances: names are missing, and the model has several inputs; expected an object with x, k",
    b'{"instances": [{"x": [1, 2, 3]}]}': "instances[0].k: it is missing",
    b'{"instances": [{"x": [1, 2, 3], "k": 1, "z": 1}]}': "instances[0].z: the model has no such input; expected x, k",
    b'{"inputs": {"x": [[1, 2], [3]], "k": [1]}}': "inputs.x: no array of float32 can be made of it",
    b'{"inputs": {"x": [["a", 2, 3]], "k": [1]}}': "inputs.x: no array of float32 can be made of it (it holds a text)",
    b'{"inputs": {"x": [["1", "2", "3"]], "k": [1]}}': "inputs.x: no array of float32 can be made of it (it holds a text)",
    b'{"inputs": {"x": [[null, "2", 3]], "k": [1]}}': "inputs.x: no array of float32 can be made of it (it holds a text)",
    b'{"inputs": {"x": [[1, 2, 3]], "k": ["1"]}}': "inputs.k: no array of int64 can be made of it (it holds a text)",
    b'{"inputs": {"x": [[1, 2, 3]], "k": [1.5]}}': "inputs.k: no array of int64 can be made of it (it takes whole numbers)",
    b'{"inputs": {"x": [[1, 2, 3]], "k": [true]}}': "inputs.k: no array of int64 can be made of it (booleans and numbers are told apart)",
    b'{"inputs": {"x": [[1, 2, 3]], "k": [99999999999999999999]}}': "inputs.k: no array of int64 can be made of it",
}


@pytest.mark.parametrize("body", WRONG)
def test_json_that_is_no_query_is_refused_by_its_part(body):
    with pytest.raises(RequestError) as error:
        tfs_rest.decode_request(body, SIGNATURE)
    assert str(error.value).startswith(WRONG[body]), str(error.value)


SHAPES = {
    "an input too few": ({"x": np.ones((1, 3), np.float32)}, "inputs.k: is missing; expected x float32 [-1, 3], k int64 [-1]"),
    "one too many": (query() | {"z": np.ones(1)}, "inputs.z: the model has no such input"),
    "another type": (query() | {"k": np.ones(1, np.int32)}, "inputs.k: its type is int32; expected k int64 [-1]"),
    "another size": (query() | {"x": np.ones((1, 4), np.float32)}, "inputs.x: its shape is [1, 4]; expected x float32 [-1, 3]"),
    "another rank": (query() | {"x": np.ones(3, np.float32)}, "inputs.x: its shape is [3]"),
    "no sample": (query(0), "inputs.x: its shape is [0, 3]"),
    "different numbers": (query() | {"x": np.ones((2, 3), np.float32)}, "inputs: they hold different numbers of samples: 1, 2"),
    "too many samples": (query(9), "inputs: 9 samples in one request; expected at most 8"),
}


@pytest.mark.parametrize("case", SHAPES)
def test_what_the_model_does_not_take_is_refused_by_its_part(case):
    inputs, words = SHAPES[case]
    with pytest.raises(RequestError) as error:
        checked(inputs, SIGNATURE, 8)
    assert str(error.value).startswith(words), str(error.value)
    assert checked(query(8), SIGNATURE, 8) == 8


@settings(max_examples=300, deadline=None)
@given(data=some.data())
def test_damaged_requests_are_refused_or_still_requests(data):
    """A byte more, a byte less, a byte changed: never an error of ours."""
    wire = data.draw(some.sampled_from(["v2_grpc", "tfs_grpc", "v2_binary", "v2_json", "tfs_rest"]))
    request = Request(query(2))
    headers = {}
    if wire == "v2_grpc":
        content = v2_grpc.encode_request(request, "m")
    elif wire == "tfs_grpc":
        content = tfs_grpc.encode_request(request, "m")
    elif wire == "tfs_rest":
        content = tfs_rest.encode_request(request)
    else:
        content, headers = v2_rest.encode_request(request, wire == "v2_binary")
    place = data.draw(some.integers(0, len(content) - 1))
    put = data.draw(some.binary(max_size=3))
    content = content[:place] + put + content[place + data.draw(some.integers(0, 3)) :]
    try:
        if wire == "v2_grpc":
            found = v2_grpc.decode_request(v2_grpc.parsed(v2_messages.messages().ModelInferRequest, content))
        elif wire == "tfs_grpc":
            found = tfs_grpc.decode_request(v2_grpc.parsed(tfs_messages.messages().predict.PredictRequest, content))
        elif wire == "tfs_rest":
            found = tfs_rest.decode_request(content, SIGNATURE)
        else:
            found = v2_rest.decode_request(content, headers)
    except RequestError as error:
        assert error.part
        return
    assert all(isinstance(values, np.ndarray) for values in found.inputs.values())


def test_a_few_bytes_cannot_ask_for_gigabytes():
    request = tfs_messages.messages().predict.PredictRequest()
    tensor = request.inputs["x"]
    tensor.dtype = 1
    for _ in range(3):
        tensor.tensor_shape.dim.add(size=100_000)
    tensor.float_val.append(1.0)
    with pytest.raises(RequestError, match="it holds 1 values"):
        tfs_grpc.decode_request(request)


def test_metadata_tells_what_a_model_takes_on_every_wire():
    told = {
        "v2_rest": v2_rest.decode_metadata(json.dumps(v2_rest.encode_metadata("m", ["1"], "studylib", SIGNATURE)).encode()),
        "v2_grpc": v2_grpc.decode_metadata(v2_grpc.encode_metadata("m", ["1"], "studylib", SIGNATURE)),
        "tfs_rest": tfs_rest.decode_metadata(json.dumps(tfs_rest.encode_metadata("m", "1", SIGNATURE)).encode()),
        "tfs_grpc": tfs_grpc.decode_metadata(tfs_grpc.encode_metadata("m", "1", SIGNATURE)),
    }
    for signature in told.values():  # TensorFlow's maps keep no order
        assert {spec.name: spec for spec in signature.inputs} == {spec.name: spec for spec in SIGNATURE.inputs}
        assert {spec.name: spec for spec in signature.outputs} == {spec.name: spec for spec in SIGNATURE.outputs}


def test_a_byte_that_is_no_boolean_is_refused():
    with pytest.raises(RequestError, match="it has a byte that is neither 0 nor 1"):
        from_bytes("inputs.x", b"\x00\x02", "bool", [2])
    assert from_bytes("inputs.x", b"\x00\x01", "bool", [2]).tolist() == [False, True]
