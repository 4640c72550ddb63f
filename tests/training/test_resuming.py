"""A training that goes on from a checkpoint ends with the weights of one that was never interrupted."""

import importlib

import numpy as np
import pytest

from studylib.errors import RefusedError
from studylib.training import resuming
from studylib.training.resuming import order_of

RNG = np.random.default_rng(2)
INPUT, ANSWER = RNG.normal(size=(40, 5)).astype(np.float32), RNG.normal(size=(40, 2)).astype(np.float32)


@pytest.fixture(params=["keras", "tf_keras"])
def library(request):
    library = importlib.import_module(request.param)
    if request.param == "tf_keras":
        library.backend.experimental.enable_tf_random_generator()
    return library


def model(library, rate=0.01):
    """With dropout and batch normalization, whose random and moving states must survive too."""
    library.utils.set_random_seed(1)
    layers = library.layers
    made = library.Sequential([layers.Dense(8, activation="relu"), layers.Dropout(0.5), layers.BatchNormalization(), layers.Dense(2)])
    made.build((None, 5))
    made.compile(library.optimizers.Adam(library.optimizers.schedules.CosineDecay(rate, 30)), loss="mse")
    return made


def fit(library, folder, epochs, seed=7, **options):
    made = model(library, **options)
    losses = resuming.fit(library, made, [INPUT], [ANSWER], resuming.Stage("a stage", epochs, 8, seed, folder))
    return losses, made.get_weights()


def test_interrupted_training_equals_uninterrupted_training(library, tmp_path):
    losses, weights = fit(library, tmp_path / "one go", 4)
    assert fit(library, tmp_path / "parts", 2)[0] == losses[:2]
    resumed, again = fit(library, tmp_path / "parts", 4)
    assert resumed == losses
    for one, other in zip(weights, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_another_seed_is_another_training(library, tmp_path):
    assert fit(library, tmp_path / "a", 1, seed=7)[0] != fit(library, tmp_path / "b", 1, seed=8)[0]


def test_a_finished_training_is_read_and_not_repeated(library, tmp_path, capsys):
    losses, _ = fit(library, tmp_path, 2)
    capsys.readouterr()
    assert fit(library, tmp_path, 2)[0] == losses
    assert capsys.readouterr().out.splitlines() == ['{"stage": "a-stage: goes on after epoch 2"}']


def test_progress_names_stage_epoch_and_loss(library, tmp_path, capsys):
    losses, _ = fit(library, tmp_path, 1)
    assert f'{{"stage": "a stage: epoch 1 of 1, loss {losses[0]:.4g}"}}' in capsys.readouterr().out


@pytest.mark.parametrize("damage", ["truncated", "empty", "another model"])
def test_an_unusable_checkpoint_begins_again_and_says_so(library, tmp_path, capsys, damage):
    losses, _ = fit(library, tmp_path, 2)
    checkpoint = tmp_path / "a-stage.npz"
    content = checkpoint.read_bytes()
    if damage == "another model":
        with np.load(checkpoint) as kept:
            np.savez(checkpoint, **{name: values[:1] if values.ndim else values for name, values in kept.items()})
    else:
        checkpoint.write_bytes(content[: len(content) // 2 if damage == "truncated" else 0])
    capsys.readouterr()
    assert fit(library, tmp_path, 2)[0] == losses
    assert "this training begins again" in capsys.readouterr().out


def test_nothing_half_written_is_left(library, tmp_path):
    fit(library, tmp_path, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["a-stage.npz"]


def test_a_training_that_diverges_is_refused(library, tmp_path):
    with pytest.raises(RefusedError, match=r"a stage diverged: the loss of epoch \d is (nan|inf); lower the learning rate"):
        fit(library, tmp_path, 8, rate=1e30)


def test_the_order_depends_on_seed_and_epoch_alone():
    assert sorted(order_of(10, 3, 0)) == list(range(10))
    np.testing.assert_array_equal(order_of(10, 3, 1), order_of(10, 3, 1))
    assert not np.array_equal(order_of(10, 3, 0), order_of(10, 3, 1))
    assert not np.array_equal(order_of(10, 3, 0), order_of(10, 4, 0))
