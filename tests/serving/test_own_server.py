"""Our own server as a process: its answers, refusals, limits, versions and end."""

import http.client
import io
import json
import shutil
import socket
import subprocess
import threading
import time

import numpy as np
import pytest

from studylib.serving.clients import WIRES, Address, RefusedByServerError, connected
from studylib.serving.requests import Request
from tests.serving import served_models
from tests.serving.served_models import SIGNATURE, Served, answers, awaited, query

pytestmark = pytest.mark.slow


def asked(address: Address, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict]:
    """Status and JSON of one request."""
    connection = http.client.HTTPConnection(address.host, address.ports["rest"], timeout=20)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, json.loads(content) if content else {}


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("size", [1, 5])
def test_every_wire_brings_the_answer_bit_for_bit(served, wire, size):
    inputs = query(size, seed=size)
    client = connected(wire, served.address, SIGNATURE)
    answer = client.ask(Request(inputs, id="seven"))
    client.close()
    wanted = answers(inputs)
    assert {name: (v.dtype, v.shape, v.tobytes()) for name, v in answer.outputs.items()} == {
        name: (v.dtype, v.shape, v.tobytes()) for name, v in wanted.items()
    }
    assert answer.spent_ns["compute"] > 0
    assert answer.spent_ns["queue"] >= 0
    assert answer.batch == size


@pytest.mark.parametrize("wire", WIRES)
def test_every_wire_tells_what_the_model_takes(served, wire):
    client = connected(wire, served.address)
    assert {spec.name: spec for spec in client.ask_signature().inputs} == {spec.name: spec for spec in SIGNATURE.inputs}
    client.close()


@pytest.mark.parametrize("wire", ["v2_grpc", "v2_binary", "v2_json", "tfs_grpc"])
def test_only_the_outputs_that_are_wanted_come(served, wire):
    client = connected(wire, served.address, SIGNATURE)
    assert list(client.ask(Request(query(), outputs=("n",))).outputs) == ["n"]
    with pytest.raises(RefusedByServerError, match="the model has no output 'q'; expected y, n"):
        client.ask(Request(query(), outputs=("q",)))
    client.close()


def test_a_person_asks_in_plain_json(served):
    body = json.dumps({"instances": [{"x": [1, 2, 3], "k": 4}]}).encode()
    assert asked(served.address, "POST", "/predict", body) == (200, {"predictions": [{"y": [2.0, 3.0, 4.0], "n": 8}]})


REFUSED = {
    "no JSON": ("POST", "/predict", b"{", {}, 400, "body", "body: it is no JSON"),
    "another type of content": (
        "POST", "/predict", b"x", {"content_type": "text/html"}, 415, "content-type", "content-type: it is 'text/html'",
    ),
    "a picture of a model that takes none": (
        "POST", "/predict", b"x", {"content_type": "image/png"}, 415, "content-type", "content-type: the model takes no picture",
    ),
    "another model": ("POST", "/v1/models/q:predict", b"{}", {}, 404, "model", "model: 'q' is not served here; expected m"),
    "another version": ("POST", "/v2/models/m/versions/7/infer", b"{}", {}, 404, "version", "version: '7' is not loaded; expected 1"),
    "no path": ("GET", "/nowhere", b"", {}, 404, "path", "path: nothing answers GET there"),
    "another method": ("DELETE", "/predict", b"", {}, 405, "path", "path: nothing answers DELETE there"),
    "too long": ("POST", "/predict", b" " * (2**20 + 1), {}, 413, "body", "body: it has more than 1048576 bytes"),
    "too many samples": (
        "POST", "/predict", json.dumps({"inputs": {"x": [[1, 2, 3]] * 9, "k": [1] * 9}}).encode(), {}, 400, "inputs", "inputs: 9 samples",
    ),
    "a length that lies": (
        "POST", "/v2/models/m/infer", b"{}", {"inference_header_content_length": "99"}, 400,
        "header inference-header-content-length", "header inference-header-content-length: it is '99'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_names_the_field_what_is_wrong_and_what_is_expected(served, case):
    method, path, body, headers, status, part, words = REFUSED[case]
    found, told = asked(served.address, method, path, body, **headers)
    assert (found, told["field"]) == (status, part)
    assert told["error"].startswith(words), told
    assert "; expected " in told["error"]


def test_health_metadata_and_metrics(served):
    assert asked(served.address, "GET", "/v2/health/live") == (200, {"live": True})
    assert asked(served.address, "GET", "/v2/health/ready") == (200, {"ready": True})
    assert asked(served.address, "GET", "/v2/models/m/ready") == (200, {"ready": True})
    status = asked(served.address, "GET", "/v1/models/m")[1]["model_version_status"]
    assert [(one["version"], one["state"]) for one in status] == [("1", "AVAILABLE")]
    assert asked(served.address, "GET", "/v2/models/m")[1]["inputs"][0] == {"name": "x", "datatype": "FP32", "shape": [-1, 3]}
    before = counted(served.address)
    client = connected("v2_grpc", served.address)
    for _ in range(3):
        client.ask(Request(query()))
    client.close()
    asked(served.address, "POST", "/predict", b"{")
    after = counted(served.address)
    right, refused = (
        f'studylib_requests_total{{outcome="{outcome}",wire="{wire}"}}' for outcome, wire in (("ok", "v2_grpc"), ("400", "predict"))
    )
    assert after[right] - before.get(right, 0) == 3
    assert after[refused] - before.get(refused, 0) == 1
    assert after["studylib_model_version"] == 1
    assert after["process_resident_memory_bytes"] > 1e7


def counted(address: Address) -> dict[str, float]:
    connection = http.client.HTTPConnection(address.host, address.ports["rest"], timeout=20)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if not line.startswith("#"))}


def test_it_listens_on_this_machine_alone(served):
    import psutil

    listening = [c.laddr.ip for c in psutil.Process(served.process.pid).net_connections() if c.status == psutil.CONN_LISTEN]
    assert listening
    assert {address.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}


def test_a_newer_version_is_swapped_in_without_a_lost_or_wrong_answer(tmp_path):
    served_models.write(tmp_path, 1)
    with Served(tmp_path, "--look-s", "0.05") as server:
        wrong, seen, stop = [], set(), threading.Event()

        def ask(wire):
            client, number = connected(wire, server.address, SIGNATURE), 0
            while not stop.is_set():
                number += 1
                inputs = query(1 + number % 3, seed=number)
                answer = client.ask(Request(inputs))
                right = answers(inputs, int(answer.version or 0))
                seen.add(answer.version)
                if any(answer.outputs[name].tobytes() != right[name].tobytes() for name in right):
                    wrong.append((answer, inputs))
            client.close()

        threads = [threading.Thread(target=ask, args=(wire,)) for wire in ("v2_grpc", "v2_binary", "tfs_grpc")]
        for thread in threads:
            thread.start()
        for version in (2, 3, 10):
            served_models.write(tmp_path, version)
            awaited(lambda: str(version) in seen)  # noqa: B023  awaited here
        broken = tmp_path / "11"
        broken.mkdir()
        (broken / "model.onnx").write_bytes(b"no model")
        awaited(lambda: "version 11 cannot be loaded, version 10 goes on" in server.said)
        stop.set()
        for thread in threads:
            thread.join()
        assert not wrong
        assert seen == {"1", "2", "3", "10"}
        assert counted(server.address)["studylib_model_swaps"] == 3


def test_requests_that_wait_are_put_together_and_one_that_is_refused_takes_none_with_it(tmp_path):
    served_models.write(tmp_path)
    with Served(tmp_path, "--batch", "8", "--wait-ms", "300") as server:
        batches, refused = [], []

        def ask(place):
            client = connected("v2_grpc", server.address)
            try:
                inputs = query(1, seed=place)
                answer = client.ask(Request(inputs))
                batches.append(answer.batch)
                assert answer.outputs["y"].tobytes() == answers(inputs)["y"].tobytes()
            except RefusedByServerError as error:
                refused.append(error.status)
            client.close()

        threads = [threading.Thread(target=ask, args=(place,)) for place in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not refused
    assert max(batches) > 1
    assert len(batches) == 8


def test_a_token_is_asked_for(tmp_path):
    folder, token = tmp_path / "versions", tmp_path / "token"
    served_models.write(folder)
    token.write_text("a-token-of-some-length\n")
    with Served(folder, "--token-file", str(token)) as server:
        known = Address(**{**vars(server.address), "token": "a-token-of-some-length"})
        for wire in ("v2_grpc", "v2_binary"):
            with pytest.raises(RefusedByServerError, match=r"401|UNAUTHENTICATED"):
                connected(wire, server.address).ask(Request(query()))
            assert connected(wire, known).ask(Request(query())).outputs
        assert asked(server.address, "GET", "/metrics")[0] == 401
        assert asked(server.address, "GET", "/v2/health/ready") == (200, {"ready": True})  # what a probe asks
    token.write_text("short")
    with pytest.raises(AssertionError, match=r"error: the token in .* has 5 characters; give at least 16"):
        Served(folder, "--token-file", str(token))


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed here")
def test_with_a_certificate_it_speaks_tls_alone(tmp_path):
    folder, certificate, key = tmp_path / "versions", tmp_path / "certificate.pem", tmp_path / "key.pem"
    served_models.write(folder)
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-keyout",
        str(key),
        "-out",
        str(certificate),
        *names,
    ]
    subprocess.run(command, check=True, capture_output=True)
    with Served(folder, "--certificate", str(certificate), "--key", str(key)) as server:
        known = Address(**{**vars(server.address), "authority": certificate})
        for wire in ("v2_grpc", "v2_binary", "tfs_rest"):
            answer = connected(wire, known, SIGNATURE).ask(Request(query()))
            assert answer.outputs["n"].tolist() == answers(query())["n"].tolist()
            with pytest.raises((OSError, RefusedByServerError, http.client.HTTPException)):
                connected(wire, server.address, SIGNATURE).ask(Request(query()))
    with pytest.raises(AssertionError, match="error: TLS needs both a certificate and its key"):
        Served(folder, "--certificate", str(certificate))


def test_it_ends_politely_with_what_it_has_in_hand(tmp_path):
    served_models.write(tmp_path)
    with Served(tmp_path, "--batch", "8", "--wait-ms", "1500") as server:
        found = []
        client = connected("v2_binary", server.address)
        thread = threading.Thread(target=lambda: found.append(client.ask(Request(query()))))
        thread.start()
        time.sleep(0.5)  # it waits for company now
        assert server.end() == 0
        thread.join()
    assert [answer.outputs["n"].tolist() for answer in found] == [answers(query())["n"].tolist()]


def test_a_body_that_does_not_come_is_not_waited_for(tmp_path):
    served_models.write(tmp_path)
    with Served(tmp_path, "--answer-s", "0.5") as server, socket.create_connection(("127.0.0.1", server.ready["rest"]), 10) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n{")
        answer = b""
        while b"}" not in answer:
            answer += connection.recv(4096)
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"body: it did not come within 0.5 s; expected all of it by then" in answer


def test_what_it_cannot_serve_it_says_and_ends(tmp_path):
    with pytest.raises(AssertionError, match="holds no version that can be loaded"):
        Served(tmp_path)
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "model.onnx").write_bytes(b"no model")
    with pytest.raises(AssertionError, match="error: version 1 cannot be loaded"):
        Served(tmp_path)


WORDS = {
    "an unknown runtime": (["--runtime", "onnx"], "Unknown runtime 'onnx'. Known: .*onnxruntime.* Did you mean 'onnxruntime'"),
    "a setting that there is not": (["--options", "grpah=basic"], "Did you mean 'graph'"),
    "what is no setting": (["--options", "basic"], "'basic' names no settings: give name=value"),
    "no port": (["--rest-port", "99999"], "'99999' is no port: a whole number from 0"),
    "more sessions than threads": (["--sessions", "2"], "2 sessions need a thread each, and there are 1"),
    "no token file": (["--token-file", "/none"], "the token file /none cannot be read"),
    "no certificate": (
        ["--certificate", "/none", "--key", "/none"],
        "the certificate /none and the key /none cannot be used: .*Give both as PEM",
    ),
}


@pytest.mark.parametrize("case", WORDS)
def test_it_says_what_it_was_told_wrongly_what_is_allowed_and_ends(tmp_path, case):
    told, words = WORDS[case]
    served_models.write(tmp_path)
    with pytest.raises(AssertionError, match=words) as error:
        Served(tmp_path, *told)
    assert "Traceback" not in str(error.value)


def test_a_port_that_is_taken_is_said(tmp_path):
    served_models.write(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = str(taken.getsockname()[1])
        for option in ("--rest-port", "--grpc-port"):
            with pytest.raises(AssertionError, match=rf"error: port {port} of 127\.0\.0\.1 cannot be opened.*Give another"):
                Served(tmp_path, option, port)


def test_a_certificate_that_is_none_is_said(tmp_path):
    served_models.write(tmp_path / "versions")
    (tmp_path / "pem").write_text("none")
    with pytest.raises(AssertionError, match=r"cannot be used: .*Give both as PEM"):
        Served(tmp_path / "versions", "--certificate", str(tmp_path / "pem"), "--key", str(tmp_path / "pem"))


def test_an_encoded_picture_is_a_query(tmp_path):
    import onnx
    from onnx import TensorProto, helper
    from PIL import Image

    values = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["b", 6, 5, 3])
    mean = helper.make_tensor_value_info("mean", TensorProto.FLOAT, ["b", 3])
    node = helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1, 2], keepdims=0)
    (tmp_path / "1").mkdir()
    model = helper.make_model(helper.make_graph([node], "g", [values], [mean]), opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "1" / "model.onnx")
    card = tmp_path / "model.onnx.yaml"
    card.write_text("inputs: {image: {scale: 0.5}}\n")
    with Served(tmp_path, "--card", str(tmp_path / "model.onnx")) as server:
        content = io.BytesIO()
        Image.fromarray(np.full((12, 10, 3), (200, 100, 0), np.uint8)).save(content, "PNG")
        status, told = asked(server.address, "POST", "/predict", content.getvalue(), content_type="image/png")
        assert (status, told) == (200, {"outputs": [[100.0, 50.0, 0.0]]})
        status, told = asked(server.address, "POST", "/predict", content.getvalue()[:40], content_type="image/png")
        assert (status, told["field"]) == (400, "body")
        assert told["error"].startswith("body: it cannot be read as a picture")
