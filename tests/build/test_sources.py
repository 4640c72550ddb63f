"""The source model's own outputs: what every format is held against, refused when they cannot be that."""

import numpy as np
import pytest

from studylib.artifacts import arrays
from studylib.artifacts.store import Store
from studylib.build.sources import Sources
from studylib.errors import ArtifactError
from studylib.formats.keras_signature import named
from studylib.models.own import OwnModel
from studylib.models.zoo import MODELS, handmade
from tests.outputs import status_of


def _onnx(path, *operators: str, outputs=("y",)):
    """A chain of one-input operators over four numbers; its last values are the outputs."""
    from onnx import TensorProto, helper, save

    names = ["x", *(f"v{index}" for index in range(len(operators) - len(outputs))), *outputs]
    nodes = [helper.make_node(operator, [names[index]], [names[index + 1]]) for index, operator in enumerate(operators)]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in ("x", *outputs)]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return str(path)


def test_the_reference_is_what_the_source_answers_sample_by_sample(tmp_path):
    sources, store = Sources(MODELS["handmade"], 7), Store(tmp_path)
    outputs, _ = arrays.load(sources.reference(20, store).path)
    x = MODELS["handmade"].samples("test", 20, 7).inputs["x"]
    assert outputs["scores"].shape == (20, 1, 3)
    assert np.allclose(outputs["scores"][:, 0], handmade.answer(x), atol=1e-6)


def test_a_source_that_answers_nan_is_refused_with_the_output_and_the_sample(tmp_path):
    path = _onnx(tmp_path / "nan.onnx", "Relu", "Log", outputs=("fine", "broken"))
    np.savez(tmp_path / "d.npz", x=np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32))
    with pytest.raises(
        ArtifactError, match=r"the source model itself answers NaN or infinity \(output 'broken', \d+ of 16 samples.*Correct"
    ):
        Sources(OwnModel(path, str(tmp_path / "d.npz")), 1).reference(32, Store(tmp_path / "store"))


def test_nan_on_invented_inputs_blames_the_inputs(tmp_path):
    model = OwnModel(_onnx(tmp_path / "nan.onnx", "Relu", "Log", outputs=("fine", "broken")))
    with pytest.raises(
        ArtifactError, match=r"on invented inputs the model answers NaN .*'broken'.*give DATA, or a range in the card"
    ) as told:
        Sources(model, 1).reference(32, Store(tmp_path / "store"))
    assert "orrect the model" not in str(told.value)
    (tmp_path / "nan.yaml").write_text("inputs: {x: {range: [1, 2]}}")
    Sources(OwnModel(model.location), 1).reference(32, Store(tmp_path / "store"))  # the remedy works


def test_labels_that_are_no_class_are_refused_with_the_first(tmp_path):
    path = _onnx(tmp_path / "m.onnx", "Relu")
    np.savez(tmp_path / "d.npz", x=np.ones((20, 4), np.float32), labels=np.full(20, 4))
    model = OwnModel(path, str(tmp_path / "d.npz"))
    assert model.task == "classification"
    with pytest.raises(ArtifactError, match=r"\d+ labels are outside the model's 4 classes \(0 to 3\): first 4"):
        Sources(model, 1).reference(100, Store(tmp_path / "store"))


def test_several_outputs_have_names_of_their_own():
    assert list(named([np.zeros(1), np.zeros(2)])) == ["output_0", "output_1"]
    assert list(named({"a": np.zeros(1)})) == ["a"]
    assert list(named(np.zeros(3))) == ["output_0"]


def test_what_was_assumed_is_in_the_lineage_of_the_samples(tmp_path):
    made = Sources(OwnModel(_onnx(tmp_path / "m.onnx", "Relu")), 1).samples("test", 8, Store(tmp_path / "store"))
    assert made.lineage[-1]["notes"]["assumed"][0] == "'x': standard normal values"


def test_other_data_another_card_or_another_task_is_another_reference(tmp_path):
    path = _onnx(tmp_path / "m.onnx", "Relu")
    np.savez(tmp_path / "d.npz", x=np.ones((20, 4), np.float32))
    plain = Sources(OwnModel(path), 1).reference_key(8)
    assert Sources(OwnModel(path, str(tmp_path / "d.npz")), 1).reference_key(8) != plain
    assert Sources(OwnModel(path, declared_task="classification"), 1).reference_key(8) != plain
    (tmp_path / "m.yaml").write_text("inputs: {x: {range: [0, 1]}}")
    assert Sources(OwnModel(path), 1).reference_key(8) != plain


def test_a_classification_of_something_else_than_a_row_of_scores_is_refused():
    from studylib.build.sources import _check_scores

    _check_scores("p", np.zeros((5, 1, 3)), np.array([0, 1, 2, 0, 1]))
    _check_scores("p", np.zeros((5, 1, 1)), np.array([0, 1, 1, 0, 1]))
    with pytest.raises(ArtifactError, match=r"one row of scores a sample, and the output 'p' is float64 of shape \(5, 3\); say TASK=other"):
        _check_scores("p", np.zeros((4, 5, 3)), None)
    with pytest.raises(ArtifactError, match=r"the output 'p' is int64 of shape \(1,\)"):
        _check_scores("p", np.zeros((4, 1), np.int64), None)


def test_a_model_whose_samples_cannot_be_made_costs_its_own_rows(tmp_path, monkeypatch):
    """In one study with a good one: the good one is evaluated, the other says why."""
    from studylib.study.opening import open_study

    monkeypatch.setenv("STUDYLIB_OUTPUTS", str(tmp_path / "outputs"))
    good, bad = _onnx(tmp_path / "good.onnx", "Relu"), _onnx(tmp_path / "bad.onnx", "Log", "Log")
    study = open_study("cpu", "smoke", models=(good, bad), recipes=("fp32",), runtimes=("onnxruntime",), write=lambda line: None)
    study.evaluate(("fp32",))
    states = {trial.model: status_of(study.results, trial) for trial in study.trials if not trial.control}
    assert states["bad"][0] == "failed"
    assert "on invented inputs the model answers NaN" in states["bad"][1]
    assert study.results.evaluation(next(t for t in study.trials if t.model == "good").evaluation_id)["status"] == "ok"
