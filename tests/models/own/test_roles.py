"""Inputs that are lengths, masks, types or positions of others: what they are by name, and what is made up for them."""

import numpy as np
import pytest

from studylib.errors import ArtifactError
from studylib.models.own import data
from studylib.models.own.array_files import contradictions
from studylib.models.own.card import Card, InputCard
from studylib.models.own.roles import partner, role


def _input(name, dtype="int64", shape=(None, None)):
    return {"name": name, "shape": list(shape), "dtype": dtype, "axes": ["batch", *([None] * (len(shape) - 1))]}


IDS = _input("input_ids")


@pytest.mark.parametrize(
    ("name", "dtype", "expected"),
    [
        ("input_lengths", "int64", "length"),
        ("x_lengths", "int32", "length"),
        ("seq_len", "int64", "length"),
        ("lengths", "int64", "length"),
        ("attention_mask", "int64", "mask"),
        ("mask", "bool", "mask"),
        ("input_mask:0", "float32", "mask"),
        ("src_key_padding_mask", "bool", "padding"),
        ("token_type_ids", "int64", "types"),
        ("segment_ids", "int32", "types"),
        ("position_ids", "int64", "positions"),
        ("input_ids", "int64", None),
        ("max_length", "int64", None),
        ("length_scale", "float32", None),
        ("masked_lm_ids", "int64", None),
        ("composition", "int64", None),
        ("x", "float32", None),
    ],
)
def test_names_and_types_tell(name, dtype, expected):
    assert role(_input(name, dtype)) == expected


def test_an_input_speaks_of_the_one_that_its_name_names():
    text, audio = _input("tokens"), _input("audio", "float32")
    assert partner(_input("audio_lengths", shape=[None]), [text, audio])["name"] == "audio"
    assert partner(_input("lengths", shape=[None]), [text, audio])["name"] == "tokens"
    assert partner(_input("lengths", shape=[None]), []) is None


def _strict(inputs):
    """A model that answers NaN where nothing counts, and refuses what does not fit."""
    ids, length = inputs["input_ids"], inputs["input_lengths"]
    if (length > ids.shape[1]).any() or inputs["token_type_ids"].any():
        return None, "IndexError: out of range"
    with np.errstate(invalid="ignore"):
        kept = inputs["attention_mask"] * (np.arange(ids.shape[1]) < length[:, None])
        in_order = (inputs["position_ids"] == np.arange(ids.shape[1])).all(1)
        return {"y": np.where(in_order, (ids * kept).sum(1) / kept.sum(1), np.nan)}, None


EACH = [IDS, _input("attention_mask"), _input("input_lengths", shape=[None]), _input("token_type_ids"), _input("position_ids")]


def test_what_is_made_up_fits_together():
    made, notes = data.samples(EACH, Card(), None, data.Selection("test", 4, 1), _strict)
    assert made.inputs["input_lengths"].tolist() == [128] * 4
    assert (made.inputs["attention_mask"] == 1).all()
    assert (made.inputs["token_type_ids"] == 0).all()
    assert (made.inputs["position_ids"] == np.arange(128)).all()
    assert np.isfinite(_strict(made.batch(0, 4))[0]["y"]).all()
    assert "'input_lengths': 128, the length of 'input_ids', as its name says" in notes["assumed"]
    assert "'attention_mask': ones, so that all of it counts, as its name says" in notes["assumed"]


def test_a_planted_mask_of_zeros_and_a_length_beyond_the_axis_are_seen():
    made, _ = data.samples(EACH, Card(), None, data.Selection("test", 4, 1), _strict)
    assert contradictions(EACH, made.inputs) == []
    hidden = made.inputs | {"attention_mask": np.zeros_like(made.inputs["attention_mask"])}
    assert contradictions(EACH, hidden) == ["DATA's 'attention_mask' is zero for the whole of 4 of 4 samples"]
    assert np.isnan(_strict(hidden)[0]["y"]).all()
    longer = made.inputs | {"input_lengths": np.full(4, 129)}
    assert contradictions(EACH, longer) == ["DATA's 'input_lengths' goes up to 129, and no axis of 'input_ids' is longer than 128"]
    assert _strict(longer)[0] is None


def test_contradictions_in_data_are_told(tmp_path):
    arrays = {"input_ids": np.ones((10, 5), np.int64), "lengths": np.full(10, 900)}
    np.savez(tmp_path / "d.npz", **arrays)
    _, notes = data.samples([IDS, _input("lengths", shape=[None])], Card(), tmp_path / "d.npz", data.Selection("test", 8, 1), _strict)
    assert notes["assumed"] == ["DATA's 'lengths' goes up to 900, and no axis of 'input_ids' is longer than 5"]


def test_the_card_outweighs_names_and_gives_the_lengths_of_others():
    card = Card(inputs={"input_ids": InputCard(shape=(7,)), "attention_mask": InputCard(range=(0, 1))})
    made, _ = data.samples(EACH, card, None, data.Selection("test", 4, 1), lambda inputs: ({"y": np.ones(1)}, None))
    assert made.inputs["input_lengths"].tolist() == [7] * 4
    assert made.inputs["position_ids"].shape == (4, 7)
    assert (made.inputs["attention_mask"] == 0).all()


def test_a_length_in_floats_is_asked_for():
    with pytest.raises(ArtifactError, match=r"'wav_lens' seems to be the length of 'wavs'.*a count or a share.*give DATA, or its range"):
        data.samples(
            [_input("wavs", "float32"), _input("wav_lens", "float32", [None])], Card(), None, data.Selection("test", 4, 1), _strict
        )


def test_axes_that_are_sums_of_others_are_that_long():
    tensors = [_input("input_ids"), IDS | {"name": "past", "axes": ["batch", "past_sequence_length + 1"]}]
    made, _ = data.samples(tensors, Card(), None, data.Selection("test", 2, 1), lambda inputs: ({"y": np.ones(1)}, None))
    assert (made.inputs["input_ids"].shape, made.inputs["past"].shape) == ((2, 128), (2, 129))
