"""Structured pruning as a whole: half the multiply-accumulates, taught again, resumed after a kill."""

import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from studylib.errors import RefusedError
from studylib.formats import inside
from studylib.training import importance, structured
from studylib.training.channels import find_channels
from studylib.training.graph import find_graph
from studylib.training.job import Job
from studylib.training.lessons import lessons
from tests.training.structured_models import awakened, digits, noise, plain, residual, saved, trained

OPTIONS = {"share": 0.5, "blocks": False, "epochs": 1, "batch": 16, "learning_rate": 1e-3}


@pytest.fixture
def job(tmp_path):
    """Function that gives the job of pruning a model with samples."""

    def make(model, samples, unfinished="unfinished", target="target", **changes) -> Job:
        for name in (unfinished, target):
            (tmp_path / name).mkdir(exist_ok=True)
        paths = saved(model, tmp_path), samples.save(tmp_path / uuid.uuid4().hex), tmp_path / target, tmp_path / unfinished
        return Job("structured", *paths, 0, OPTIONS | changes)

    return make


def test_half_the_multiply_accumulates_are_gone_from_the_file_and_the_notes_say_how(job):
    model = awakened(residual())
    pruned = job(model, noise())
    notes = structured.run(pruned)
    before, after = (inside.look(path, "keras") for path in (pruned.source, pruned.target / "model.keras"))
    assert (notes["macs_before"], notes["macs_after"]) == (before["macs"], after["macs"])
    assert 0.4 < after["macs"] / before["macs"] <= 0.5
    assert (notes["parameters_before"], notes["parameters_after"]) == (before["parameters"], after["parameters"])
    smaller = keras.models.load_model(pruned.target / "model.keras", compile=False)
    assert [tensor["name"] for tensor in after["inputs"]] == ["image"]
    for name, (was, now) in notes["layers"].items():
        counted = {layer.name: getattr(layer, "filters", getattr(layer, "units", None)) for layer in (*model.layers, *smaller.layers)}
        assert (now < was) and counted[name] == now
    assert notes["blocks_removed"] == []
    assert len(notes["loss_by_epoch"]) == 1
    assert "the source model's own answers to 24 samples" in notes["taught"]
    assert notes["importance"].startswith("Fisher information")


def test_a_block_that_does_nothing_is_removed_whole_first(job):
    model = awakened(residual())
    model.get_layer("project_bn1").set_weights([np.full(16, value, np.float32) for value in (1e-6, 0, 0, 1)])
    notes = structured.run(job(model, noise(), blocks=True, share=0.8))
    assert notes["blocks_removed"] == ["add1"]
    assert notes["layers"] == {}
    assert notes["macs_after"] < 0.8 * notes["macs_before"]


def test_importance_finds_the_channels_that_matter():
    model = awakened(plain())
    samples = noise(32, (14, 14, 1))
    channels = find_channels(find_graph(model))
    kernel, bias = model.get_layer("digit").get_weights()
    kernel[5:] *= 0.01  # the classifier hardly listens to these
    model.get_layer("digit").set_weights([kernel, bias])
    found = importance.fisher(model, channels, lessons(keras, model, samples), 32, 0)[channels.outputs["conv2"]]
    assert found[:5].max() > 100 * found[5:].max()
    assert (found >= 0).all()


def test_fisher_information_predicts_how_far_the_answers_move():
    model = awakened(plain())
    samples = noise(256, (14, 14, 1))
    lesson = lessons(keras, model, samples)
    channels = find_channels(find_graph(model))
    predicted = importance.fisher(model, channels, lesson, 256, 0)[channels.outputs["conv2"]]
    grown = []
    for index in range(32):  # scaled down a little, so that the second order is all there is
        kernel, bias = model.get_layer("digit").get_weights()
        changed = kernel.copy()
        changed[index] *= 0.9
        model.get_layer("digit").set_weights([changed, bias])
        grown.append(importance.loss_of(model, lesson, 256) / 0.1**2)
        model.get_layer("digit").set_weights([kernel, bias])
    assert np.corrcoef(predicted, grown)[0, 1] > 0.8
    assert 0.7 < np.sum(predicted) / np.sum(grown) < 1.4


@pytest.mark.slow
def test_a_trained_model_keeps_its_accuracy_at_half_the_multiply_accumulates(job):
    train, test = digits("train", 2000), digits("test", 500)
    model = trained(plain(), train)
    pruned = job(model, train, epochs=20, batch=32, learning_rate=5e-3)
    structured.run(pruned)
    smaller = keras.models.load_model(pruned.target / "model.keras", compile=False)
    right = [(one.predict(test.inputs["image"], verbose=0).argmax(1) == test.labels).mean() for one in (model, smaller)]
    assert right[0] > 0.9
    assert right[1] > right[0] - 0.03


def test_the_same_seed_gives_the_same_model(job):
    model, samples = awakened(plain()), noise(32, (14, 14, 1))
    weights = []
    for attempt in "ab":
        one = job(model, samples, unfinished=f"unfinished-{attempt}", target=f"target-{attempt}")
        structured.run(one)
        weights.append(keras.models.load_model(one.target / "model.keras", compile=False).get_weights())
    for first, second in zip(*weights, strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_killed_training_goes_on_and_ends_as_an_uninterrupted_one(job, tmp_path):
    model, samples = awakened(plain()), noise(64, (14, 14, 1))
    whole = job(model, samples, unfinished="whole", target="whole-target", epochs=4)
    (tmp_path / "whole.json").write_text(whole.to_json())
    training = [sys.executable, "-m", "studylib.training"]  # both: sums depend on how many threads a process's TensorFlow began with
    subprocess.run([*training, tmp_path / "whole.json", tmp_path / "answer-of-whole.json"], stdout=subprocess.DEVNULL, check=True)
    killed = job(model, samples, unfinished="killed", target="killed-target", epochs=4)
    (tmp_path / "job.json").write_text(killed.to_json())
    command = [*training, tmp_path / "job.json", tmp_path / "answer.json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    said = next(line for line in process.stdout if "epoch 2 of 4" in line)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert said and not (tmp_path / "answer.json").exists() and list(killed.target.iterdir()) == []
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "goes on after epoch" in done.stdout
    assert "measuring the importance" not in done.stdout
    assert len(json.loads((tmp_path / "answer.json").read_text())["notes"]["loss_by_epoch"]) == 4
    weights = [keras.models.load_model(one.target / "model.keras", compile=False).get_weights() for one in (whole, killed)]
    for first, second in zip(*weights, strict=True):
        np.testing.assert_allclose(first, second, atol=1e-5)


def test_what_cannot_be_pruned_is_refused_in_words(job):
    image = keras.Input((8, 8, 3), name="image")
    with pytest.raises(RefusedError, match=r"has no channel that may be removed: .*its activation softmax reads all channels at once"):
        structured.run(job(keras.Model(image, layers.Dense(3, activation="softmax")(layers.Flatten()(image)), name="one"), noise()))
    with pytest.raises(RefusedError, match=r"plain has no residual block: .*; use pruned_channels50"):
        structured.run(job(plain(), noise(shape=(14, 14, 1)), blocks=True))
    with pytest.raises(RefusedError, match=r"share is 1.5; give the part of the multiply-accumulates that stays, between 0 and 1"):
        structured.run(job(plain(), noise(shape=(14, 14, 1)), share=1.5))
    broken = job(plain(), noise(shape=(14, 14, 1)))
    Path(broken.source).write_bytes(b"not a model")
    with pytest.raises(RefusedError, match=r"source.keras cannot be read by Keras"):
        structured.run(broken)
