"""What other tools make of a float file: their scripts are run, here in the environment that has their packages too."""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from studylib import stats
from studylib.artifacts.environments import EnvironmentFailedError
from studylib.artifacts.store import Artifact, Store
from studylib.bench import peers
from studylib.bench.peers import PEERS, Beside
from studylib.bench.peers.tools import SCRIPTS, Peer
from studylib.models.zoo import Samples
from studylib.runtimes import RUNTIMES, Options
from studylib.verdicts.compare import SpeedUp
from studylib.verdicts.losses import Lost
from tests import litert_models
from tests.in_process import study_of, timed_shortly
from tests.recipes import onnx_models
from tests.recorded_results import trial

HERE = [peer for peer in PEERS if peer.name != "Olive"]  # of which nothing is installed here


@pytest.fixture
def here(monkeypatch):
    monkeypatch.setattr(Peer, "python", Path(sys.executable))


def _samples(folder: Path, store: Store, seed: int = 1, name: str = "") -> Artifact:
    folder = Path(tempfile.mkdtemp(dir=folder))
    samples = onnx_models.samples(8, seed)
    return store.put((Samples({name: litert_models.images(8)}, None) if name else samples).save(folder))


def _source(peer: Peer, folder: Path, store: Store) -> tuple[Artifact, Artifact]:
    """A float file of the format that the peer reads, and samples for it, in ``store``."""
    if peer.reads == "onnx":
        return store.put(onnx_models.convolutional(folder / "m.onnx"), "onnx"), _samples(folder, store)
    return store.put(litert_models.saved(litert_models.signed(), folder, "m"), "tflite"), _samples(folder, store, name="image")


@pytest.mark.slow
@pytest.mark.parametrize("peer", HERE, ids=[peer.name for peer in HERE])
def test_a_tool_s_file_runs_where_it_is_measured_and_is_made_once(here, shelf, tmp_path, monkeypatch, peer):
    source, samples = _source(peer, tmp_path, shelf)
    there = set(tmp_path.iterdir())
    monkeypatch.chdir(tmp_path)
    made = peer.make(source, samples, shelf)
    query = Samples.load(samples.path).batch(0, 1)
    wanted = RUNTIMES[{"onnx": "onnxruntime", "tflite": "litert"}[peer.reads]].load(source.path, Options()).run(query)
    found = RUNTIMES[peer.runtime].load(made.path, Options()).run(query)
    (first,), (second,) = wanted.values(), found.values()
    assert 5 < stats.sqnr_db(first.astype(float), second.astype(float)) < 80  # the same answers, and quantized
    assert set(tmp_path.iterdir()) == there  # nothing is left where we stand
    monkeypatch.setattr(Peer, "_run", lambda *_: pytest.fail("made again"))
    assert peer.make(source, samples, shelf) == shelf.get(made.key)


def test_other_samples_make_another_file(shelf, tmp_path, monkeypatch):
    """As many of them: calibration that was corrected is not answered with what was made before."""
    made = []
    monkeypatch.setattr(Peer, "_run", lambda self, command: made.append(Path(command[4]).joinpath("model.xml").touch()))
    source = shelf.put(onnx_models.convolutional(tmp_path / "m.onnx"), "onnx")
    for seed in (1, 1, 2):
        PEERS[0].make(source, _samples(tmp_path, shelf, seed), shelf)
    assert len(made) == 2


@pytest.mark.slow
def test_what_tools_make_is_judged_and_timed_beside_ours_and_what_fails_costs_itself(here, tmp_path, monkeypatch):
    lines, (quantizer,) = [], (peer for peer in PEERS if peer.name == "ONNX Runtime")
    chosen = (
        quantizer,
        replace(quantizer, name="Failing", script="by_ai_edge_quantizer.py", wish="none_such"),
        *(peer for peer in PEERS if peer.name == "NNCF"),
    )
    monkeypatch.setattr(peers, "PEERS", chosen)
    monkeypatch.setattr(Peer, "install", lambda self, write: None)
    with timed_shortly():
        study = study_of(tmp_path, "mnist_cnn", recipes=("fp32",), runtimes=("onnxruntime",), batch_sizes=(1,), sweeps=())
        study.evaluate(("fp32",), matrix=False)
        ours = next(trial for trial in study.same if not trial.control)
        trials = peers._made(study, "mnist_cnn", lines.append)
        broken = tmp_path / "broken.onnx"
        broken.write_bytes(b"no model")
        trials["Broken"] = replace(
            trials["ONNX Runtime"], artifact_key=study.store.put(broken, "onnx").key, evaluation_id="evaluation-broken"
        )
        (found,) = peers._compared(study, ours, trials, lines.append)
    assert (found.peer, found.is_within, found.lost.measure, found.lost.n) == ("ONNX Runtime", True, "correct", 1000)
    assert found.ours.comparison.n == 5
    said = [line for line in lines if ":" in line and "quantizing" not in line]
    assert any(line.startswith("Failing ended with 1: ") for line in said)
    assert "NNCF: openvino fp32 of mnist_cnn is not in this study" in said
    assert any(line.startswith("Broken: not timed: ") for line in said)


@pytest.mark.slow
def test_a_tool_that_fails_says_so_with_its_last_words(here, shelf, tmp_path):
    (peer,) = (peer for peer in PEERS if peer.name == "ONNX Runtime")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(EnvironmentFailedError, match=r"^ONNX Runtime ended with 1: .*DecodeError"):
        peer.make(shelf.put(broken, "onnx"), _samples(tmp_path, shelf), shelf)


def test_a_tool_whose_environment_is_away_says_so(shelf, tmp_path, monkeypatch):
    monkeypatch.setattr(Peer, "python", tmp_path / "nowhere" / "python")
    with pytest.raises(EnvironmentFailedError, match=r"^NNCF: .*nowhere"):
        PEERS[0].make(shelf.put(onnx_models.convolutional(tmp_path / "m.onnx"), "onnx"), _samples(tmp_path, shelf), shelf)


def _beside(ratio: float, is_within: bool | None) -> Beside:
    """Our winner ``ratio`` times as fast as a peer."""
    theirs = np.array([10.0, 10.1, 9.9, 10.05, 9.95])
    ours = SpeedUp(trial(), replace(trial(), recipe="fp16"), stats.compare(theirs, theirs / ratio))
    return Beside("NNCF", "onnxruntime fp16", Lost("correct", 0.0, 100, 0.0), is_within, ours)


@pytest.mark.parametrize(
    ("ratio", "is_within", "holds"),
    [(1.5, True, True), (1.0, True, True), (0.8, True, False), (0.8, False, True), (0.8, None, False), (1.5, False, True)],
)
def test_a_peer_that_is_faster_and_not_known_to_be_over_the_budget_is_not_passed_over(ratio, is_within, holds):
    beside = _beside(ratio, is_within)
    assert beside.holds is holds
    assert beside.row["holds"] == ("yes" if holds else "NO")


def test_every_script_is_there_and_every_package_has_a_version():
    for peer in PEERS:
        assert (SCRIPTS / peer.script).is_file()
        assert all("==" in package for package in peer.packages)
