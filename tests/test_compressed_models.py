"""Models that compression cannot take, beside one that it can: each costs its own rows, and the reason is in words."""

import numpy as np
import pytest
from conftest import cli

from studylib.results import Results

RECIPES = "fp32,static_wi8_ai8,dynamic_wi8_afp32,qat_wi8_ai8,pruned_channels50,adaptive_wi8"


def _plain(folder):
    """No operator that int8 could be used for."""
    import keras

    image = keras.Input((8, 8, 2), name="x")
    keras.Model(image, keras.layers.ReLU()(keras.layers.Add()([image, image]))).save(folder / "plain.keras")


def _unknown(folder):
    """A layer that tfmot has no way to quantize, and that keeps channels together."""
    import keras

    image = keras.Input((8, 8, 2), name="x")
    x = keras.layers.Conv2D(8, 3)(image)
    x = keras.layers.GroupNormalization(4)(x)
    keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(x))).save(folder / "unknown.keras")


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


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for write in (_plain, _unknown, _quantized):
        write(folder)
    models = ",".join(str(folder / name) for name in ("plain.keras", "unknown.keras", "quantized.tflite"))
    arguments = ("--effort", "smoke", "--recipe", RECIPES, "--runtime", "litert,onnxruntime", "--model", models)
    done = cli("study", *arguments, outputs=folder / "outputs")
    assert done.returncode == 0, done.stdout + done.stderr
    return Results(folder / "outputs" / "cpu")


def _states(results, model: str) -> dict:
    return {(t.runtime, t.recipe): results.status(t) for t in results.plan() if t.model == model and not t.control}


@pytest.mark.slow
def test_a_model_with_nothing_to_quantize_says_so_in_every_recipe(results):
    found = _states(results, "plain")
    assert found["litert", "fp32"] == found["onnxruntime", "fp32"] == ("ok", "")
    for recipe in ("static_wi8_ai8", "dynamic_wi8_afp32", "adaptive_wi8"):
        for runtime in ("litert", "onnxruntime"):
            status, reason = found[runtime, recipe]
            assert status == "failed", (runtime, recipe)
            assert "no" in reason
            assert "quantiz" in reason or "int8" in reason
    assert "nothing" in found["litert", "pruned_channels50"][1] or "no " in found["litert", "pruned_channels50"][1]


@pytest.mark.slow
def test_what_cannot_be_wrapped_for_training_costs_its_row_and_names_the_layer(results):
    found = _states(results, "unknown")
    assert found["onnxruntime", "qat_wi8_ai8"][0] == "failed"
    assert "group_normalization" in found["onnxruntime", "qat_wi8_ai8"][1]
    assert found["onnxruntime", "fp32"] == found["onnxruntime", "static_wi8_ai8"] == ("ok", "")


@pytest.mark.slow
def test_a_quantized_file_is_known_as_one(results):
    found = _states(results, "quantized")
    assert found["litert", "fp32"] == ("ok", "")
    for recipe in ("static_wi8_ai8", "dynamic_wi8_afp32"):
        assert "already quantized" in found["litert", recipe][1]
    assert found["litert", "qat_wi8_ai8"] == ("skipped", "qat trains a Keras model; what comes as tflite cannot be trained here")


@pytest.mark.slow
def test_every_row_without_numbers_has_a_reason(results):
    table = results.table()
    assert (table[table.status != "ok"].reason.str.len() > 20).all()
    assert np.isfinite(table[(table.status == "ok") & (table.metric == "latency_p50")].value).all()
