"""Replicas behind nginx, and mixed load with faults on them: nothing wrong, nothing vanished."""

import http.client
import re
import threading

import pytest

from studylib.bench import serving_stress
from studylib.errors import RefusedError
from studylib.serving import replicas
from studylib.serving.clients import connected
from studylib.serving.requests import Request
from tests.serving import served_models
from tests.serving.served_models import SIGNATURE, answers, query

pytestmark = pytest.mark.slow
needs_nginx = pytest.mark.skipif(bool(replicas.why_not()), reason=replicas.why_not() or "")


@needs_nginx
def test_they_share_the_queries_and_one_that_is_killed_takes_none_with_it(tmp_path):
    served_models.write(tmp_path)
    with replicas.Replicas(tmp_path, 3, ["--runtime", "onnxruntime"], "m") as three:
        seen, wrong, stop = set(), [], threading.Event()

        def ask(wire):
            client, number = connected(wire, three.address, SIGNATURE, 10.0, 4), 0
            while not stop.is_set():
                number += 1
                inputs = query(1, seed=number)
                try:
                    answer = client.ask(Request(inputs))
                except Exception as error:  # whatever it is, it is lost
                    wrong.append(error)
                    continue
                seen.add(answer.by.rpartition(", ")[2])
                if answer.outputs["y"].tobytes() != answers(inputs)["y"].tobytes():
                    wrong.append(inputs)
            client.close()

        threads = [threading.Thread(target=ask, args=(wire,)) for wire in ("v2_binary", "v2_grpc", "tfs_grpc", "tfs_rest")]
        for thread in threads:
            thread.start()
        served_models.awaited(lambda: len(seen) == 6)
        three.kill(0)
        seen.clear()
        served_models.awaited(lambda: len(seen) >= 4)
        three.restart(0)
        gone = {three.servers[0].address.of(protocol) for protocol in ("rest", "grpc")}
        served_models.awaited(lambda: gone <= seen)
        stop.set()
        for thread in threads:
            thread.join()
        assert not wrong


@needs_nginx
def test_under_faults_nothing_is_wrong_and_nothing_vanishes():
    lines = []
    counts = serving_stress.run(8, lines.append)
    assert counts.holds, lines
    assert counts.right > 100
    assert counts.refused > 10
    assert counts.kills >= 1
    assert len(counts.versions) > 2
    assert re.search(r"wrong 0, .* vanished 0", lines[0])


def test_what_is_wrong_or_vanishes_or_is_counted_otherwise_does_not_hold():
    right = serving_stress.Counts(sent=10, right=8, refused=2)
    assert right.holds
    assert not serving_stress.Counts(sent=10, right=7, wrong=1, refused=2).holds
    assert not serving_stress.Counts(sent=10, right=7, refused=2).holds
    assert not serving_stress.Counts(sent=10, right=8, refused=1, misjudged=1).holds
    assert not serving_stress.Counts(sent=10, right=8, refused=2, reconciled={"a": (8, 9)}).holds
    assert not serving_stress.Counts().holds


def test_without_nginx_it_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr("shutil.which", lambda name: None)
    lines = []
    assert serving_stress.run(1, lines.append) is None
    assert lines == ["stress: skipped, nginx is not installed here (Debian: apt-get install nginx-light)"]
    with pytest.raises(RefusedError, match="nginx is not installed here"):
        replicas.Replicas(tmp_path, 1, [])


@needs_nginx
def test_a_request_that_no_server_takes_is_an_error_and_no_silence(tmp_path):
    served_models.write(tmp_path)
    with replicas.Replicas(tmp_path, 1, ["--runtime", "onnxruntime"], "m") as one:
        one.kill(0)
        connection = http.client.HTTPConnection("127.0.0.1", one.address.ports["rest"], timeout=10)
        connection.request("GET", "/v2/health/ready")
        assert connection.getresponse().status == 502
