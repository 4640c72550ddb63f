"""Batch normalization goes on as it did in the source model, whatever samples there are; rates are those of the lesson."""

import dataclasses

import numpy as np
import pytest

from studylib.models.zoo import Samples
from studylib.training import statistics_matching
from studylib.training.lessons import lessons
from studylib.training.schooling import Schooling, samples_to_look_at

VALUES = np.random.default_rng(0).normal(5, 2, (40, 6, 6, 3)).astype(np.float32)


@pytest.fixture
def model():
    """Two normalizations whose moving statistics are not those of `VALUES`."""
    import tf_keras
    from tf_keras import layers

    tf_keras.utils.set_random_seed(3)
    made = tf_keras.Sequential([tf_keras.Input((6, 6, 3)), layers.Conv2D(8, 3), layers.BatchNormalization(), layers.ReLU()])
    for layer in (layers.Conv2D(4, 3), layers.BatchNormalization(), layers.Flatten(), layers.Dense(3, activation="softmax")):
        made.add(layer)
    rng = np.random.default_rng(1)
    for layer in statistics_matching.normalizations(made):
        layer.moving_mean.assign(rng.normal(size=layer.moving_mean.shape))
        layer.moving_variance.assign(rng.uniform(2, 9, layer.moving_variance.shape))
    return made


def schooling(model, folder, values=VALUES, labels=None):
    import tf_keras

    made = Schooling(lessons(tf_keras, model, Samples({"x": values}, labels)), 1e-3, 1, 8, 0, folder, {}, 3e-4)
    return dataclasses.replace(made, moments=statistics_matching.observed(model, samples_to_look_at(made.lessons, 0)))


def scale_kernels(model) -> None:
    for layer in model.layers:
        if "conv" in layer.name:
            layer.set_weights([layer.get_weights()[0] * 0.3, layer.get_weights()[1] + 0.7])


def test_a_model_that_did_not_change_keeps_its_statistics(model, tmp_path):
    before = model.get_weights()
    schooling(model, tmp_path).match_statistics(model)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_matched_statistics_undo_a_change_of_scale_and_offset(model, tmp_path):
    taught = schooling(model, tmp_path)
    wanted = model.predict(VALUES, verbose=0)
    scale_kernels(model)
    assert np.abs(model.predict(VALUES, verbose=0) - wanted).max() > 0.05
    taught.match_statistics(model)
    np.testing.assert_allclose(model.predict(VALUES, verbose=0), wanted, atol=2e-3)
    assert taught.normalization() == "statistics matched to those of the source model on 40 samples"


def test_layers_compute_as_before_once_they_were_looked_at(model, tmp_path):
    schooling(model, tmp_path)
    assert not any("call" in vars(layer) for layer in statistics_matching.normalizations(model))


def test_few_samples_change_nothing(model, tmp_path):
    taught = schooling(model, tmp_path, VALUES[:9])
    scale_kernels(model)
    before = model.get_weights()
    taught.match_statistics(model)
    assert all((one == other).all() for one, other in zip(before, model.get_weights(), strict=True))
    assert taught.normalization() == "kept as it was: 9 samples are too few for statistics"


def test_a_normalization_that_is_used_twice_is_left_alone():
    import tf_keras

    entry = tf_keras.Input((6, 6, 3))
    shared = tf_keras.layers.BatchNormalization()
    assert statistics_matching.observed(tf_keras.Model(entry, shared(shared(entry))), [VALUES]) == {}


def test_without_labels_the_rate_is_capped(model, tmp_path):
    assert schooling(model, tmp_path).rate == 3e-4
    assert schooling(model, tmp_path).gentle().rate == pytest.approx(1e-4)
    assert schooling(model, tmp_path, labels=np.arange(40) % 3).rate == 1e-3


def test_with_labels_enough_statistics_are_the_means_over_the_samples(tmp_path):
    import tf_keras

    values = np.random.default_rng(0).normal(5, 2, (120, 3)).astype(np.float32)
    made = tf_keras.Sequential([tf_keras.Input((3,)), tf_keras.layers.BatchNormalization(trainable=False), tf_keras.layers.Dense(3)])
    taught = schooling(made, tmp_path, values, np.arange(120) % 3)
    assert taught.relearns and not schooling(made, tmp_path, values).relearns
    taught.renew_statistics(made)
    np.testing.assert_allclose(made.layers[0].moving_mean.numpy(), values.mean(0), rtol=1e-4)
    assert made.layers[0].momentum == 0.99
    assert taught.normalization(True) == "statistics taken anew from 120 samples"


def test_renewed_statistics_do_not_depend_on_what_dropout_did_before(tmp_path):
    import tf_keras

    tf_keras.backend.experimental.enable_tf_random_generator()
    layers = (tf_keras.layers.Dropout(0.5), tf_keras.layers.BatchNormalization(), tf_keras.layers.Dense(3))
    made = tf_keras.Sequential([tf_keras.Input((3,)), *layers])
    taught = schooling(made, tmp_path, np.random.default_rng(0).normal(5, 2, (120, 3)).astype(np.float32), np.arange(120) % 3)
    found = []
    for _ in range(2):
        taught.renew_statistics(made)
        found.append(layers[1].moving_variance.numpy())
    np.testing.assert_array_equal(*found)
