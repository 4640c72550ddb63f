"""Statistics of batch normalization are those of the samples afterwards, also where the layer was frozen."""

import numpy as np
import pytest

from studylib.training.lessons import lessons
from studylib.training.schooling import Schooling
from studylib.zoo import Samples


@pytest.mark.parametrize("trainable", [True, False])
def test_statistics_are_the_means_over_the_samples(tmp_path, trainable):
    import tf_keras

    model = tf_keras.Sequential([tf_keras.Input((3,)), tf_keras.layers.BatchNormalization(trainable=trainable)])
    values = np.random.default_rng(0).normal(5, 2, (120, 3)).astype(np.float32)
    schooling = Schooling(lessons(tf_keras, model, Samples({"x": values}, None)), 1e-3, 1, 40, 0, tmp_path)
    assert schooling.renew_statistics(model) == "statistics taken anew from 120 samples"
    layer = model.layers[-1]
    np.testing.assert_allclose(layer.moving_mean.numpy(), values.mean(0), rtol=1e-4)
    assert (layer.momentum, layer.trainable) == (0.99, trainable)


def test_few_samples_change_nothing(tmp_path):
    import tf_keras

    model = tf_keras.Sequential([tf_keras.Input((3,)), tf_keras.layers.BatchNormalization()])
    schooling = Schooling(lessons(tf_keras, model, Samples({"x": np.ones((9, 3), np.float32)}, None)), 1e-3, 1, 4, 0, tmp_path)
    assert schooling.renew_statistics(model) == "kept as it was: 9 samples are too few for statistics"
    assert not model.layers[-1].moving_mean.numpy().any()
