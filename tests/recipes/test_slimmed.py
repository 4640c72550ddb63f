"""Recipes that make a smaller model of the same kind: names, configuration, keys, and one real run through the store."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import layers

from studylib.artifacts.store import Store
from studylib.errors import RefusedError
from studylib.formats import inside
from studylib.models.zoo import Samples
from studylib.recipes.retrain.slimmed import SLIMMED
from studylib.training import TECHNIQUES


@pytest.fixture
def source(tmp_path):
    """A small classifier as an artifact, with a store and labelled samples."""
    keras.utils.set_random_seed(1)
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(16, 3, activation="relu", name="first")(image)
    x = layers.Conv2D(16, 3, activation="relu", name="second")(x)
    model = keras.Model(image, layers.Dense(3, activation="softmax", name="classes")(layers.Flatten()(x)), name="small")
    store = Store(tmp_path / "store")

    def write(folder):
        model.save(folder / "model.keras")
        return folder / "model.keras"

    facts = {"format": "keras", "precision": "fp32", "model": "small", "lineage": ({"made_by": "source", "config": {}, "key": "k"},)}
    artifact = store.make("source", facts, write)
    numbers = np.random.default_rng(0)

    def samples(labels=True):
        given = Samples({"image": numbers.normal(size=(32, 8, 8, 1)).astype(np.float32)}, np.arange(32) % 3 if labels else None)
        kind = {"format": "samples", "precision": "train", "model": "small", "lineage": ()}
        return store.make(f"samples-{labels}", kind, given.save)

    return artifact, store, samples


def test_the_table_holds_what_the_study_offers():
    assert list(SLIMMED) == ["pruned_channels50", "pruned_blocks", "distilled_half", "student_half"]
    assert all(recipe.name == name and recipe.technique in TECHNIQUES for name, recipe in SLIMMED.items())
    assert all(recipe.learns_from == "training" and recipe.float_result for recipe in SLIMMED.values())


def test_the_student_alone_is_taught_as_long_and_as_fast_as_the_distilled_one():
    alone, distilled = (SLIMMED[name].options() for name in ("student_half", "distilled_half"))
    assert {key: distilled[key] for key in alone} == alone | {"teacher": True}


def test_a_pruned_model_comes_out_of_the_store_with_its_lineage(source):
    artifact, store, samples = source
    recipe = dataclasses.replace(SLIMMED["pruned_channels50"], epochs=1)
    made = recipe(artifact, store, samples())
    assert (made.format, made.precision, made.is_float) == ("keras", "pruned_channels50", True)
    macs = [inside.look(one.path, "keras")["macs"] for one in (artifact, made)]
    assert macs[1] <= macs[0] / 2
    notes = made.lineage[-1]["notes"]
    assert [notes["macs_before"], notes["macs_after"]] == macs
    assert notes["layers"]
    assert isinstance(notes["sparsity"], float) and len(notes["loss_by_epoch"]) == 1 and notes["taught"]
    assert recipe(artifact, store, samples()).key == made.key


def test_refusals_keep_their_words_through_the_process(source):
    artifact, store, samples = source
    with pytest.raises(RefusedError, match=r"small has no residual block: .*; use pruned_channels50"):
        SLIMMED["pruned_blocks"](artifact, store, samples())
    with pytest.raises(RefusedError, match=r"the training samples of small have no labels: a student alone has nothing to learn from"):
        SLIMMED["student_half"](artifact, store, samples(labels=False))
    with pytest.raises(RefusedError, match="needs training samples; give real training samples"):
        SLIMMED["distilled_half"](artifact, store)
