import json

import numpy as np
import pytest

from studylib.adaptive import Assignment
from studylib.build.searched import apart
from studylib.errors import RefusedError
from studylib.models.zoo import Samples
from studylib.models.zoo.mnist_cnn import MnistCnn
from studylib.params.defaults import SEED
from tests.command_line import said
from tests.in_process import measured
from tests.outputs import status_of

SAMPLES = Samples({"x": np.arange(120, dtype=np.float32).reshape(60, 2)}, np.arange(60))


def test_held_back_samples_are_those_that_calibration_has_not_seen():
    calibration = SAMPLES.taken(range(0, 40))
    kept, held_back = apart(SAMPLES, calibration)
    assert kept is calibration
    assert held_back.labels.tolist() == list(range(40, 60))


def test_where_all_calibrate_half_of_them_judge_instead():
    calibration, held_back = apart(SAMPLES, SAMPLES)
    assert len(calibration) == len(held_back) == 30
    assert not set(calibration.labels) & set(held_back.labels)


def test_without_samples_that_differ_a_search_is_refused():
    same = Samples({"x": np.ones((9, 2), np.float32)}, None)
    with pytest.raises(RefusedError, match=r"hold 1 that differ, .* give more data"):
        apart(same, same)


def test_the_smoke_study_searched_in_both_formats(mnist):
    searches = mnist.results.searches()
    assert {search["format"] for search in searches.values()} == {"onnx", "tflite"}
    for key, search in searches.items():
        assert mnist.results.artifacts()[key]["precision"] == "adaptive_wi8"
        assert search["facts"]["within_budget"]
        assert [step["what"] for step in search["steps"]].count("all static_wi8_ai8") == 1
        ranked = [row["alone_quantized"]["sqnr_db"] for row in search["sensitivity"]]
        assert len(ranked) > 5
        assert ranked == sorted(ranked)
        saved = Assignment.load(mnist.folder / "adaptive" / f"mnist_cnn-{search['format']}.json")
        assert saved.layers == search["layers"]


def test_an_adaptive_file_holds_integers_only_where_the_search_chose_them(mnist):
    import onnx

    for key, search in mnist.results.searches().items():
        if search["format"] == "onnx":
            graph = onnx.load(mnist.artifact(key).path).graph
            integers = any(tensor.data_type == onnx.TensorProto.INT8 for tensor in graph.initializer)
            assert integers == any(precision != "fp32" for precision in search["layers"].values())


def test_a_saved_assignment_is_applied_to_the_next_version_of_the_model(mnist, tmp_path, monkeypatch):
    """The next version has other weights; its layers have the same names, so the recipe fits."""
    (onnx_search,) = [search for search in mnist.results.searches().values() if search["format"] == "onnx"]
    layers = [row["layer"] for row in onnx_search["sensitivity"]]
    chosen = Assignment("onnx", dict.fromkeys(layers[:3], "static_wi8_ai8"), {})
    chosen.save(tmp_path / "assignment.json")

    def trained(model, seed: int):
        """A training of seconds instead of a minute."""
        version, rng = model.build(SEED), np.random.default_rng(seed)
        version.set_weights([values + 1e-4 * rng.normal(size=values.shape) for values in version.get_weights()])
        return version

    monkeypatch.setattr(MnistCnn, "train", trained)
    asked = {"recipes": ("fp32", "adaptive_wi8"), "runtimes": ("litert", "onnxruntime"), "batch_sizes": (1,), "sweeps": ()}
    results = measured(tmp_path / "outputs", "mnist_cnn", **asked, seed=7, assignment=str(tmp_path / "assignment.json"))
    states = {trial.runtime: status_of(results, trial) for trial in results.plan() if trial.recipe == "adaptive_wi8"}
    assert states["onnxruntime"] == ("ok", "")
    assert states["litert"] == ("failed", "This assignment is for onnx and the model is tflite; search again for tflite.")
    (search,) = results.searches().values()
    assert search["layers"] == chosen.layers
    assert search["facts"]["why"] == "given by the user, not searched"
    assert search["facts"]["within_budget"] is None
    assert "ASSIGNMENT=" in json.loads((results.folder / "run.json").read_text())["command"]


def test_an_assignment_that_is_not_there_is_said_at_once():
    done = said("plan", "--assignment", "/nowhere/assignment.json")
    assert done.returncode == 2
    assert "ASSIGNMENT is '/nowhere/assignment.json'; it must be the assignment.json that a search wrote." in done.stderr
