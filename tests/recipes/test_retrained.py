"""Recipes that train: their tables, their keys, and files that would run code."""

import dataclasses
import json
import zipfile

import numpy as np
import pytest

from studylib.errors import RefusedError
from studylib.models.zoo import Samples
from studylib.recipes.retrain.retrained import RETRAINED
from studylib.training import TECHNIQUES

NAMES = [
    "pruned_constant50", "pruned_polynomial80", "pruned_2by4", "clustered16", "pruned_clustered16",
    "qat", "pruned_qat", "clustered_qat", "pruned_clustered_qat",
]  # fmt: skip


def test_the_nine_techniques_of_tfmot_are_offered_by_name():
    assert [name for name, recipe in RETRAINED.items() if recipe.technique == "tfmot"] == NAMES
    assert all(recipe.name == name and recipe.technique in TECHNIQUES for name, recipe in RETRAINED.items())


@pytest.mark.parametrize("name", NAMES)
def test_options_are_plain_json_and_say_what_the_name_says(name):
    options = json.loads(json.dumps(RETRAINED[name].options()))
    assert options["quantize"] == name.endswith("qat")
    assert bool(options["clusters"]) == ("clustered" in name)
    assert bool(options["sparsity"] or options["pattern"]) == name.startswith("pruned")
    assert 1 <= options["epochs"] <= 3


@pytest.mark.parametrize("name", NAMES)
def test_what_trains_for_int8_ends_as_a_saved_model_and_the_rest_as_keras(name, tmp_path):
    recipe = RETRAINED[name]
    wanted = ("saved_model", "saved_model", False) if name.endswith("qat") else ("keras", "model.keras", True)
    assert (recipe.target, recipe.result(tmp_path).name, recipe.float_result) == wanted


def test_the_seed_and_every_option_are_part_of_the_key():
    recipe = RETRAINED["pruned_clustered_qat"]
    changes = {
        "seed": 1,
        "sparsity": 0.6,
        "clusters": 8,
        "epochs": 1,
        "learning_rate": 0.1,
        "most_unlabelled": 0.1,
        "batch": 8,
        "schedule": "polynomial",
    }
    keys = {dataclasses.replace(recipe, **{name: value}).key("parent", "samples") for name, value in changes.items()}
    assert {"keras", "tensorflow", "tf-keras", "tensorflow-model-optimization", "numpy"} == set(recipe.packages)
    assert len(keys | {recipe.key("parent", "samples")}) == len(changes) + 1
    assert recipe.key("parent", "other samples") != recipe.key("parent", "samples")


def test_a_file_that_would_run_code_is_not_trained(tmp_path):
    import keras

    keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, name="d")]).save(tmp_path / "safe.keras")
    with zipfile.ZipFile(tmp_path / "safe.keras") as safe, zipfile.ZipFile(tmp_path / "unsafe.keras", "w") as unsafe:
        for item in safe.namelist():
            content = safe.read(item)
            unsafe.writestr(
                item, content.replace(b'"class_name": "Dense"', b'"class_name": "Lambda"') if item == "config.json" else content
            )
    samples = Samples({"x": np.ones((4, 2), np.float32)}, None)
    (tmp_path / "new").mkdir()
    with pytest.raises(RefusedError, match="the file holds a Lambda layer 'd'"):
        RETRAINED["qat"].write(tmp_path / "unsafe.keras", tmp_path / "new", samples)


def test_a_file_that_is_no_model_is_refused_in_words(tmp_path):
    (tmp_path / "model.keras").write_bytes(b"no zip")
    with pytest.raises(RefusedError, match=r"model.keras is damaged or no Keras model"):
        RETRAINED["clustered16"].write(tmp_path / "model.keras", tmp_path, Samples({"x": np.ones((4, 2), np.float32)}, None))
