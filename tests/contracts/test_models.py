"""The promises that every model of the zoo keeps."""

import numpy as np
import pytest

from studylib.models.zoo import MODELS

SPLITS = ("train", "test")


@pytest.fixture(params=MODELS, scope="module")
def model(request):
    return MODELS[request.param]


def test_it_describes_itself(model):
    assert model.name in MODELS
    assert model.task in {"classification", "question_answering", "speech_recognition", "other"}
    assert model.weights in {"trained", "random", "by hand"}
    assert model.data in {"real", "synthetic"}
    assert model.inputs
    assert set(model.dtypes) <= set(model.inputs)
    # A share of right answers needs many samples; fidelity on synthetic ones has none.
    assert model.test_samples >= (100 if model.data == "real" else 32)
    assert type(model).__doc__


def test_synthetic_samples_have_no_labels(model):
    """Nobody can be right about them, so no accuracy can be computed from them."""
    if model.data == "synthetic":
        assert model.samples("test", 2, seed=1).labels is None


@pytest.mark.parametrize("split", SPLITS)
def test_samples_have_the_declared_shape_and_are_finite(model, split):
    samples = model.samples(split, 12, seed=1)
    assert len(samples) == 12
    assert list(samples.inputs) == list(model.inputs)
    for name, shape in model.inputs.items():
        assert samples.inputs[name].shape == (12, *shape)
        assert samples.inputs[name].dtype == np.dtype(model.dtypes.get(name, "float32"))
        assert np.isfinite(samples.inputs[name]).all()
        assert samples.inputs[name].std() > 0.01


def test_the_same_seed_gives_the_same_samples_and_another_seed_others(model):
    first, again, other = (model.samples("test", 8, seed=seed) for seed in (1, 1, 2))
    for name in model.inputs:
        assert np.array_equal(first.inputs[name], again.inputs[name])
        assert not np.array_equal(first.inputs[name], other.inputs[name])


@pytest.mark.slow
def test_no_test_sample_is_a_training_sample(model):
    """Whatever the seeds: calibration and training never see what is evaluated.

    Few of large samples: those are crops of photographs, of which a crop is hardly ever drawn twice; a small one comes from a set.
    """
    first = next(iter(model.inputs))
    n = 400 if np.prod(model.inputs[first]) < 100_000 else 60
    seen = {sample.tobytes() for seed in (1, 2) for sample in model.samples("train", n, seed).inputs[first]}
    for seed in (1, 3):
        assert not any(sample.tobytes() in seen for sample in model.samples("test", n, seed).inputs[first])


def test_samples_survive_the_disk(model, tmp_path):
    from studylib.models.zoo import Samples

    samples = model.samples("test", 3, seed=1)
    loaded = Samples.load(samples.save(tmp_path))
    assert all(np.array_equal(loaded.inputs[name], values) for name, values in samples.inputs.items())
    assert (loaded.labels is None) == (samples.labels is None)
