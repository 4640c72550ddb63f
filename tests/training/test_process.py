"""The training process: it ends with its parent, tells a full disk from a refusal, and keeps nothing of what was refused."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import psutil
import pytest

from studylib.errors import OutputError, RefusedError, TrialError
from studylib.models.zoo import Samples
from studylib.recipes.retrain.retrained import train
from studylib.training import TECHNIQUES, __main__
from studylib.training.job import Job

# For a process that begins in another folder.
HERE = {"PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.fixture
def job(tmp_path):
    """Function that gives the job of a tiny dense model with dropout; files lie in ``tmp_path``."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    x = entry = keras.Input((16,), name="x")
    for layer in (layers.Dense(24, "relu"), layers.Dropout(0.5), layers.Dense(24), layers.BatchNormalization(), layers.ReLU()):
        x = layer(x)
    keras.Model(entry, layers.Dense(3, activation="softmax", name="classes")(x), name="small").save(tmp_path / "model.keras")
    numbers = np.random.default_rng(0)

    def make(technique="structured", count=64, **options) -> Job:
        (tmp_path / "target").mkdir()
        samples = Samples({"x": numbers.normal(size=(count, 16)).astype(np.float32)}, None).save(tmp_path)
        options = {"share": 0.5, "blocks": False, "epochs": 2, "batch": 16, "learning_rate": 1e-3} | options
        return Job(technique, tmp_path / "model.keras", samples, tmp_path / "target", tmp_path / "unfinished", 0, options)

    return make


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent died")
def test_a_training_does_not_outlive_a_killed_parent(job, tmp_path):
    # An epoch of half a minute: a training that says something would end by the pipe that nobody reads any more.
    (tmp_path / "job.json").write_text(job(count=30_000, batch=1).to_json(), encoding="utf-8")
    code = "from pathlib import Path; from studylib.recipes import retrained as r; r.train(r.Job.from_json(Path('job.json').read_text()))"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=os.environ | HERE) as parent:
        assert any("measuring the importance" in line for line in parent.stdout)
        training = psutil.Process(parent.pid).children()[0]
        os.kill(parent.pid, signal.SIGKILL)
    try:
        training.wait(5)
    except psutil.TimeoutExpired:
        training.kill()
        pytest.fail("the training went on without its parent")


def test_after_the_last_epoch_a_killed_training_ends_with_the_same_weights(job):
    import keras

    from studylib.training import structured

    straight = job()
    (straight.target.parent / "again").mkdir()
    resumed = replace(straight, target=straight.target.parent / "again")  # finds every epoch in the checkpoint
    weights = []
    for one in (straight, resumed):
        structured.run(one)
        weights.append(keras.models.load_model(one.target / "model.keras", compile=False).get_weights())
    for first, second in zip(*weights, strict=True):
        np.testing.assert_array_equal(first, second)


def test_what_cannot_be_written_is_no_refusal(job, tmp_path):
    blocked = job()
    (tmp_path / "unfinished").write_text("a file where the folder for checkpoints shall be")
    with pytest.raises(OutputError, match=r"cannot write to .*unfinished"):
        train(blocked)


@pytest.mark.parametrize(("number", "answered"), [(errno.ENOSPC, "unwritable"), (errno.ENOENT, None)])
def test_a_disk_that_refuses_is_told_from_other_errors_of_the_system(job, tmp_path, monkeypatch, number, answered):
    class Failing:
        @staticmethod
        def run(job):
            raise OSError(number, os.strerror(number))

    monkeypatch.setitem(sys.modules, "a_technique_that_fails", Failing)
    monkeypatch.setitem(TECHNIQUES, "structured", "a_technique_that_fails")
    monkeypatch.setattr(__main__, "die_with_parent", lambda: None)
    (tmp_path / "job.json").write_text(job().to_json(), encoding="utf-8")
    if answered is None:
        with pytest.raises(OSError, match="No such file"):
            __main__.main(tmp_path / "job.json", tmp_path / "answer.json")
        return
    __main__.main(tmp_path / "job.json", tmp_path / "answer.json")
    assert json.loads((tmp_path / "answer.json").read_text())[answered].endswith("or set STUDYLIB_OUTPUTS to another folder.")


def test_nothing_is_kept_of_a_refused_training(job, tmp_path):
    with pytest.raises(RefusedError, match="fine-tuning diverged"):
        train(job(learning_rate=1e30, epochs=20))
    assert not (tmp_path / "unfinished").exists()


def test_what_was_kept_outlives_a_training_that_died(job, tmp_path):
    dying = job(technique="none of these")
    (tmp_path / "unfinished").mkdir()
    begun = time.monotonic()
    with pytest.raises(TrialError, match=r"the training process ended with status 1: KeyError"):
        train(dying)
    assert (tmp_path / "unfinished").exists() and time.monotonic() - begun < 60
