import dataclasses
import hashlib
import importlib
from pathlib import Path

import numpy as np
import pytest

from studylib.build.sources import Sources
from studylib.models.zoo import MODELS
from studylib.models.zoo.normalisation import LOGIT_DEVIATION

# Model: (its module in keras.applications, its class there, published number of parameters).
KERAS = {"resnet50": ("resnet50", "ResNet50", 25_636_712), "mobilenet_v2": ("mobilenet_v2", "MobileNetV2", 3_538_984)}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("STUDYLIB_CACHE", str(folder))
    return folder


@pytest.fixture(params=KERAS)
def model(request):
    return MODELS[request.param]


@pytest.fixture(scope="module", params=["mobilenet_v2", pytest.param("resnet50", marks=pytest.mark.slow)])
def built(request, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDYLIB_CACHE", str(tmp_path_factory.mktemp("empty")))
        return MODELS[request.param], MODELS[request.param].build(seed=1)


def _logits(network, samples) -> np.ndarray:
    """What the softmax turns into probabilities, but for a number per sample."""
    logits = np.log(network.predict(samples.inputs["image"], verbose=0).astype(np.float64))
    return logits - logits.mean(axis=1, keepdims=True)


def _legacy_weights(network, path: Path) -> None:
    """The network's weights in the format of the published files."""
    import h5py
    from keras.src.legacy.saving import legacy_h5_format

    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, network)


def test_the_architecture_is_the_published_one(built):
    model, network = built
    assert network.count_params() == KERAS[model.name][2]
    assert [tensor.name for tensor in network.inputs] == ["image"]
    assert network.layers[-1].name == "probabilities"


def test_random_weights_tell_photographs_apart(built):
    model, network = built
    probabilities = network.predict(model.samples("test", 24, seed=3).inputs["image"], verbose=0)
    assert np.isfinite(probabilities).all()
    assert len(set(probabilities.argmax(axis=1))) >= 8
    assert 0.1 < np.median(probabilities.max(axis=1)) < 0.95


def test_random_logits_have_the_spread_they_were_given(built):
    model, network = built
    logits = _logits(network, model.samples("train", 16, seed=1))
    assert np.abs(logits.mean(axis=0) - logits.mean()).max() < 0.5
    assert np.median(logits.std(axis=0)) == pytest.approx(LOGIT_DEVIATION, rel=0.1)


def test_rounding_the_weights_hurts_and_does_not_destroy(built):
    """To int8, one scale per output channel: the logits' error lies between a random guess and nothing to see."""
    model, network = built
    samples, kept = model.samples("test", 12, seed=3), network.get_weights()
    exact = _logits(network, samples)
    for layer in network.layers:
        kernels = [value for value in layer.weights if value.name == "kernel"]
        for kernel in kernels:
            values = np.array(kernel)
            # A depthwise kernel's output channels are its third axis.
            axes = (0, 1, 3) if "depthwise" in type(layer).__name__.lower() else tuple(range(values.ndim - 1))
            scale = np.abs(values).max(axis=axes, keepdims=True) / 127
            kernel.assign(np.round(values / scale) * scale)
    error = _logits(network, samples) - exact
    network.set_weights(kept)
    assert 15 < 10 * np.log10((exact**2).sum() / (error**2).sum()) < 40


def test_without_the_normalisation_every_photograph_looks_alike():
    """What the two tests above protect from: the check can fail."""
    import keras

    keras.utils.set_random_seed(1)
    network = keras.applications.MobileNetV2(weights=None)
    samples = MODELS["mobilenet_v2"].samples("test", 12, seed=3)
    assert network.predict(samples.inputs["image"], verbose=0).max() < 0.01
    assert _logits(network, samples).std() < 0.1


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(built):
    model, network = built
    if model.name == "resnet50":
        pytest.skip("it is built as mobilenet_v2 is")
    first, again, other = (one.get_weights() for one in (network, model.build(1), model.build(2)))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_pixels_become_what_keras_would_make_of_them(model):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    expected = importlib.import_module(f"keras.applications.{KERAS[model.name][0]}").preprocess_input(pixels.astype(np.float32))
    found = model.preprocess(pixels)
    assert found.dtype == np.float32
    assert np.allclose(found, expected, atol=1e-5)


def test_the_published_file_is_the_one_keras_fetches(model):
    source = Path(importlib.import_module(f"keras.src.applications.{model.name.removesuffix('50')}").__file__).read_text()
    folder, name = model.published.url.rsplit("/", 1)
    assert f'"{folder}/"' in source
    # Keras builds the name: for these two, <model>_weights_tf_dim_ordering_tf_kernels and the width and the size, or nothing.
    assert name.startswith(f"{model.name}_weights_tf_dim_ordering_tf_kernels")
    assert model.published.algorithm == "sha256" or model.published.digest in source


@pytest.mark.slow
def test_published_weights_in_the_cache_are_used(cache, monkeypatch):
    """With a file of the published format, whose hash stands in for the published one: nothing is downloaded here."""
    import keras

    keras.utils.set_random_seed(7)
    theirs = keras.applications.MobileNetV2(weights=None)
    model = type(MODELS["mobilenet_v2"])()
    path = cache / model.published.path.name
    _legacy_weights(theirs, path)
    random = Sources(model, 1).model_key
    assert model.weights == "random"  # the bytes are not the published ones
    content = path.read_bytes()
    right = {"digest": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    monkeypatch.setattr(model, "published", dataclasses.replace(model.published, **right))
    assert model.weights == "trained"
    assert Sources(model, 1).model_key != random
    images = model.samples("test", 2, seed=1).inputs["image"]
    ours = model.build(seed=1)
    assert np.allclose(ours(images), theirs(images), rtol=1e-4, atol=1e-7)


@pytest.mark.slow
def test_resnet50_takes_the_layers_of_the_published_file_in_order(cache):
    """Published files hold their tensors by place, not by name."""
    import keras

    theirs = keras.applications.ResNet50(weights=None)
    ours = MODELS["resnet50"].trunk(keras.Input((224, 224, 3), name="image"))
    order = [layer.name for layer in theirs.layers if layer.weights]
    assert [layer.name for layer in ours.layers if layer.weights] == order[:-1]
    assert order[-1] == "predictions"
