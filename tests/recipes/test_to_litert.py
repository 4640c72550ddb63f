"""SavedModel to LiteRT: convolutions keep their dynamic batch, loops get it fixed, and what cannot be translated is named."""

import numpy as np
import pytest

from studylib.errors import RefusedError
from studylib.recipes.convert.to_litert import ToLiteRT, fix_batch, require_a_run


@pytest.fixture
def exported(tmp_path):
    """Function that exports layers in a row, from one input named ``frames``, as a SavedModel."""
    import keras

    def export(*layers, shape=(6, 3), dtype="float32", name="frames"):
        keras.utils.set_random_seed(3)
        inputs = x = keras.Input(shape, name=name, dtype=dtype)
        for layer in layers:
            x = layer(x)
        keras.Model(inputs, x).export(tmp_path / "model", verbose=False)
        return tmp_path / "model"

    return export


def runner(path):
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(str(path)).get_signature_runner()


def difference(path, saved_model, inputs) -> float:
    """The largest difference between what the two files answer."""
    import tensorflow as tf

    wanted = tf.saved_model.load(str(saved_model)).signatures["serving_default"](**{k: tf.constant(v) for k, v in inputs.items()})
    answered = runner(path)(**inputs)
    assert set(answered) == set(wanted)
    return max(float(np.abs(answered[name] - wanted[name].numpy()).max()) for name in wanted)


def test_a_convolution_keeps_its_dynamic_batch_and_its_names(exported, tmp_path):
    from keras import layers

    source = exported(layers.Conv1D(4, 3, padding="causal"), layers.Dense(2, activation="gelu"), layers.Flatten())
    path, notes = ToLiteRT().write(source, tmp_path, None)
    assert notes == {}
    assert runner(path).get_input_details()["frames"]["shape_signature"].tolist() == [-1, 6, 3]
    assert difference(path, source, {"frames": np.random.default_rng(0).normal(size=(5, 6, 3)).astype(np.float32)}) < 1e-5


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN", "Bidirectional"])
def test_a_recurrent_layer_runs_with_the_batch_fixed_and_the_notes_say_why(exported, tmp_path, kind):
    from keras import layers

    layer = layers.Bidirectional(layers.LSTM(4)) if kind == "Bidirectional" else getattr(layers, kind)(4, return_sequences=True)
    source = exported(layer)
    path, notes = ToLiteRT().write(source, tmp_path, None)
    assert notes["batch"].startswith("fixed at 1: with a dynamic batch, LiteRT has no built-in operator for TensorListReserve (layer ")
    assert runner(path).get_input_details()["frames"]["shape_signature"].tolist() == [1, 6, 3]
    assert difference(path, source, {"frames": np.random.default_rng(0).normal(size=(1, 6, 3)).astype(np.float32)}) < 1e-5
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith("fixed-")] == []


def test_a_dynamic_time_axis_stays_dynamic_when_the_batch_is_fixed(exported, tmp_path):
    from keras import layers

    source = exported(layers.LSTM(4, return_sequences=True), shape=(None, 3))
    path, _ = ToLiteRT().write(source, tmp_path, None)
    for frames in (2, 9):
        assert difference(path, source, {"frames": np.random.default_rng(0).normal(size=(1, frames, 3)).astype(np.float32)}) < 1e-5


def test_an_unrolled_layer_keeps_its_dynamic_batch(exported, tmp_path):
    from keras import layers

    path, notes = ToLiteRT().write(exported(layers.GRU(4, unroll=True)), tmp_path, None)
    assert notes == {}
    assert runner(path).get_input_details()["frames"]["shape_signature"].tolist() == [-1, 6, 3]


def test_integer_inputs_and_names_that_are_no_identifiers_survive(exported, tmp_path):
    from keras import layers

    source = exported(layers.Embedding(9, 4), layers.GRU(3), shape=(5,), dtype="int32", name="token-ids.1")
    path, _ = ToLiteRT().write(source, tmp_path, None)
    name = next(iter(runner(path).get_input_details()))
    assert difference(path, source, {name: np.array([[1, 8, 0, 3, 2]], np.int32)}) < 1e-5


def test_an_operator_without_translation_is_named_with_its_layer_and_a_way_out(exported, tmp_path):
    from keras import layers

    source = exported(layers.IntegerLookup(vocabulary=[1, 5], name="codes"), shape=(1,), dtype="int64")
    with pytest.raises(RefusedError) as refusal:
        ToLiteRT().write(source, tmp_path, None)
    for words in (
        "no built-in operator for",
        "LookupTableFindV2 (layer codes",
        "also with the batch fixed at 1",
        "Keep this model as SavedModel",
    ):
        assert words in str(refusal.value)
    assert not (tmp_path / "model.tflite").exists()


def test_a_model_without_a_signature_is_refused(tmp_path):
    import tensorflow as tf

    tf.saved_model.save(tf.Module(), str(tmp_path / "empty"))
    with pytest.raises(RefusedError, match=r"empty has no signature serving_default, only \[\]; export the model with model.export"):
        ToLiteRT().write(tmp_path / "empty", tmp_path, None)


def test_the_batch_is_fixed_and_no_weight_changes(exported, tmp_path):
    import tensorflow as tf
    from keras import layers

    source = exported(layers.LSTM(4))
    fix_batch(source, tmp_path / "fixed")
    first, second = (tf.saved_model.load(str(folder)).signatures["serving_default"] for folder in (source, tmp_path / "fixed"))
    assert [spec.shape.as_list() for spec in second.structured_input_signature[1].values()] == [[1, 6, 3]]
    frames = tf.constant(np.random.default_rng(0).normal(size=(1, 6, 3)).astype(np.float32))
    np.testing.assert_array_equal(first(frames=frames)["output_0"], second(frames=frames)["output_0"])


def test_a_file_that_does_not_open_is_not_called_converted():
    with pytest.raises(RefusedError, match="the LiteRT file was written and does not run: "):
        require_a_run(b"TFL3 and nothing more")
