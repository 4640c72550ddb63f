"""On a network small enough to see everything."""

import numpy as np
import pytest

from studylib.models.zoo.normalisation import calm, set_batch_statistics, set_unit_variance, spread_logits


@pytest.fixture
def network():
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    x = keras.Input((8, 8, 3), name="image")
    y = layers.BatchNormalization(momentum=0.9, name="first")(layers.Conv2D(4, 3, name="conv")(x))
    y = layers.BatchNormalization(name="second")(layers.ReLU()(y))
    y = layers.Dense(5, name="inner")(layers.Flatten()(y))
    return keras.Model(x, layers.Dense(6, activation="softmax", name="head")(layers.ReLU()(y)))


@pytest.fixture
def images() -> dict:
    return {"image": np.random.default_rng(0).normal(50, 20, (16, 8, 8, 3)).astype(np.float32)}


def _output(network, name: str, images: dict) -> np.ndarray:
    import keras

    return keras.Model(network.input, network.get_layer(name).output).predict(images["image"], verbose=0)


def test_batch_normalisation_has_the_statistics_of_the_batch(network, images):
    set_batch_statistics(network, images)
    for name in ("first", "second"):
        normalised = _output(network, name, images)
        assert np.allclose(normalised.mean(axis=(0, 1, 2)), 0, atol=1e-3)
        assert np.allclose(normalised.std(axis=(0, 1, 2)), 1, atol=1e-2)
    assert network.get_layer("first").momentum == 0.9


def test_calm_layers_are_shifted_and_branch_ends_scaled(network, images):
    calm(network, branch_end="second")
    set_batch_statistics(network, images)
    assert _output(network, "first", images).mean() == pytest.approx(1, abs=1e-3)
    second = _output(network, "second", images)
    assert (second.mean(), second.std()) == (pytest.approx(0, abs=1e-3), pytest.approx(0.3, rel=1e-2))


def test_dense_layers_put_out_a_deviation_of_one(network, images):
    assert abs(_output(network, "inner", images).std() - 1) > 0.5
    set_unit_variance(network, images, ["inner"])
    assert _output(network, "inner", images).std() == pytest.approx(1, rel=1e-3)


def test_every_logit_is_centred_and_spread(network, images):
    import keras

    set_batch_statistics(network, images)
    spread_logits(network, images, "head", deviation=2.0)
    head = network.get_layer("head")
    features = keras.Model(network.input, head.input).predict(images["image"], verbose=0)
    logits = features @ head.get_weights()[0] + head.get_weights()[1]
    assert np.allclose(logits.mean(axis=0), 0, atol=1e-3)
    assert np.allclose(logits.std(axis=0), 2, atol=1e-3)
