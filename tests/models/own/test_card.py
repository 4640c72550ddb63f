"""The model card: what it may say, and what is refused in words."""

import pytest

from studylib.errors import ParameterError
from studylib.models.own.card import read_card


def _card(tmp_path, text):
    (tmp_path / "m.yaml").write_text(text, encoding="utf-8")
    return read_card(tmp_path / "m.onnx")


def test_a_card_is_read_beside_the_model_and_may_be_absent(tmp_path):
    assert read_card(tmp_path / "m.onnx").task is None
    card = _card(tmp_path, "task: classification\nlabels: [cat, dog]\ninputs:\n  x: {shape: [3], range: [0, 1], std: [0.5]}\n")
    assert (card.task, card.labels, card.inputs["x"].shape, card.inputs["x"].std) == ("classification", ("cat", "dog"), (3,), (0.5,))
    (tmp_path / "m.onnx.yaml").write_text("task: other")
    assert read_card(tmp_path / "m.onnx").task == "other"


def test_a_card_says_where_the_batch_lies_or_that_it_lies_nowhere(tmp_path):
    card = _card(tmp_path, "inputs: {x: {batch_axis: none}, y: {batch_axis: 1}, z: {}}")
    assert [card.inputs[name].batch_axis for name in "xyz"] == ["none", 1, None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tusk: other", r"unknown key 'tusk'\. Known: task, labels, inputs, signature\. Did you mean 'task'\?"),
        ("task: vision", r"task is 'vision'; it should be 'classification'"),
        ("inputs: {x: {shap: [3]}}", r"unknown key 'inputs\.x\.shap'\. Known: shape, .*Did you mean 'shape'\?"),
        ("inputs: {x: {range: [5, 1]}}", r"range should name a smaller number and then a larger one"),
        ("inputs: {x: {range: [0, .inf]}}", r"it should hold finite numbers"),
        ("inputs: {x: {std: [0]}}", r"scale and std should not be 0"),
        ("inputs: {x: {shape: [16000000, 16000000]}}", r"shape should hold at most 268435456 values"),
        ("inputs: {x: {shape: [0]}}", r"inputs\.x\.shape\.0 is 0; it should be greater than or equal to 1"),
        ("inputs: {x: {batch_axis: 9}}", r"batch_axis is 9; it should be the number of an axis, 0 to 7, or none"),
        ("inputs: {x: {batch_axis: first}}", r"batch_axis is 'first'; it should be the number of an axis, 0 to 7, or none"),
        ("inputs: {x: {batch_axis: true}}", r"batch_axis is True; it should be the number of an axis"),
        ("[1, 2]", r"holds list; it must hold keys with values"),
        ("a: *b", r"not readable as YAML"),
    ],
)
def test_what_a_card_may_not_say_is_refused(tmp_path, text, message):
    with pytest.raises(ParameterError, match=message):
        _card(tmp_path, text)
