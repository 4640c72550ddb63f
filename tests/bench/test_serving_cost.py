"""What our own server adds, really measured in a few rounds; and two clients on one schedule."""

import re
import shutil

import numpy as np
import pytest

from studylib.bench import serving_cost
from studylib.serving.servers import SERVERS
from studylib.serving.standstill import standing_still

pytestmark = pytest.mark.slow


def test_each_wire_adds_something_and_text_adds_most_and_servers_of_others_stand_beside(monkeypatch):
    lines = []
    monkeypatch.setattr(serving_cost, "_beside_h2load", lambda *_: None)
    found = serving_cost.run(6, lines.append)
    assert set(found) == {"v2_grpc", "tfs_grpc", "v2_binary", "v2_json", "tfs_rest"}
    assert all(one.low > 0 for one in found.values())
    assert found["tfs_rest"].value > found["v2_grpc"].value
    for name in ("triton", "mlserver"):
        reason, said = SERVERS[name].why_not("onnxruntime"), [line for line in lines if line.startswith(name)]
        if reason:
            assert said == [f"{name}/onnxruntime was not asked: {reason}"]
        else:
            assert re.search(r"over v2_grpc, .*: adds [\d.]+ ms \[", said[0])
            assert re.search(r"takes [\d.]+ \[.*\] times as long as ours over v2_grpc", said[-1])


@pytest.mark.skipif(not shutil.which("h2load"), reason="h2load is not installed here (Debian: nghttp2-client)")
def test_both_clients_see_a_server_that_stands_still_and_a_closed_loop_hides_it(tmp_path, monkeypatch):
    monkeypatch.setattr(serving_cost, "_SECONDS", 5.0)
    from studylib.models.zoo import handmade

    with serving_cost._serving(handmade.save_deep(tmp_path / "model.onnx", 64)) as servers:
        running, found = servers["own"], {}
        for name in ("ours", "h2load", "closed"):
            with standing_still(running.pid):
                values = (
                    serving_cost._h2load(running, tmp_path, 1) if name == "h2load" else serving_cost._ours(running, 1, name == "closed")
                )
            found[name] = np.percentile(values, 95)
    assert found["ours"] > 100
    assert found["h2load"] > 100
    assert found["closed"] < 50


def test_without_h2load_it_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr("shutil.which", lambda name: None)
    lines = []
    serving_cost._beside_h2load(tmp_path, lines.append)
    assert lines == ["h2load is not installed here (Debian: apt-get install nghttp2-client): our client was held against no second one"]
