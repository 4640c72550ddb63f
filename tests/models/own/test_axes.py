"""Where the batch lies: in the card, in the names of axes, in the data, or in what the model answers. A wrong reading is caught."""

import numpy as np
import pytest

from studylib.errors import ArtifactError
from studylib.models.own import data
from studylib.models.own.axes import normalised, of_two_samples, read_axes
from studylib.models.own.card import Card, InputCard
from studylib.models.zoo import Samples

WAVE = [{"name": "x", "shape": [None], "dtype": "float32"}]
STREAM = [
    {"name": "input", "shape": [None, None], "dtype": "float32"},
    {"name": "state", "shape": [2, None, 128], "dtype": "float32"},
    {"name": "sr", "shape": [], "dtype": "int64"},
]


def _mean(inputs):
    """A model of one signal of any length."""
    return {"y": np.asarray([np.mean(inputs["x"]), np.std(inputs["x"])])}, None


def _each(inputs):
    return {"y": 2 * inputs["x"]}, None


def _spectrum(inputs):
    """A model of one signal, which has to be long enough."""
    return _mean(inputs) if len(inputs["x"]) >= 512 else (None, "too short for its window")


def _samples(tensors, ask, path=None, card=None, n=8):
    return data.samples(tensors, card or Card(), path, data.Selection("test", n, 1), ask)


def _npz(tmp_path, **arrays):
    np.savez(tmp_path / "data.npz", **arrays)
    return tmp_path / "data.npz"


def test_by_custom_the_batch_is_an_open_first_axis_or_the_only_open_one_or_nowhere():
    assert read_axes(STREAM, Card(), False).of == {"input": 0, "state": 1, "sr": None}
    assert read_axes(STREAM, Card(), False).doubtful == ("input",)
    assert read_axes(STREAM, Card(), True).doubtful == ()
    assert read_axes([{"name": "x", "shape": [1, 3], "dtype": "float32"}], Card(), False).of == {"x": None}
    card = Card(inputs={"state": InputCard(batch_axis=2), "input": InputCard(batch_axis="none")})
    assert read_axes(STREAM, card, False).of == {"input": None, "state": 2, "sr": None}
    with pytest.raises(ArtifactError, match="the card puts the batch of 'input' on axis 5; it has 2 axes"):
        read_axes(STREAM, Card(inputs={"input": InputCard(batch_axis=5)}), False)


@pytest.mark.parametrize(
    ("names", "axis"),
    [(["batch", "seq"], 0), (["N", None], 0), (["seq", "batch_size"], 1), (["sequence_length", None], None), (["time", "mel"], None)],
)
def test_the_names_of_axes_tell(names, axis):
    axes = read_axes([{"name": "x", "shape": [None, None], "dtype": "float32", "axes": names}], Card(), False)
    assert (axes.of, axes.doubtful) == ({"x": axis}, ())


def test_minus_one_is_an_open_axis():
    assert normalised([{"name": "x", "shape": [-1, 3, None], "dtype": "float32"}])[0]["shape"] == [None, 3, None]
    made, _ = _samples([{"name": "x", "shape": [-1, 3, -1, -1], "dtype": "float32"}], _each)
    assert made.inputs["x"].shape == (8, 3, 128, 128)


def test_a_signal_of_any_length_is_asked_with_more_than_one_value():
    made, notes = _samples(WAVE, _mean)
    assert made.inputs["x"].shape == (8, 128)
    assert made.batch(0, 1)["x"].shape == (128,)
    assert notes["assumed"][0] == (
        "'x': the first axis is a length and no batch, since the model does not answer two samples as it answers each alone"
    )
    assert "single" not in notes
    assert _samples(WAVE, _spectrum)[0].inputs["x"].shape == (8, 512)


def test_a_batch_of_single_values_is_told_in_the_row():
    made, notes = _samples(WAVE, _each)
    assert made.inputs["x"].shape == (8,)
    assert notes["single"] == ["'x' is a single value a sample; if it is one signal of any length, say `batch_axis: none` in the card"]
    made, notes = _samples(WAVE, _each, card=Card(inputs={"x": InputCard(batch_axis="none")}))
    assert (made.inputs["x"].shape, "single" in notes) == ((8, 128), False)


def test_an_input_left_one_value_long_is_told_in_the_row():
    one_step = [{"name": "x", "shape": [None, None], "dtype": "float32", "axes": ["batch", "time"]}]
    made, notes = _samples(one_step, lambda inputs: _each(inputs) if inputs["x"].shape[1] == 1 else (None, "one step a query"))
    assert made.inputs["x"].shape == (8, 1)
    assert notes["single"] == ["'x' is one value long where it may have any length, since the model answered no other length tried"]


def test_data_outweighs_what_nothing_else_tells(tmp_path):
    path = _npz(tmp_path, x=np.random.default_rng(0).normal(size=(10, 700)).astype(np.float32))
    made, notes = _samples(WAVE, _mean, path)
    assert made.batch(0, 1)["x"].shape == (700,)
    assert notes["assumed"] == ["'x': DATA holds one more axis than the input, so its first axis is no batch"]
    assert _samples(WAVE, _each, path)[0].batch(0, 1)["x"].shape == (700,)


def test_one_signal_given_as_samples_of_one_value_is_refused(tmp_path):
    path = _npz(tmp_path, x=np.random.default_rng(0).normal(size=700).astype(np.float32))
    with pytest.raises(
        ArtifactError, match=r"'x' has the shape \[700\].*its axis is a length\. Give signals as samples by length, \[1, 700\]"
    ):
        _samples(WAVE, _mean, path)
    assert _samples(WAVE, _each, path)[0].inputs["x"].shape == (8,)
    assert _samples(WAVE, _mean, path, Card(inputs={"x": InputCard(batch_axis=0)}))[0].inputs["x"].shape == (8,)


def test_frames_given_as_samples_are_told(tmp_path):
    frames = [{"name": "x", "shape": [None, 8], "dtype": "float32"}]
    path = _npz(tmp_path, x=np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32))
    _, notes = _samples(frames, lambda inputs: ({"y": np.cumsum(inputs["x"], 0)}, None), path)
    assert notes["warnings"][0].startswith(
        "the first axis of 'x' is the batch by DATA's shape, and the model does not answer two samples as"
    )
    assert "warnings" not in _samples(frames, _each, path)[1]
    named = [frames[0] | {"axes": ["sequence_length", None]}]
    with pytest.raises(ArtifactError, match=r"takes \[20, 'any', 8\], the sample first; its first axis is a length and no batch"):
        _samples(named, _each, path)


@pytest.mark.parametrize(
    ("answer", "alike"),
    [
        (lambda x: 2 * x, "each"),
        (lambda x: x.sum(1), "each"),
        (lambda x: np.concatenate([x[:1]] * len(x)), "first"),  # the first answer for all
        (lambda x: x[:1], "first"),
        (lambda x: x[::-1], "mixed"),
        (lambda x: x - x.mean(0), "mixed"),
        (lambda x: x.mean(0), "mixed"),
        (lambda x: x + np.random.default_rng().normal(size=x.shape), None),
    ],
)
def test_only_a_batch_is_answered_as_each_alone(answer, alike):
    x = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
    assert of_two_samples(Samples({"x": x}, None, {"x": 0}), lambda inputs: ({"y": answer(inputs["x"])}, None)) is alike
    assert of_two_samples(Samples({"x": x}, None, {"x": 0}), lambda inputs: (None, "refused")) is None


def test_a_batch_baked_into_the_file_is_no_length_and_a_mix_of_pictures_is_told_in_the_row():
    wide = [{"name": "x", "shape": [None, 8], "dtype": "float32"}]
    made, notes = _samples(wide, lambda inputs: ({"y": inputs["x"][:1]}, None))
    assert made.batch(0, 1)["x"].shape == (1, 8)
    assert "of which the model answers the first sample only" in notes["assumed"][0]
    assert _samples(wide, lambda inputs: ({"y": np.cumsum(inputs["x"], 0)}, None))[0].batch(0, 1)["x"].shape == (128, 8)
    pictures = [{"name": "x", "shape": [None, 8, 8, 3], "dtype": "float32"}]
    made, notes = _samples(pictures, lambda inputs: ({"y": inputs["x"].mean(0)}, None))
    assert made.batch(0, 1)["x"].shape == (1, 8, 8, 3)
    assert notes["single"][0].startswith("'x': the first axis is taken for the batch, although two samples are not answered as each alone")
