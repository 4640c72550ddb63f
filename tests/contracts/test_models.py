"""The promises that every model of the zoo keeps."""

import numpy as np
import pytest

from studylib.zoo import MODELS

SPLITS = ("train", "test")


@pytest.fixture(params=MODELS, scope="module")
def model(request):
    return MODELS[request.param]


def test_it_describes_itself(model):
    assert model.name in MODELS
    assert model.weights in {"trained", "random"}
    assert model.inputs
    assert model.test_samples >= 100
    assert type(model).__doc__


@pytest.mark.parametrize("split", SPLITS)
def test_samples_have_the_declared_shape_and_are_finite(model, split):
    samples = model.samples(split, 12, seed=1)
    assert len(samples) == 12
    for name, shape in model.inputs.items():
        assert samples.inputs[name].shape == (12, *shape)
        assert samples.inputs[name].dtype == np.float32
        assert np.isfinite(samples.inputs[name]).all()
        assert samples.inputs[name].std() > 0.01


def test_the_same_seed_gives_the_same_samples_and_another_seed_others(model):
    first, again, other = (model.samples("test", 8, seed=seed) for seed in (1, 1, 2))
    for name in model.inputs:
        assert np.array_equal(first.inputs[name], again.inputs[name])
        assert not np.array_equal(first.inputs[name], other.inputs[name])


def test_no_test_sample_is_a_training_sample(model):
    """Whatever the seeds: calibration and training never see what is evaluated."""
    seen = {sample.tobytes() for seed in (1, 2) for sample in next(iter(model.samples("train", 400, seed).inputs.values()))}
    tested = next(iter(model.samples("test", 400, 3).inputs.values()))
    assert not any(sample.tobytes() in seen for sample in tested)


def test_samples_survive_the_disk(model, tmp_path):
    from studylib.zoo import Samples

    samples = model.samples("test", 3, seed=1)
    loaded = Samples.load(samples.save(tmp_path))
    assert all(np.array_equal(loaded.inputs[name], values) for name, values in samples.inputs.items())
    assert (loaded.labels is None) == (samples.labels is None)
