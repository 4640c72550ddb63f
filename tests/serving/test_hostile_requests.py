"""Ten thousand requests that are none, or almost: the server refuses each in words, and answers the next one rightly."""

import contextlib
import http.client
import json
import socket
import subprocess
import sys

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from studylib.serving.clients import connected
from studylib.serving.requests import Request
from studylib.serving.wires import tfs_grpc, tfs_messages, tfs_rest, v2_grpc, v2_messages, v2_rest
from tests.serving import served_models
from tests.serving.served_models import Served, answers, query
from tests.serving.test_own_server import counted

pytestmark = pytest.mark.slow
_EACH = 2000
_HOSTILE = settings(
    max_examples=_EACH, deadline=None, database=None, suppress_health_check=list(HealthCheck), derandomize=True
)  # the same every time: what fails can be looked at
# What stands for an error of ours.
_OURS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNIMPLEMENTED}
_SENT = {"REST": 0, "gRPC": 0}

_PATHS = ["/predict", "/v1/models/m:predict", "/v1/models/m/versions/1:predict", "/v2/models/m/infer", "/v2/models/m/versions/1/infer"]
_NAMES = some.sampled_from(
    ["x", "k", "inputs", "instances", "name", "shape", "datatype", "data", "parameters", "binary_data_size", "", "é"]
)
_NUMBERS = some.one_of(
    some.integers(), some.floats(allow_nan=False, allow_infinity=False), some.sampled_from([0, -1, 2**31, 2**63, 2**64, 1e308])
)
_LEAVES = some.one_of(
    some.none(), some.booleans(), _NUMBERS, some.text(max_size=5), some.sampled_from(["FP32", "INT64", "BYTES", "x", "k"])
)
_JSON = some.recursive(
    _LEAVES, lambda inner: some.one_of(some.lists(inner, max_size=4), some.dictionaries(_NAMES, inner, max_size=4)), max_leaves=12
)
_TENSOR = some.fixed_dictionaries(
    {},
    optional={
        "name": some.one_of(some.sampled_from(["x", "k", "y"]), _LEAVES),
        "shape": some.one_of(some.lists(some.one_of(some.integers(-2, 4), _LEAVES), max_size=4), _LEAVES),
        "datatype": some.one_of(some.sampled_from(["FP32", "INT64", "INT8", "BOOL", "BYTES"]), _LEAVES),
        "data": some.one_of(some.lists(_LEAVES, max_size=6), _JSON),
        "parameters": some.one_of(some.fixed_dictionaries({"binary_data_size": _LEAVES}), _LEAVES),
    },
)
_BODIES = some.one_of(
    some.binary(max_size=60),
    _JSON.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass")),
    some.fixed_dictionaries(
        {"inputs": some.one_of(some.lists(_TENSOR, max_size=3), _JSON)}, optional={"id": _LEAVES, "outputs": _JSON}
    ).map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass")),
    some.fixed_dictionaries({"instances": some.lists(some.dictionaries(some.sampled_from(["x", "k"]), _JSON), max_size=3)}).map(
        lambda value: json.dumps(value).encode("utf-8", "surrogatepass")
    ),
    some.integers(1, 3000).map(lambda depth: b"[" * depth + b"]" * depth),
)
_HEADERS = some.dictionaries(
    some.sampled_from(["content-type", "inference-header-content-length", "accept", "x-any"]),
    some.one_of(some.sampled_from(["application/json", "image/png", "application/octet-stream", "0", "-1", "5", "99999999999999999999"])),
    max_size=2,
)


@some.composite
def damaged(draw, content: bytes) -> bytes:
    """A right request with a few bytes put in, taken away or changed."""
    for _ in range(draw(some.integers(1, 4))):
        place = draw(some.integers(0, len(content)))
        content = content[:place] + draw(some.binary(max_size=4)) + content[place + draw(some.integers(0, 4)) :]
    return content


@pytest.fixture(scope="module")
def channel(served):
    with grpc.insecure_channel(served.address.of("grpc")) as found:
        yield found


def _post(served, path: str, body: bytes, headers: dict[str, str]) -> None:
    connection = _CONNECTIONS.setdefault(served, http.client.HTTPConnection("127.0.0.1", served.ready["rest"], timeout=20))
    connection.request("POST", path, body, headers)
    response = connection.getresponse()
    content = response.read()
    _SENT["REST"] += 1
    assert response.status < 500, (response.status, content, path, body)
    if response.status != 200:
        told = json.loads(content)
        assert told["field"], content
        assert told["error"].startswith(told["field"]), content
        assert "; expected " in told["error"], content


_CONNECTIONS: dict = {}


@_HOSTILE
@given(path=some.sampled_from(_PATHS), body=_BODIES, headers=_HEADERS)
def test_rest_bodies_that_are_none(served, path, body, headers):
    _post(served, path, body, headers)


@_HOSTILE
@given(data=some.data())
def test_rest_bodies_that_are_damaged(served, data):
    body, headers = v2_rest.encode_request(Request(query(2), outputs=("y",)), data.draw(some.booleans()))
    if data.draw(some.booleans()):
        return _post(served, _PATHS[3], data.draw(damaged(body)), headers)
    return _post(served, _PATHS[1], data.draw(damaged(tfs_rest.encode_request(Request(query(2))))), {})


_METHODS = [
    *(
        f"/{v2_messages.SERVICE}/{name}"
        for name in ("ModelInfer", "ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata")
    ),
    f"/{tfs_messages.SERVICE}/Predict",
    f"/{tfs_messages.STATUS_SERVICE}/GetModelStatus",
]


def _call(channel, method: str, content: bytes) -> None:
    _SENT["gRPC"] += 1
    try:
        channel.unary_unary(method)(content, timeout=20)
    except grpc.RpcError as error:
        assert error.code() not in _OURS, (error.code(), error.details(), method, content)
        assert "; expected " in error.details(), error.details()


@_HOSTILE
@given(method=some.sampled_from(_METHODS), content=some.binary(max_size=80))
def test_grpc_messages_that_are_none(channel, method, content):
    _call(channel, method, content)


@_HOSTILE
@given(data=some.data())
def test_messages_of_the_open_inference_protocol_that_are_damaged(channel, data):
    request = v2_grpc.encode_request(Request(query(2), outputs=("y",)), "m", data.draw(some.sampled_from(["", "1"])))
    _call(channel, v2_grpc.ASK, data.draw(damaged(request)))


@_HOSTILE
@given(data=some.data())
def test_messages_of_tensorflow_serving_that_are_damaged(channel, data):
    request = tfs_grpc.encode_request(Request(query(2), outputs=("y",)), "m", data.draw(some.sampled_from(["", "1"])))
    _call(channel, tfs_grpc.ASK, data.draw(damaged(request)))


@pytest.mark.parametrize(
    "sent",
    [
        b"\0" * 2000,
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: -5\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999\r\n\r\n{}",
        b"POST /predict HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"".join(b"x-%d: y\r\n" % number for number in range(5000)) + b"\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 500,
    ],
)
@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_bytes_that_are_no_protocol_end_one_connection(served, sent, protocol):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", served.ready[protocol]), 5) as connection:
        connection.settimeout(2)
        connection.sendall(sent)
        assert not connection.recv(65536).startswith(b"HTTP/1.1 5")
    assert connected("v2_binary", served.address).ask(Request(query())).outputs


def test_a_fuzzer_that_reads_the_server_s_own_description_finds_nothing(served):
    checks = "not_a_server_error,response_schema_conformance,status_code_conformance,content_type_conformance"
    told = ["--max-examples", "15", "--phases", "coverage,fuzzing", "--checks", checks, "--no-color", "--seed", "1"]
    start = "from schemathesis.cli import schemathesis; schemathesis()"
    command = [sys.executable, "-c", start, "run", f"http://127.0.0.1:{served.ready['rest']}/openapi.json", *told]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "Tested: 15" in done.stdout


def test_after_all_of_them_it_still_answers_rightly_and_counted_no_fault_of_its_own(served):
    inputs = query(3)
    for wire in ("v2_grpc", "v2_binary"):
        found = connected(wire, served.address).ask(Request(inputs)).outputs
        assert {name: values.tobytes() for name, values in found.items()} == {n: v.tobytes() for n, v in answers(inputs).items()}
    assert not [name for name in counted(served.address) if 'outcome="5' in name]
    assert served.process.poll() is None
    # Where all tests above ran, and not this one alone.
    if min(_SENT.values()):
        assert sum(_SENT.values()) >= 10_000, _SENT


def test_the_test_above_sees_an_answer_that_is_a_fault_of_the_server(tmp_path):
    """A server whose version cannot answer at all: what it says then is no refusal of these requests."""
    folder = tmp_path / "versions"
    served_models.write(folder)
    start = (
        "import sys; from studylib.serving.own import batching, __main__ as own\n"
        "batching.Batcher._computed = lambda *_: 1 / 0\n"
        "sys.exit(own.main(sys.argv[1:]))"
    )
    with Served(folder, started=["-c", start]) as broken:
        with pytest.raises(AssertionError, match="500"):
            _post(broken, "/predict", b'{"instances": [{"x": [1, 2, 3], "k": 1}]}', {})
        with grpc.insecure_channel(broken.address.of("grpc")) as channel, pytest.raises(AssertionError, match="UNKNOWN"):
            _call(channel, v2_grpc.ASK, v2_grpc.encode_request(Request(query()), "m"))
