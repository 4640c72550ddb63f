"""Models that compression cannot take, beside one that it can: each costs its own rows, and the reason is in words."""

import re

import numpy as np
import pytest

from tests.in_process import measured
from tests.outputs import status_of

NOTHING = re.compile("no operator of .* that integers can be used for|has no operator that can be quantized")


def _plain(folder):
    """No operator that int8 could be used for."""
    import keras

    image = keras.Input((8, 8, 2), name="x")
    keras.Model(image, keras.layers.ReLU()(keras.layers.Add()([image, image]))).save(folder / "plain.keras")


def _unknown(folder):
    """A layer that tfmot has no way to quantize, and that keeps channels together."""
    import keras

    image = keras.Input((8, 8, 1), name="x")
    x = keras.layers.Conv2D(8, 3)(image)
    x = keras.layers.GroupNormalization(4)(x)
    keras.Model(image, keras.layers.Dense(10, activation="softmax")(keras.layers.Flatten()(x))).save(folder / "unknown.keras")


def _quantized(folder):
    """A LiteRT file that somebody quantized before."""
    import keras
    import tensorflow as tf

    image = keras.Input((8, 8, 2), name="x")
    model = keras.Model(image, keras.layers.Dense(64)(keras.layers.Flatten()(keras.layers.Conv2D(64, 3)(image))))
    model.export(folder / "exported", verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "exported"))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    (folder / "quantized.tflite").write_bytes(converter.convert())


RUNTIMES = ("litert", "onnxruntime")


def _states(results, model: str) -> dict:
    return {(t.runtime, t.recipe): status_of(results, t) for t in results.plan() if t.model == model and not t.control}


@pytest.fixture(scope="module")
def without_data(tmp_path_factory):
    """Two models in one study, with nothing but noise to feed them."""
    folder = tmp_path_factory.mktemp("models")
    _plain(folder)
    _quantized(folder)
    recipes = ("fp32", "static_wi8_ai8", "dynamic_wi8_afp32", "qat_wi8_ai8", "adaptive_wi8")
    return measured(folder / "outputs", folder / "plain.keras", folder / "quantized.tflite", recipes=recipes, runtimes=RUNTIMES)


@pytest.mark.slow
def test_a_model_with_nothing_to_quantize_says_so_in_every_recipe(without_data):
    found = _states(without_data, "plain")
    assert found["litert", "fp32"] == found["onnxruntime", "fp32"] == ("ok", "")
    for recipe in ("static_wi8_ai8", "dynamic_wi8_afp32", "adaptive_wi8"):
        for runtime in ("litert", "onnxruntime"):
            status, reason = found[runtime, recipe]
            assert status == "failed", (runtime, recipe)
            assert NOTHING.search(reason), reason


@pytest.mark.slow
def test_noise_teaches_nothing(without_data):
    reason = "qat trains, and plain has no real samples here: noise teaches nothing; give DATA"
    assert _states(without_data, "plain")["onnxruntime", "qat_wi8_ai8"] == ("skipped", reason)


@pytest.mark.slow
def test_a_quantized_file_is_known_as_one(without_data):
    found = _states(without_data, "quantized")
    assert found["litert", "fp32"] == ("ok", "")
    for recipe in ("static_wi8_ai8", "dynamic_wi8_afp32", "adaptive_wi8"):
        assert "is already int8 dynamic: it is measured as it came" in found["litert", recipe][1]
    assert found["litert", "qat_wi8_ai8"] == ("skipped", "qat trains a Keras model; what comes as tflite cannot be trained here")


@pytest.fixture(scope="module")
def with_data(tmp_path_factory):
    """A model with a layer that nobody can train for int8, and three hundred real digits of eight by eight."""
    from sklearn.datasets import load_digits

    folder = tmp_path_factory.mktemp("unknown")
    _unknown(folder)
    digits = load_digits()
    np.savez(folder / "digits.npz", x=(digits.images[:300, ..., None] / 16).astype(np.float32), labels=digits.target[:300])
    recipes = ("fp32", "static_wi8_ai8", "qat_wi8_ai8", "adaptive_wi8")
    data = str(folder / "digits.npz")
    return measured(folder / "outputs", folder / "unknown.keras", data=data, recipes=recipes, runtimes=RUNTIMES)


@pytest.mark.slow
def test_what_cannot_be_wrapped_for_training_costs_its_row_and_names_the_layer(with_data):
    found = _states(with_data, "unknown")
    assert found["onnxruntime", "qat_wi8_ai8"][0] == "failed"
    assert "group_normalization" in found["onnxruntime", "qat_wi8_ai8"][1]
    assert found["onnxruntime", "fp32"] == found["onnxruntime", "static_wi8_ai8"] == ("ok", "")


@pytest.mark.slow
def test_a_search_has_samples_to_judge_by_in_a_small_set_too(with_data):
    found = _states(with_data, "unknown")
    assert found["onnxruntime", "adaptive_wi8"] == found["litert", "adaptive_wi8"] == ("ok", "")
    assert {search["facts"]["held_back"] for search in with_data.searches().values()} <= set(range(8, 31))


@pytest.mark.slow
def test_every_row_without_numbers_has_a_reason(without_data, with_data):
    for results in (without_data, with_data):
        table = results.table()
        assert (table[table.status != "ok"].reason.str.len() > 20).all()
