"""The promises that every server keeps, on the trained mnist_cnn."""

import os
from contextlib import ExitStack

import pytest

from studylib.errors import InputError
from studylib.machine.hardware import probe
from studylib.runtimes import RUNTIMES, Options
from studylib.scenarios import SCENARIOS, Load, RunLength
from studylib.serving.clients import WIRES, connected
from studylib.serving.requests import Request
from studylib.serving.served import SERVED
from studylib.serving.servers import SERVERS, Wishes
from tests.parts_of_a_study import artifact_of, samples_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=SERVED)
def running(request, mnist):
    """(the served runtime, its server running, the direct session of the same file)"""
    served = SERVED[request.param]
    if reason := served.why_not("cpu", probe()):
        pytest.skip(reason)
    path = artifact_of(mnist, served.backend)
    direct = served.backend.load(path, Options("cpu", threads=1))
    with ExitStack() as stack:
        yield served, stack.enter_context(served.server.start(Wishes(path, served.backend.name))), direct


def test_names_are_server_and_runtime():
    assert all(name == f"{runtime.server.name}/{runtime.backend.name}" for name, runtime in SERVED.items())
    assert all(server.wires and set(server.wires) <= set(WIRES) for server in SERVERS.values())


def test_each_says_why_it_is_not_here_or_its_version():
    for served in SERVED.values():
        reason = served.server.why_not(served.backend.name)
        assert reason is None or "get it" in reason or "brings it" in reason
        assert reason or served.server.version()


def test_served_answers_are_those_of_the_direct_session_bit_for_bit_on_every_wire(running, mnist):
    served, server, direct = running
    samples = samples_of(mnist)
    for wire in served.server.wires:
        client = connected(wire, server.address, server.signature)
        for place in range(5):
            query = samples.batch(place, 1)
            wanted, found = direct.run(query), client.ask(Request(query)).outputs
            assert {name: (v.dtype, v.shape, v.tobytes()) for name, v in found.items()} == {
                name: (v.dtype, v.shape, v.tobytes()) for name, v in wanted.items()
            }, wire
        client.close()


def test_it_tells_what_its_file_takes_and_gives(running):
    _, server, direct = running
    assert {spec.name: spec for spec in server.signature.inputs} == {spec.name: spec for spec in direct.signature().inputs}
    assert {spec.name for spec in server.signature.outputs} == {spec.name for spec in direct.signature().outputs}


def test_it_tells_where_the_time_went_where_it_can(running, mnist):
    served, server, _ = running
    client = connected(served.server.wires[0], server.address, server.signature)
    answer = client.ask(Request(samples_of(mnist).batch(0, 1)))
    client.close()
    assert (answer.spent_ns.keys() >= {"queue", "compute"}) == served.server.times


def test_a_served_model_is_a_session_like_others(mnist, monkeypatch):
    served, samples = SERVED["own/onnxruntime"], samples_of(mnist)
    path = artifact_of(mnist, served.backend)
    monkeypatch.setattr("os.sched_setaffinity", lambda *_: None)  # the client's processor is a matter of its own process
    session = served.load(path, Options("cpu", 1, {"clients": "4", "wire": "v2_binary"}))
    try:
        assert session.process != os.getpid()
        assert [one is session for one in session.beside()] == [True, False, False, False]
        session.begin()
        driven = SCENARIOS["concurrency"].loop(session, samples, Load("concurrency", 1, RunLength(30, 0.2, 5.0)))
        told = session.served()
        assert told["queries"] == len(driven.values_ns) >= 30
        assert driven.facts.failed_queries == 0
        assert sum(told["batches"].values()) == told["queries"]
        assert 0 < told["server_cpu_s_per_query"] < 1
        assert 0 < session.disturbances()["client_cpu_share"] < 2
        assert told["total_ns"] > max(told["compute_ns"], told["wire_ns"]) > 0  # medians do not add up
    finally:
        session.close()
    assert session._running.process.poll() is not None


def test_settings_that_it_does_not_have_are_refused():
    with pytest.raises(InputError, match=r"own/onnxruntime: the setting wire is 'pigeon'"):
        SERVED["own/onnxruntime"].check({"wire": "pigeon"})


def test_no_served_runtime_hides_one_without_a_server():
    assert not SERVED.keys() & RUNTIMES.keys()
