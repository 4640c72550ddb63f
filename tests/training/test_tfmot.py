"""The nine techniques on tiny models: evidence, refusals, and a training that is killed."""

import dataclasses
import json
import os
import subprocess
import sys
from unittest import mock

import numpy as np
import pytest

from studylib.errors import RefusedError
from studylib.models.zoo import Samples
from studylib.recipes.retrain import retrained
from studylib.recipes.retrain.retrained import RETRAINED
from studylib.training.job import Job
from tests.training.one_process import one_process

pytestmark = pytest.mark.slow
SAMPLES = 64


@pytest.fixture(scope="module", autouse=True)
def trained_in_one_process():
    """All but the training that is killed."""
    with one_process() as train, mock.patch.object(retrained, "train", train):
        yield


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A tiny classifier with labels it can learn: (path of the model, folder of the samples)."""
    import keras
    from keras import layers as L

    keras.utils.set_random_seed(6)
    folder = tmp_path_factory.mktemp("source")
    entry = x = keras.Input((8, 8, 4), name="image")
    for layer in (
        L.Conv2D(8, 3, use_bias=False),
        L.BatchNormalization(),
        L.ReLU(6),
        L.DepthwiseConv2D(3),
        L.ReLU(),
        L.Flatten(),
        L.Dropout(0.2),
    ):
        x = layer(x)
    keras.Model(entry, L.Dense(3, activation="softmax")(x)).save(folder / "model.keras")
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, SAMPLES)
    images = (rng.normal(size=(SAMPLES, 8, 8, 4)) + labels[:, None, None, None]).astype(np.float32)
    return folder / "model.keras", Samples({"image": images}, labels).save(folder)


def run(name, source, folder, **changed):
    recipe = dataclasses.replace(RETRAINED[name], **({"epochs": 2, "batch": 16} | changed))
    (folder / "new").mkdir()
    return recipe.begin(source[0], folder / "new", source[1], folder / "unfinished")


def kernels(path) -> dict[str, np.ndarray]:
    import keras

    layers = keras.models.load_model(path).layers
    return {layer.name: layer.kernel.numpy() for layer in layers if hasattr(layer, "kernel") and "depthwise" not in layer.name}


@pytest.mark.parametrize(("name", "share"), [("pruned_constant50", 0.5), ("pruned_polynomial80", 0.8)])
def test_pruning_reaches_its_share_of_zeros_and_says_what_it_left_out(source, tmp_path, name, share):
    path, notes = run(name, source, tmp_path)
    assert path.name == "model.keras"
    for values in kernels(path).values():
        assert np.mean(values == 0) == pytest.approx(share, abs=0.01)
    assert notes["pruning"]["sparsity_of_pruned_kernels"] == pytest.approx(share, abs=0.01)
    assert 0 < notes["sparsity"] < share
    assert [name.split(" ")[1] for name in notes["pruning"]["not_pruned"]] == ["(DepthwiseConv2D)"]
    assert len(notes["loss_by_epoch"]) == 2 and notes["loss_by_epoch"] == notes["pruning"]["loss_by_epoch"]
    assert notes["taught"] == "labels of 64 samples, by cross-entropy"
    assert notes["pruning"]["batch_normalization"] == "statistics matched to those of the source model on 64 samples"


def test_two_of_every_four_inputs_are_zero(source, tmp_path):
    path, notes = run("pruned_2by4", source, tmp_path)
    assert notes["pruning"]["groups_that_hold"] == 1
    dense = next(values for values in kernels(path).values() if values.ndim == 2)
    assert ((dense.T.reshape(-1, 4) == 0).sum(1) >= 2).all()


def test_pruned_and_clustered_kernels_have_sixteen_values_of_which_zero_is_one(source, tmp_path):
    path, notes = run("pruned_clustered16", source, tmp_path)
    for values in kernels(path).values():
        assert len(np.unique(values)) <= 16
        assert np.mean(values == 0) >= 0.49
    assert set(notes["clustering"]["distinct_values"].values()) == {16}


def test_training_for_int8_keeps_zeros_and_clusters_and_the_names_of_the_signature(source, tmp_path):
    import tensorflow as tf

    path, notes = run("pruned_clustered_qat", source, tmp_path)
    signature = tf.saved_model.load(str(path)).signatures["serving_default"]
    assert list(signature.structured_input_signature[1]) == ["image"]
    assert list(signature.structured_outputs) == ["output_0"]
    assert signature(image=tf.zeros((3, 8, 8, 4)))["output_0"].shape == (3, 3)
    trained = notes["quantization_aware_training"]
    assert notes["sparsity"] == trained["sparsity"] >= 0.45
    stages = ("pruning", "clustering", "quantization_aware_training")
    assert notes["loss_by_epoch"] == [loss for stage in stages for loss in notes[stage]["loss_by_epoch"]]
    assert max(count for name, count in trained["distinct_values_of_a_channel"].items() if "depthwise" not in name) <= 16


def test_outputs_keep_their_names_when_trained_for_int8(tmp_path):
    import keras
    import tensorflow as tf

    entry = keras.Input((4,), name="x")
    hidden = keras.layers.Dense(4)(entry)
    keras.Model(entry, {"b": keras.layers.Dense(2)(hidden), "a": keras.layers.Dense(3)(hidden)}).save(tmp_path / "model.keras")
    given = np.random.default_rng(0).normal(size=(32, 4)).astype(np.float32)
    path, notes = run("qat", (tmp_path / "model.keras", Samples({"x": given}, None).save(tmp_path)), tmp_path)
    assert notes["taught"].startswith("the source model's own answers to 32 samples, by mean squared error")
    signature = tf.saved_model.load(str(path)).signatures["serving_default"]
    assert {name: spec.shape[1] for name, spec in signature.structured_outputs.items()} == {"a": 3, "b": 2}
    wanted = keras.models.load_model(tmp_path / "model.keras").predict(given, verbose=0)
    found = signature(x=tf.constant(given))
    for name, values in wanted.items():
        assert np.abs(found[name] - values).mean() < 0.05 * np.abs(values).max()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("LayerNormalization", r"layer odd \(LayerNormalization\) cannot be trained for quantization.*quantize this model after training"),
        ("LSTM", r"layer odd \(LSTM\) cannot be trained for quantization"),
        ("RMSNormalization", r"layer odd \(RMSNormalization\) has no counterpart in legacy Keras"),
    ],
)
def test_a_layer_that_cannot_be_trained_for_int8_is_named(tmp_path, kind, words):
    import keras

    entry = keras.Input((5, 4), name="x")
    layer = keras.layers.LSTM(3, name="odd") if kind == "LSTM" else getattr(keras.layers, kind)(name="odd")
    keras.Model(entry, layer(keras.layers.Dense(4)(entry))).save(tmp_path / "model.keras")
    samples = Samples({"x": np.ones((8, 5, 4), np.float32)}, None).save(tmp_path)
    with pytest.raises(RefusedError, match=words):
        run("qat", (tmp_path / "model.keras", samples), tmp_path)


@pytest.mark.parametrize(
    ("name", "words"),
    [("pruned_constant50", "no layer of the model can be pruned"), ("clustered16", "no kernel of the model can be clustered")],
)
def test_a_model_with_nothing_to_compress_is_refused(tmp_path, name, words):
    import keras

    keras.Sequential([keras.Input((4,), name="x"), keras.layers.BatchNormalization()]).save(tmp_path / "model.keras")
    samples = Samples({"x": np.ones((8, 4), np.float32)}, None).save(tmp_path)
    with pytest.raises(RefusedError, match=words):
        run(name, (tmp_path / "model.keras", samples), tmp_path)


def test_a_killed_training_goes_on_and_ends_with_the_same_weights(source, tmp_path):
    changed = {"epochs": 12}
    straight, wanted = run("pruned_clustered16", source, _made(tmp_path / "straight"), **changed)
    folder = _made(tmp_path / "killed")
    recipe = dataclasses.replace(RETRAINED["pruned_clustered16"], batch=16, **changed)
    _made(folder / "first")
    job = Job(recipe.technique, *source, folder / "first", folder / "unfinished", 0, recipe.options())
    (folder / "job.json").write_text(job.to_json())
    process = subprocess.Popen(
        [sys.executable, "-m", "studylib.training", folder / "job.json", folder / "answer.json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"TF_USE_LEGACY_KERAS": "1"},
    )
    for line in process.stdout:
        if line.startswith("{") and "epoch 1 of" in json.loads(line)["stage"]:
            process.kill()
            break
    process.wait()
    assert not (folder / "answer.json").exists()
    assert (folder / "unfinished" / "pruning.npz").exists()
    assert not (folder / "unfinished" / "clustering.npz").exists()
    resumed, notes = run("pruned_clustered16", source, folder, **changed)
    assert notes == wanted
    for name, values in kernels(straight).items():
        np.testing.assert_array_equal(kernels(resumed)[name], values)


def _made(folder):
    folder.mkdir()
    return folder
