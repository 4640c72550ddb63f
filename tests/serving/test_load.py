"""Load on a server that somebody runs: what is counted, and when the client does not count."""

import numpy as np
import pytest

from studylib.errors import InputError
from studylib.scenarios.base import Driven, Facts
from studylib.serving import load
from studylib.serving.clients import WIRES
from studylib.serving.load import Offered
from tests.serving import served_models
from tests.serving.served_models import SIGNATURE

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("wire", WIRES)
def test_a_server_is_asked_by_chance_and_by_clients_at_once(served, wire):
    target = f"127.0.0.1:{served.ready[WIRES[wire].protocol]}"
    address = load.address_of(target, "m", wire)
    signature = load.signature_of(address, wire)
    samples = load.samples_of(None, signature)
    closed = load.run(address, wire, signature, samples, Offered(0.3, None, 2))
    assert len(closed.driven.values_ns) >= 2
    assert closed.driven.facts.failed_queries == 0
    opened = load.run(address, wire, signature, samples, Offered(0.5, 60.0, 8))
    assert len(opened.driven.values_ns) == 30
    assert any(line.startswith("counted from when each query was due") for line in opened.lines)


def test_a_server_that_is_not_there_is_said():
    address = load.address_of("127.0.0.1:9", "m", "v2_binary")
    with pytest.raises(InputError, match=r"the server at 127.0.0.1 does not tell what m takes: .*Check TARGET, WIRE and MODEL"):
        load.signature_of(address, "v2_binary")


@pytest.mark.parametrize("target", ["", "8500", "host:", "host:x", "host:99999", ":80"])
def test_what_is_no_address_is_refused(target):
    with pytest.raises(InputError, match="it must be host:port"):
        load.address_of(target, "m", "v2_grpc")


def test_samples_of_a_file_must_fit_the_model(tmp_path):
    np.savez(tmp_path / "right.npz", **served_models.query(5))
    assert len(load.samples_of(tmp_path / "right.npz", SIGNATURE)) == 5
    (tmp_path / "broken.npz").write_bytes(b"no zip")
    with pytest.raises(InputError, match=r"cannot be read as \.npz"):
        load.samples_of(tmp_path / "broken.npz", SIGNATURE)


@pytest.mark.parametrize(
    ("late_ns", "busy", "words"),
    [
        (1e5, 0.5, ""),
        (5e6, 0.5, "queries were asked up to 5 ms late (p99)"),
        (1e5, 0.95, "the client filled 95% of its processor"),
    ],
)
def test_a_client_that_was_late_or_full_does_not_count(late_ns, busy, words):
    facts = Facts("loop", 1, crosscheck={"late_p99_ns": late_ns, "alone_p50_ns": 2e6, "alone_p99_ns": 3e6})
    found = load._why_invalid(Driven(np.array([2_000_000]), facts), {"client_cpu_share": busy})
    assert found.startswith(words)
    assert bool(found) == bool(words)
