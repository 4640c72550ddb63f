"""A Keras file that would run code is refused before anything loads it; the planted code is alive and leaves a marker."""

import json
import zipfile

import pytest

from studylib.formats.keras_safety import why_unsafe


@pytest.fixture
def marker(tmp_path):
    return tmp_path / "the-planted-code-ran"


@pytest.fixture
def planted(tmp_path, marker):
    """Function that saves a model with a Lambda layer that creates the marker whenever it is loaded."""

    def plant(library, file, place="plain"):
        layers = library.layers
        evil = layers.Lambda(eval(f"lambda x: (__import__('pathlib').Path({str(marker)!r}).touch(), x)[1]"), name="evil")
        inputs = library.Input((3, 2), name="values")
        if place == "wrapped":
            outputs = layers.TimeDistributed(evil)(inputs)
        elif place == "nested":
            outputs = library.Sequential([library.Input((3, 2)), library.Sequential([library.Input((3, 2)), evil])])(inputs)
        else:
            outputs = evil(inputs)
        library.Model(inputs, outputs).save(tmp_path / file)
        marker.unlink()
        return tmp_path / file

    return plant


@pytest.mark.parametrize("place", ["plain", "wrapped", "nested"])
@pytest.mark.parametrize("file", ["model.keras", "model.h5"])
@pytest.mark.filterwarnings("ignore")
def test_a_lambda_layer_is_found_wherever_it_stands_and_never_runs(planted, marker, file, place):
    import keras

    path = planted(keras, file, place)
    reason = why_unsafe(path)
    assert reason == "the file holds a Lambda layer 'evil', which runs Python code from the file; if you trust its author, set TRUST=1"
    assert not marker.exists()
    keras.models.load_model(path, compile=False, safe_mode=False)
    assert marker.exists(), "the plant is dead, so its absence above proves nothing"


def described(tmp_path, *layers: dict):
    """A ``.keras`` file of which only the configuration is real."""
    path = tmp_path / "described.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Functional", "config": {"layers": list(layers)}}))
    return path


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ({"class_name": "keras>Lambda", "config": {"name": "x"}}, "a Lambda layer 'x'"),
        ({"class_name": "Dense", "config": {"activation": {"class_name": "__lambda__", "config": {}}}}, "a Python function inside"),
        ({"class_name": "TFOpLambda", "config": {"name": "w", "function": "io.write_file"}}, "'w', which calls tf.io.write_file"),
        ({"class_name": "TFOpLambda", "config": {"name": "w", "function": "load_op_library"}}, "which calls tf.load_op_library"),
        (
            {"class_name": "TensorFlowOpLayer", "config": {"name": "w", "node_def": '{"op": "WriteFile"}'}},
            "'w', which reads or writes files",
        ),
        ({"class_name": "InstanceMethod", "config": {"name": "m"}}, "a InstanceMethod layer 'm', which calls a method by its name"),
        (
            {"class_name": "TorchModuleWrapper", "config": {"name": "t"}},
            "a TorchModuleWrapper layer 't', which runs what is no part of Keras",
        ),
        (
            {"class_name": "system", "module": "os", "config": {}},
            "'system' from the module 'os', which is no layer of Keras: give a SavedModel",
        ),
        ({"class_name": "get_file", "module": "keras.utils", "config": {}}, "'get_file' from the module 'keras.utils'"),
        ({"class_name": "function", "module": "keras.models", "config": "load_model"}, "from the module 'keras.models'"),
        ({"class_name": "Mine", "module": None, "registered_name": "lab>Mine"}, "the class 'Mine', registered as 'lab>Mine'"),
    ],
)
def test_what_acts_or_is_missing_is_named(tmp_path, layer, words):
    assert words in why_unsafe(described(tmp_path, layer))


def test_layers_of_both_keras_versions_pass(tmp_path):
    import keras
    import tf_keras

    inputs = keras.Input((4,), name="a")
    hidden = keras.ops.relu(keras.layers.Dense(4, activation="gelu", kernel_regularizer="l2")(inputs))[:, :2] * 2
    model = keras.Model(inputs, keras.layers.BatchNormalization()(hidden))
    model.compile("adam", "mse")
    model.save(tmp_path / "new.keras")
    assert why_unsafe(tmp_path / "new.keras") is None

    import tensorflow as tf

    inputs = tf_keras.Input((4,), name="a")
    hidden = tf.concat([tf.nn.relu(inputs)[:, :2], inputs * 2], -1) + tf.reduce_sum(inputs)
    tf_keras.Model(inputs, tf_keras.layers.Dense(1)(hidden)).save(tmp_path / "old.h5")
    assert why_unsafe(tmp_path / "old.h5") is None


def test_a_custom_loss_is_no_reason_because_a_model_is_loaded_without_it(tmp_path):
    path = tmp_path / "loss.keras"
    loss = {"module": "mine", "class_name": "MyLoss", "registered_name": "lab>MyLoss", "config": {}}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Sequential", "config": {}, "compile_config": {"loss": loss}}))
    assert why_unsafe(path) is None


@pytest.mark.parametrize("file", ["broken.keras", "broken.h5"])
def test_a_broken_file_is_called_broken(tmp_path, file):
    (tmp_path / file).write_bytes(b"neither zip nor HDF5")
    assert why_unsafe(tmp_path / file).startswith(f"{file} is damaged or no Keras model: ")
