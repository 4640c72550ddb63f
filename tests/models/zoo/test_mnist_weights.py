"""The weights of mnist_cnn that lie in the repository are the ones its module names, and answer as they should."""

import numpy as np
import pytest

from studylib.errors import ArtifactError
from studylib.models.zoo import MODELS, mnist_cnn
from studylib.params.defaults import SEED


def test_the_kept_weights_have_the_hash_that_their_module_names():
    assert [values.dtype.name for values in mnist_cnn._kept()] == ["float32"] * 37
    assert mnist_cnn.WEIGHTS.stat().st_size < 100_000


def test_damaged_weights_are_refused(tmp_path, monkeypatch):
    damaged = tmp_path / "mnist_cnn.npz"
    damaged.write_bytes(mnist_cnn.WEIGHTS.read_bytes()[:-1] + b"x")
    monkeypatch.setattr(mnist_cnn, "WEIGHTS", damaged)
    with pytest.raises(ArtifactError, match=r"mnist_cnn\.npz is damaged: its hash is not the one in mnist_cnn\.py"):
        mnist_cnn._kept()


def test_they_read_digits_that_they_never_saw():
    model = MODELS["mnist_cnn"]
    samples = model.samples("test", 1000, SEED)
    scores = model.build(SEED).predict(samples.inputs["image"], verbose=0)
    assert np.mean(scores.argmax(axis=1) == samples.labels) >= 0.98


def test_the_hash_is_part_of_the_key():
    assert MODELS["mnist_cnn"].source_facts() == {"kept weights": mnist_cnn.WEIGHTS_SHA256}
