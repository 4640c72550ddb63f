"""Models that were quantized before they came: named as what they are, held against themselves in whole numbers, quantized no more."""

import numpy as np
import pytest

from studylib.artifacts.store import Store
from studylib.build.sources import Sources
from studylib.errors import RefusedError
from studylib.models.own import OwnModel
from studylib.models.zoo import Samples
from studylib.recipes import RECIPES
from studylib.report.by_name import tables
from studylib.results.records import Trial
from tests import litert_models
from tests.in_process import study_of

RECIPES_ASKED = ("fp32", "fp16", "dynamic_wi8_afp32", "static_wi8_ai8")


@pytest.fixture(params=["uint8", "float32"])
def study(request, tmp_path):
    """Evaluated and not timed: a file in whole numbers, with ends of whole numbers or of real ones."""
    path = litert_models.saved(litert_models.quantized(request.param), tmp_path, "theirs")
    found = study_of(tmp_path / "outputs", path, runtimes=("litert", "onnxruntime"), recipes=RECIPES_ASKED, sweeps=())
    found.evaluate()
    return found


def test_it_is_called_what_it_is_and_passes_in_whole_numbers(study):
    trials = [trial for trial in study.trials if trial.batch_size == 1 and not trial.control]
    plain = [trial for trial in trials if trial.recipe == "fp32"]
    assert [(trial.runtime, trial.shown) for trial in plain] == [("litert", "as it came, int8"), ("onnxruntime", "as it came, int8")]
    for trial in plain:
        evaluation = study.results.evaluation(trial.evaluation_id)
        assert (evaluation["status"], evaluation["reason"]) == ("ok", "")
        (steps,) = evaluation["steps"].values()
        assert steps["equal"] > 0.8 and steps["within"] > 0.99
    assert {trial.reason for trial in trials if trial.recipe != "fp32"} == {
        f"theirs is already int8: it is measured as it came. For {recipe} start from its float32 version" for recipe in RECIPES_ASKED[1:]
    }


def test_no_table_calls_it_fp32(study):
    study.save()
    quality = tables.quality(study.results)
    assert {recipe.removesuffix(" [int8_sums=32]") for recipe in quality.recipe} == {"as it came, int8"} and quality[
        "whole numbers"
    ].str.contains("% of whole numbers equal").all()
    shown = [quality, tables.conversions(study.results), tables.remarks(study.results), tables.inside(study.results)]
    shown += [tables.artifacts(study.results), tables.operators(study.results), study.results.table()[["recipe", "reason"]]]
    assert not any("fp32" in str(value).replace("dynamic_wi8_afp32", "") for frame in shown for value in frame.to_numpy().ravel())
    assert len(tables.operators(study.results)) > 2


def test_what_the_source_is_changes_no_name_of_a_trial():
    facts = {"model": "m", "weights": "own", "recipe": "fp32", "format": "tflite", "runtime": "litert", "runtime_version": "1"}
    facts |= {"provider": "cpu", "threads": 1, "scenario": "single_stream", "batch_size": 1, "artifact_key": "k"}
    facts |= {"evaluation_id": "e", "conditions": "c"}
    before, after = Trial(**facts), Trial(**facts, source="int8")
    assert before.id == after.id == "384473d620710fdc"
    assert (before.shown, after.shown) == ("fp32", "as it came, int8")


def test_a_recipe_refuses_it_too(tmp_path):
    path = litert_models.saved(litert_models.quantized(), tmp_path, "theirs")
    store = Store(tmp_path / "store")
    source = Sources(OwnModel(str(path)), 0).source(store)
    assert (source.precision, source.is_float) == ("as it came, int8", False)
    dynamic = next(one for one in RECIPES["dynamic_wi8_afp32"]["tflite"] if one.source_format == "tflite")
    assert "is already as it came, int8" in dynamic.why_not(source)
    converted = next(one for one in RECIPES["fp32"]["onnx"] if one.source_format == "tflite")(source, store)
    assert (converted.precision, converted.is_float) == ("as it came, int8", False)


@pytest.mark.parametrize("recipe", ["fp16", "dynamic_wi8_afp32", "weight_only_wi8_afp32", "static_wi8_ai8"])
@pytest.mark.parametrize("make", [litert_models.unsigned, litert_models.old])
def test_an_unsigned_file_is_quantized_as_its_signed_twin(tmp_path, recipe, make):
    from studylib.runtimes import RUNTIMES, Options

    quantizer = next(one for one in RECIPES[recipe]["tflite"] if one.source_format == "tflite")
    images, answers = litert_models.images(12), []
    for name, content in (("signed", litert_models.signed()), ("other", make())):
        (tmp_path / name).mkdir()
        path = litert_models.saved(content, tmp_path / name, "m")
        written, notes = quantizer.write(path, tmp_path / name / "..", Samples({"image": images}, None))
        session = RUNTIMES["litert"].open(written, Options())
        answers.append([next(iter(session.run({"image": image[None]}).values())) for image in images])
        assert "int8" in notes["weights"] or "float16" in notes["weights"]
    assert np.array_equal(*answers)


def test_a_quantizer_that_changed_nothing_says_so(tmp_path, monkeypatch):
    from studylib.recipes.quantize import litert_quantizer

    path = litert_models.saved(litert_models.signed(), tmp_path, "m")
    monkeypatch.setattr(litert_quantizer, "_quantized", lambda content, *rest: content)
    with pytest.raises(RefusedError, match=r"ai-edge-quantizer quantized none of the \d weights of m\.tflite: it would be the same file"):
        litert_quantizer.DynamicRange().write(path, tmp_path, None)
