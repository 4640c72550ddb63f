"""What other tools make of a float file: their scripts are run, here in the environment that has their packages too."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from studylib import stats
from studylib.artifacts.store import Store
from studylib.bench.peers import PEERS, Beside
from studylib.bench.peers.tools import SCRIPTS, Peer, PeerError
from studylib.models.zoo import Samples
from studylib.runtimes import RUNTIMES, Options
from studylib.verdicts.compare import SpeedUp
from studylib.verdicts.losses import Lost
from tests import litert_models
from tests.recipes import onnx_models
from tests.recorded_results import trial

HERE = [peer for peer in PEERS if peer.name != "Olive"]  # of which nothing is installed here


@pytest.fixture
def here(monkeypatch):
    monkeypatch.setattr(Peer, "python", Path(sys.executable))


def _source(peer: Peer, folder: Path, store: Store):
    """A float file of the format that the peer reads, in ``store``, and samples for it."""
    if peer.reads == "onnx":
        return store.put(onnx_models.convolutional(folder / "m.onnx"), "onnx"), onnx_models.samples(8)
    path = litert_models.saved(litert_models.signed(), folder, "m")
    return store.put(path, "tflite"), Samples({"image": litert_models.images(8)}, None)


@pytest.mark.slow
@pytest.mark.parametrize("peer", HERE, ids=[peer.name for peer in HERE])
def test_a_tool_s_file_runs_where_it_is_measured_and_is_made_once(here, shelf, tmp_path, monkeypatch, peer):
    monkeypatch.chdir(tmp_path)
    source, samples = _source(peer, tmp_path, shelf)
    made = peer.make(source, samples, shelf)
    query = samples.batch(0, 1)
    wanted = RUNTIMES[{"onnx": "onnxruntime", "tflite": "litert"}[peer.reads]].load(source.path, Options()).run(query)
    found = RUNTIMES[peer.runtime].load(made.path, Options()).run(query)
    (first,), (second,) = wanted.values(), found.values()
    assert 5 < stats.sqnr_db(first.astype(float), second.astype(float)) < 80  # the same answers, and quantized
    assert peer.make(source, samples, shelf).key == made.key
    assert {path.name for path in tmp_path.iterdir()} == {source.path.name, "shelf"}  # nothing is left where we stand
    assert made.path.stat().st_mtime_ns == shelf.get(made.key).path.stat().st_mtime_ns


@pytest.mark.slow
def test_a_tool_that_fails_says_so_with_its_last_words(here, shelf, tmp_path):
    (peer,) = (peer for peer in PEERS if peer.name == "ONNX Runtime")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(PeerError, match=r"^ONNX Runtime ended with 1: .*DecodeError"):
        peer.make(shelf.put(broken, "onnx"), onnx_models.samples(8), shelf)


def test_a_tool_whose_environment_is_away_says_so(shelf, tmp_path, monkeypatch):
    monkeypatch.setattr(Peer, "python", tmp_path / "nowhere" / "python")
    with pytest.raises(PeerError, match=r"^NNCF: .*nowhere"):
        PEERS[0].make(shelf.put(onnx_models.convolutional(tmp_path / "m.onnx"), "onnx"), onnx_models.samples(8), shelf)


def _beside(ratio: float, is_within: bool | None) -> Beside:
    """Our winner ``ratio`` times as fast as a peer."""
    theirs = np.array([10.0, 10.1, 9.9, 10.05, 9.95])
    ours = SpeedUp(trial(), replace(trial(), recipe="fp16"), stats.compare(theirs, theirs / ratio))
    return Beside("NNCF", "onnxruntime fp16", Lost("correct", 0.0, 100, 0.0), is_within, ours)


@pytest.mark.parametrize(
    ("ratio", "is_within", "holds"),
    [(1.5, True, True), (1.0, True, True), (0.8, True, False), (0.8, False, True), (0.8, None, True), (1.5, False, True)],
)
def test_a_peer_within_the_budget_that_is_faster_is_not_passed_over(ratio, is_within, holds):
    beside = _beside(ratio, is_within)
    assert beside.holds is holds
    assert beside.row["holds"] == ("yes" if holds else "NO")


def test_every_script_is_there_and_every_package_has_a_version():
    for peer in PEERS:
        assert (SCRIPTS / peer.script).is_file()
        assert all("==" in package for package in peer.packages)
