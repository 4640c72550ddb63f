"""Servers of others in environments of their own: what is said where they are not, what they are told, and how they fail."""

import json
from dataclasses import replace

import pytest

from studylib.artifacts import environments
from studylib.errors import TrialError
from studylib.models.zoo import handmade
from studylib.runtimes import RUNTIMES, Options
from studylib.runtimes.signature import Signature, TensorSpec
from studylib.serving.behind.opened import Told
from studylib.serving.behind.triton import config
from studylib.serving.servers import SERVERS, Wishes
from studylib.serving.servers.apart import Apart

APART = [server for server in SERVERS.values() if isinstance(server, Apart)]
TOLD = Told("/x/model.onnx", "onnxruntime", "model", "/tmp/f", 1, 2)
IMAGE = Signature((TensorSpec("image", "float32", (None, 8, 8, 3)),), (TensorSpec("label", "int64", (None,)),))


@pytest.mark.parametrize("server", APART, ids=lambda server: server.name)
def test_where_it_is_not_installed_the_way_to_get_it_is_said(server, tmp_path, monkeypatch):
    monkeypatch.setattr(environments, "root", lambda: tmp_path)
    assert server.why_not("onnxruntime") == f"{server.name} is not installed here; `make peers` brings it"


@pytest.mark.parametrize("server", APART, ids=lambda server: server.name)
def test_every_package_has_a_version_and_a_runtime_is_ours(server):
    for backend in server.backends:
        packages = server.environment_of(backend).packages
        assert all("==" in package for package in packages)
        assert packages[-1] == f"{RUNTIMES[backend].package}=={RUNTIMES[backend].version}"


def test_what_is_told_survives_the_command_line(tmp_path):
    wishes = Wishes(tmp_path / "model.onnx", "onnxruntime", 2, 3, 8, 2.5, None, {"spinning": "off"}, 'it\'s "one" 模型')
    command = SERVERS["triton"].command(wishes, tmp_path)
    told = Told(**json.loads(command[-1]))
    assert (told.threads, told.sessions, told.batch, told.wait_ms) == (2, 3, 8, 2.5)
    assert (told.settings, told.model) == ({"spinning": "off"}, wishes.model)
    assert told.rest != told.grpc


def test_triton_is_told_the_shapes_with_the_axis_of_samples_only_where_it_does_not_put_requests_together():
    alone = config(TOLD, IMAGE)
    assert "max_batch_size: 0" in alone
    assert 'input { name: "image" data_type: TYPE_FP32 dims: [-1, 8, 8, 3] }' in alone
    assert "dynamic_batching" not in alone
    together = config(replace(TOLD, batch=8, wait_ms=2.5), IMAGE)
    assert "max_batch_size: 8" in together
    assert 'input { name: "image" data_type: TYPE_FP32 dims: [8, 8, 3] }' in together
    assert 'output { name: "label" data_type: TYPE_INT64 dims: [] }' in together
    assert "max_queue_delay_microseconds: 2500 " in together
    # Samples that cannot be stacked are not.
    fixed = Signature((TensorSpec("image", "float32", (1, 8)),), (TensorSpec("label", "int64", (1,)),))
    assert "max_batch_size: 0" in config(replace(TOLD, batch=8), fixed)


@pytest.fixture(params=APART, ids=lambda server: server.name)
def here(request):
    """A server that is installed."""
    if reason := request.param.why_not("onnxruntime"):
        pytest.skip(reason)
    return request.param


@pytest.mark.slow
def test_a_file_that_does_not_open_ends_it_with_the_reason(here, tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(TrialError, match=r"the server ended with status \d+; it said: .*does not open model\.onnx"):
        here.start(Wishes(tmp_path / "model.onnx", "onnxruntime"))


@pytest.mark.slow
def test_what_is_put_together_is_answered_to_each_and_several_sessions_answer(here, tmp_path):
    import threading

    import numpy as np

    from studylib.serving.clients import connected
    from studylib.serving.own.backend import example
    from studylib.serving.requests import Request

    path = handmade.save_picture(tmp_path / "picture.onnx")
    direct = RUNTIMES["onnxruntime"].load(path, Options("cpu", 1))
    with here.start(Wishes(path, "onnxruntime", sessions=2, batch=8, wait_ms=5.0)) as running:
        query = example(running.signature, 1)
        queries = [{name: values + place for name, values in query.items()} for place in range(16)]
        found = {}

        def ask(place: int) -> None:
            client = connected("v2_grpc", running.address, running.signature)
            found[place] = client.ask(Request(queries[place])).outputs
            client.close()

        threads = [threading.Thread(target=ask, args=(place,)) for place in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for place, asked in enumerate(queries):
        for name, values in direct.run(asked).items():
            np.testing.assert_allclose(found[place][name], values, rtol=1e-5, atol=1e-6)
