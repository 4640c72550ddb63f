import dataclasses

import pytest

from studylib.artifacts import store
from studylib.build import targets
from studylib.build.targets import Making
from studylib.errors import Kind, Reason
from studylib.models.zoo import MODELS
from studylib.params.efforts import EFFORTS
from studylib.recipes import RETRAINED
from studylib.recipes.retrain.retrained import Retrained
from studylib.results.states import failed
from studylib.study import stock
from studylib.study.opening import open_study

SEARCH = {"max_accuracy_loss": 0.01, "min_sqnr_db": 20.0, "seconds": 20.0, "threads": 2, "host": "h"}
ADAPTIVE = [("adaptive_wi8", "onnx")]


def _making(model="mnist_cnn", **search) -> Making:
    return Making(model, MODELS[model], 7, EFFORTS["smoke"], SEARCH | search)


def _key(making: Making) -> str:
    return making.keys(making.way(ADAPTIVE))[-1]


def test_an_adaptive_artifact_comes_after_its_search_and_that_after_the_float_file():
    making = _making()
    planned = making.targets([(ADAPTIVE, False)])
    kinds = [target.kind for target in planned if target.kind in ("recipe", "search")]
    search = next(target for target in planned if target.kind == "search")
    made = next(target for target in planned if target.key == _key(making))
    assert kinds[-2:] == ["search", "recipe"]
    assert made.lessons == search.key
    assert search.about == made.key
    assert search.key in made.needs
    assert [target.n for target in planned if target.kind == "samples"] == [1000, 200, 4000]


@pytest.mark.parametrize(
    "change", [{"max_accuracy_loss": 0.02}, {"seconds": 60.0}, {"threads": 1}, {"host": "another"}], ids=lambda change: next(iter(change))
)
def test_a_search_is_another_when_what_decides_it_changes(change):
    assert _key(_making(**change)) != _key(_making())


def test_a_search_is_another_with_another_version_of_its_runtime(monkeypatch):
    before = targets.search_key("parent", ["samples"], SEARCH, ("onnxruntime",))
    monkeypatch.setattr(store, "package_version", lambda package: "0")
    assert targets.search_key("parent", ["samples"], SEARCH, ("onnxruntime",)) != before


def test_a_search_is_another_for_another_task(monkeypatch):
    before = _key(_making())
    monkeypatch.setattr(type(MODELS["mnist_cnn"]), "task", "other")
    assert _key(_making()) != before


def test_a_retrained_version_has_outputs_of_its_own_that_its_files_are_held_against():
    making = _making()
    planned = making.targets([([("pruned_2by4_static_wi8_ai8", "onnx")], False)])
    version = making.origin(["pruned_2by4_static_wi8_ai8"]).versions["pruned_2by4"]
    references = {target.key: target for target in planned if target.kind == "reference"}
    assert references[version.reference].steps == (("pruned_2by4", "keras", "keras"),)
    assert version.source in {target.key for target in planned if target.kind == "recipe"}
    assert len(references) == 2


def test_training_learns_from_the_seed():
    (first, *_), (second, *_) = (making.way([("qat_wi8_ai8", "onnx")]) for making in (_making(), dataclasses.replace(_making(), seed=8)))
    assert (first.seed, second.seed) == (7, 8)
    assert first.key("parent", "samples") != second.key("parent", "samples")


def test_a_missing_package_skips_what_needs_it_and_nothing_else(monkeypatch):
    reason = "the package tensorflow-model-optimization is not installed"
    monkeypatch.setattr(Retrained, "missing", lambda recipe: reason if recipe.technique == "tfmot" else None)
    assert set(_making().origin(["qat_wi8_ai8", "pruned_channels50"]).versions) == {"pruned_channels50"}
    study = open_study("cpu", "smoke", recipes=("fp32", "qat_wi8_ai8"), write=lambda line: None)
    skipped = {trial.runtime: trial.reason for trial in study.trials if trial.recipe == "qat_wi8_ai8"}
    assert skipped["onnxruntime"] == skipped["litert"] == reason
    assert any(not trial.reason for trial in study.trials)


def test_everything_there_is_can_be_asked_for_at_once():
    study = open_study("cpu", "smoke", recipes=("all",), write=lambda line: None)
    planned = {trial.recipe for trial in study.trials}
    assert set(RETRAINED) - planned == {name for name in RETRAINED if name.endswith("qat")}
    assert {"adaptive_wi8", "static_wi8_ai8_entropy", "pruned_qat_wi8_ai8", "clustered16_static_wi8_ai8"} <= planned
    assert "RECIPE=all" in study.params.command()


def test_a_killed_training_is_tried_again_and_a_refused_one_is_not():
    study = open_study("cpu", "smoke", write=lambda line: None)
    known = {"a": Reason(Kind.INTERRUPTED, "epoch 2 of 3"), "b": Reason(Kind.REFUSED, "the layer x has no way to be quantized")}
    assert set(study.stock._final({key: failed(reason) | {"at": "9999"} for key, reason in known.items()})) == {"b"}


def test_a_version_that_cannot_be_trained_costs_that_model_alone(monkeypatch):
    """Two models; one of them has no labels for a student: the other one's student is made."""
    study = open_study(
        "cpu", "smoke", models=("mnist_cnn", "efficientnet_lite0"), recipes=("fp32", "student_half"), teach=True, write=lambda line: None
    )
    reason, broken = Reason(Kind.REFUSED, "no labels"), study.plan.origins["efficientnet_lite0"].versions["student_half"].reference
    monkeypatch.setattr(stock, "make_artifacts", lambda *rest: {broken: reason})
    failures = study.stock.told(study.stock.make(study.plan.targets))
    wrong = {trial.artifact_key for trial in study.trials if trial.model == "efficientnet_lite0" and trial.recipe == "student_half"} - {""}
    right = {trial.artifact_key for trial in study.trials if trial.artifact_key} - wrong
    assert wrong
    assert wrong <= set(failures)
    assert not right & set(failures)


def test_only_the_points_of_a_sweep_name_one():
    trials = open_study("cpu", "quick", models=("mnist_cnn",), sweeps=("graph",)).trials
    swept = [trial for trial in trials if trial.sweep]
    assert {trial.sweep for trial in swept} == {"graph"}
    assert all(trial.options.startswith("graph=") for trial in swept)
    assert {trial.options for trial in trials if not trial.sweep} <= {"", "int8_sums=16", "int8_sums=32"}
    assert {trial.scenario for trial in trials} == {"single_stream", "offline"}
