"""BERT at a size that builds in a second; the published size is checked by counting."""

import numpy as np
import pytest

from studylib.models.zoo import MODELS
from studylib.models.zoo.bert import BertBase

TOKENS = 32
SMALL = BertBase("small", TOKENS, layers=2, hidden=192, heads=3, vocabulary=1500)


@pytest.fixture(scope="module")
def network():
    return SMALL.build(seed=1)


@pytest.fixture(scope="module")
def samples():
    return SMALL.samples("test", 8, seed=1)


def _answers(network, inputs) -> dict[str, np.ndarray]:
    return network.predict(inputs, verbose=0)


def test_the_published_size():
    assert [MODELS[name].parameters for name in ("bert_base", "bert_base_384")] == [108_893_186] * 2
    assert MODELS["bert_base"].inputs["input_ids"] == (128,)
    assert MODELS["bert_base_384"].inputs["attention_mask"] == (384,)


def test_it_has_as_many_parameters_as_it_says(network):
    assert network.count_params() == SMALL.parameters


def test_two_logits_for_every_token_that_differ_between_samples(network, samples):
    answers = _answers(network, samples.inputs)
    assert set(answers) == {"start_logits", "end_logits"}
    for logits in answers.values():
        assert logits.shape == (8, TOKENS)
        assert np.isfinite(logits).all()
        assert logits.std() > 0.05
        assert len(set(logits.argmax(axis=1))) > 2
    assert not np.allclose(answers["start_logits"], answers["end_logits"], atol=0.01)


def test_padding_is_not_looked_at_and_other_tokens_are(network, samples):
    mask = samples.inputs["attention_mask"] == 1
    assert not mask.all()
    plain = _answers(network, samples.inputs)["start_logits"]

    def changed_where(where) -> np.ndarray:
        ids = np.where(where, 500, samples.inputs["input_ids"])
        return _answers(network, samples.inputs | {"input_ids": ids})["start_logits"]

    assert np.array_equal(changed_where(~mask)[mask], plain[mask])
    first_word = np.arange(TOKENS) == 1
    assert np.abs(changed_where(first_word) - plain)[mask & ~first_word].max() > 1e-4


def test_every_token_has_its_place_and_its_segment(network, samples):
    same = samples.inputs | {"input_ids": np.full((8, TOKENS), 700, np.int32)}
    assert _answers(network, same)["end_logits"].std(axis=1).min() > 0.01
    other = samples.inputs | {"token_type_ids": 1 - samples.inputs["token_type_ids"]}
    assert np.abs(_answers(network, other)["end_logits"] - _answers(network, samples.inputs)["end_logits"]).max() > 1e-3


def test_activations_are_exact_and_norms_are_as_published(network):
    import keras

    x = np.linspace(-4, 4, 50).astype(np.float32)
    exact = np.asarray(keras.activations.gelu(x, approximate=False))
    assert np.array_equal(np.asarray(network.get_layer("layer_1_feed_forward").activation(x)), exact)
    norms = [layer for layer in network.layers if isinstance(layer, keras.layers.LayerNormalization)]
    assert [layer.epsilon for layer in norms] == [1e-12] * 5


def test_samples_look_like_questions_and_contexts():
    model = MODELS["bert_base"]
    inputs = model.samples("test", 64, seed=2).inputs
    ids, mask, types = (inputs[name] for name in model.inputs)
    lengths = mask.sum(axis=1)
    assert lengths.min() >= 42
    assert lengths.max() <= 128
    assert lengths.std() > 10
    for sample, length, segment in zip(ids, lengths, types, strict=True):
        assert sample[0] == 101
        assert sample[length - 1] == 102
        assert (sample[length:] == 0).all()
        (question,) = np.flatnonzero(sample[: length - 1] == 102)
        assert 7 <= question <= 17
        assert np.array_equal(np.flatnonzero(segment), np.arange(question + 1, length))
    assert ids.max() < model.vocabulary


def test_it_is_saved_and_converted_with_its_names(network, samples, tmp_path):
    import keras
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    expected = _answers(network, samples.inputs)
    network.save(tmp_path / "model.keras")
    again = _answers(keras.models.load_model(tmp_path / "model.keras", safe_mode=True), samples.inputs)
    assert all(np.array_equal(again[name], expected[name]) for name in expected)
    network.export(tmp_path / "model", verbose=False)
    # Built-in operators are all the converter takes unless told otherwise.
    content = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "model")).convert()
    run = Interpreter(model_content=content).get_signature_runner()
    for index in range(2):
        found = run(**samples.batch(index, 1))
        assert all(np.allclose(found[name], expected[name][index], atol=1e-5) for name in expected)
