"""DeepSpeech with few units; the published size is checked by counting."""

import numpy as np
import pytest

from studylib.models.zoo import MODELS
from studylib.models.zoo.deepspeech import DeepSpeech, DeepSpeechStreaming

UNITS = 64


@pytest.fixture(scope="module")
def model():
    return DeepSpeech("tiny", UNITS)


@pytest.fixture(scope="module")
def network(model):
    return model.build(seed=1)


@pytest.fixture(scope="module")
def streaming():
    return DeepSpeechStreaming("tiny_streaming", UNITS).build(seed=1)


@pytest.fixture(scope="module")
def speech(model):
    return model.samples("test", 8, seed=3)


def _run_litert(content: bytes, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(model_content=content).get_signature_runner()(**inputs)


def test_the_published_size():
    assert MODELS["deepspeech"].units == 2048
    assert MODELS["deepspeech_small"].units == MODELS["deepspeech_small_streaming"].units == 512
    assert MODELS["deepspeech"].inputs == {"features": (64, 494)}


def test_layers_and_parameters_are_the_published_ones(network):
    square, lstm = UNITS * UNITS + UNITS, 4 * (2 * UNITS * UNITS + UNITS)
    assert network.count_params() == 494 * UNITS + UNITS + 3 * square + lstm + UNITS * 29 + 29
    clipped = [layer.max_value for layer in network.layers if type(layer).__name__ == "ReLU"]
    assert clipped == [20.0] * 4


def test_activations_are_neither_dead_nor_saturated(network, speech):
    import keras

    for name in ("dense_1", "dense_2", "dense_3", "dense_5"):
        seen = keras.Model(network.input, network.get_layer(f"{name}_clipped").output).predict(speech.inputs["features"], verbose=0)
        assert (seen.max(axis=(0, 1)) == 0).mean() < 0.3
        assert (seen >= 20).mean() < 0.01
        assert 0.2 < seen.std() < 2


def test_logits_are_spread_and_change_from_frame_to_frame(network, speech):
    logits = network.predict(speech.inputs["features"], verbose=0)
    assert logits.shape == (8, 64, 29)
    assert logits.std() == pytest.approx(3, rel=0.15)
    assert all(len(set(sample.argmax(axis=-1))) >= 5 for sample in logits)


def test_two_streamed_queries_are_one_pass(streaming):
    whole = DeepSpeech("tiny_whole", UNITS, frames=32)
    network = whole.build(seed=2)
    network.set_weights(streaming.get_weights())
    features = whole.samples("test", 4, seed=5).inputs["features"]
    expected = network.predict(features, verbose=0)
    state = {name: np.zeros((4, UNITS), np.float32) for name in ("state_h", "state_c")}
    first = streaming.predict({"features": features[:, :16], **state}, verbose=0)
    carried = {name: first[f"new_{name}"] for name in state}
    second = streaming.predict({"features": features[:, 16:], **carried}, verbose=0)
    assert np.allclose(np.concatenate([first["logits"], second["logits"]], axis=1), expected, atol=1e-4)
    forgotten = streaming.predict({"features": features[:, 16:], **state}, verbose=0)
    assert not np.allclose(forgotten["logits"], expected[:, 16:], atol=0.1)


def test_the_stream_has_the_weights_of_the_whole_windows(network, streaming):
    assert all(np.array_equal(a, b) for a, b in zip(network.get_weights(), streaming.get_weights(), strict=True))


def test_frames_are_standardised_smooth_and_carry_their_context():
    features = MODELS["deepspeech"].samples("test", 32, seed=1).inputs["features"].reshape(32, 64, 19, 26)
    assert abs(features.mean()) < 0.05
    assert features.std() == pytest.approx(1, abs=0.05)
    assert np.array_equal(features[:, 1:, :-1], features[:, :-1, 1:])  # frame t's context moves on by one
    middle = features[:, :, 9]
    assert (middle[:, 1:] * middle[:, :-1]).mean() == pytest.approx(0.9, abs=0.03)


def test_states_are_as_wide_as_those_of_a_running_stream(streaming):
    model = DeepSpeechStreaming("tiny_streaming", UNITS)
    samples = model.samples("test", 16, seed=1).inputs
    state = {name: np.zeros((16, UNITS), np.float32) for name in ("state_h", "state_c")}
    for seed in range(3):
        features = model.samples("test", 16, seed=seed).inputs["features"]
        outputs = streaming.predict({"features": features, **state}, verbose=0)
        state = {name: outputs[f"new_{name}"] for name in state}
    for name, seen in state.items():
        assert samples[name].std() == pytest.approx(seen.std(), rel=0.5)


def test_whole_windows_convert_to_litert_from_an_export_with_one_sample(network, speech, tmp_path):
    """A dynamic batch leaves the loop's lists without a shape, which LiteRT has no operator for."""
    import tensorflow as tf

    signature = [tf.TensorSpec((1, *tensor.shape[1:]), tensor.dtype, tensor.name) for tensor in network.inputs]
    network.export(tmp_path / "one", input_signature=signature, verbose=False)
    content = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "one")).convert()
    expected = network.predict(speech.inputs["features"], verbose=0)
    for index in range(2):
        (found,) = _run_litert(content, speech.batch(index, 1)).values()
        assert np.allclose(found, expected[index], atol=1e-4)


def test_a_stream_converts_to_litert_with_its_states(streaming, tmp_path):
    import tensorflow as tf

    samples = DeepSpeechStreaming("tiny_streaming", UNITS).samples("test", 2, seed=1)
    streaming.export(tmp_path / "model", verbose=False)
    content = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "model")).convert()
    found, expected = _run_litert(content, samples.batch(1, 1)), streaming.predict(samples.inputs, verbose=0)
    assert set(found) == {"logits", "new_state_h", "new_state_c"}
    assert all(np.allclose(found[name], expected[name][1], atol=1e-4) for name in expected)
