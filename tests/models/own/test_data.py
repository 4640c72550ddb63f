"""Samples for a user's model: fitted to what the file says, refused in words where they do not fit, invented where there are none."""

import re
import zipfile

import numpy as np
import pytest

from studylib.errors import ArtifactError, InputError
from studylib.models.own import data
from studylib.models.own.card import Card, InputCard

IMAGE = [{"name": "image", "shape": [None, 8, 8, 3], "dtype": "float32"}]
TEXT = [{"name": "ids", "shape": [None, None], "dtype": "int64"}, {"name": "mask", "shape": [None, None], "dtype": "int64"}]
STREAM = [
    {"name": "input", "shape": [None, None], "dtype": "float32"},
    {"name": "state", "shape": [2, None, 128], "dtype": "float32"},
    {"name": "sr", "shape": [], "dtype": "int64"},
]
FIXED = [{"name": "x", "shape": [1, 3, 4, 4], "dtype": "float32"}]


def _each_alone(inputs):
    """A model that answers each sample of a batch by itself."""
    first = next(iter(inputs.values()))
    return {"y": np.asarray(first, float).reshape(len(first), -1).sum(1)}, None


def _samples(tensors, path=None, card=None, split="test", n=8, seed=1, ask=_each_alone):
    return data.samples(tensors, card or Card(), path, data.Selection(split, n, seed), ask)


def _npz(tmp_path, **arrays):
    np.savez(tmp_path / "data.npz", **arrays)
    return tmp_path / "data.npz"


def test_seeded_inputs_have_the_shape_the_file_declares_and_say_what_was_assumed():
    made, notes = _samples(IMAGE)
    assert made.inputs["image"].shape == (8, 8, 8, 3)
    assert made.inputs["image"].dtype == np.float32
    assert notes["assumed"] == [
        "'image': the first axis is the batch, since the model answers two samples together as it answers each alone",
        "'image': standard normal values",
        "no DATA was given: inputs are seeded noise, so there is fidelity and speed and no accuracy",
    ]
    again, _ = _samples(IMAGE)
    other, _ = _samples(IMAGE, split="train")
    assert np.array_equal(made.inputs["image"], again.inputs["image"])
    assert not np.array_equal(made.inputs["image"], other.inputs["image"])


def test_dynamic_axes_take_the_first_length_that_the_model_answers():
    made, notes = _samples(TEXT, ask=lambda inputs: _each_alone(inputs) if inputs["ids"].shape[1] == 64 else (None, "too long"))
    assert made.inputs["ids"].shape == (8, 64)
    assert "'ids': dynamic axes are 64 long, so a sample has the shape [64]" in notes["assumed"]
    assert "'ids': whole numbers 0 and 1, since nothing says how large they may be" in notes["assumed"]


def test_a_model_that_refuses_everything_is_told_so_with_its_own_words():
    with pytest.raises(ArtifactError, match=r"the model refuses seeded inputs .*: ValueError: sr must be 16000\. Give real ones with DATA"):
        _samples(STREAM, ask=lambda inputs: (None, "ValueError: sr must be 16000"))


def test_a_card_gives_shapes_and_ranges():
    card = Card(inputs={"ids": InputCard(shape=(5,), range=(100, 200)), "mask": InputCard(shape=(5,), range=(1, 2))})
    made, notes = _samples(TEXT, card=card)
    assert made.inputs["ids"].min() >= 100
    assert made.inputs["ids"].max() < 200
    assert (made.inputs["mask"] == 1).all()
    assert len(notes["assumed"]) == 2


def test_a_card_that_names_another_input_is_refused():
    with pytest.raises(ArtifactError, match="the card names the input 'picture'; the model has image"):
        _samples(IMAGE, card=Card(inputs={"picture": InputCard()}))


def test_states_and_rates_are_put_together_as_the_model_takes_them():
    made, _ = _samples(STREAM)
    query = made.batch(0, 3)
    assert {name: values.shape for name, values in query.items()} == {"input": (3, 128), "state": (2, 3, 128), "sr": ()}
    fixed, _ = _samples(FIXED)
    assert fixed.batch(0, 1)["x"].shape == (1, 3, 4, 4)
    with pytest.raises(ArtifactError, match="the input 'x' has no batch axis: the model answers one sample a query, not 2"):
        fixed.batch(0, 2)


def test_npz_with_labels_is_split_and_never_calibrated_on_what_is_evaluated(tmp_path):
    images = np.random.default_rng(0).random((50, 8, 8, 3)).astype(np.float32)
    path = _npz(tmp_path, image=images, labels=np.arange(50))
    assert data.has_labels(path)
    test, _ = _samples(IMAGE, path, n=1000)
    train, _ = _samples(IMAGE, path, n=1000, split="train")
    assert (len(test), len(train)) == (40, 10)
    assert not set(test.labels) & set(train.labels)
    assert all(np.array_equal(test.inputs["image"][index], images[label]) for index, label in enumerate(test.labels))


def test_a_single_array_needs_no_name_and_smaller_numbers_are_taken(tmp_path):
    made, _ = _samples(IMAGE, _npz(tmp_path, x=np.ones((4, 8, 8, 3), np.uint8)))
    assert made.inputs["image"].dtype == np.float32
    assert made.labels is None


@pytest.mark.parametrize("name", ["z", "labels_of_all", "image_1"])
def test_a_single_array_of_another_name_is_refused_with_both_names(tmp_path, name):
    with pytest.raises(ArtifactError, match=rf"DATA data\.npz holds {name}; the model takes image; missing: image"):
        _samples(IMAGE, _npz(tmp_path, **{name: np.ones((4, 8, 8, 3), np.float32)}))


def test_label_is_an_input_where_an_input_is_called_so(tmp_path):
    inputs = [{"name": "noise", "shape": [None, 16], "dtype": "float32"}, {"name": "label", "shape": [None], "dtype": "int64"}]
    path = _npz(tmp_path, noise=np.ones((10, 16), np.float32), label=np.arange(10))
    made, _ = _samples(inputs, path, n=100)
    assert (made.labels, made.inputs["label"].shape) == (None, (8,))
    assert not data.has_labels(path, lambda: ["noise", "label"])
    assert data.has_labels(path, lambda: ["noise"])
    assert data.has_labels(path)  # where the names of the inputs are not known
    both = _npz(tmp_path, noise=np.ones((10, 16), np.float32), label=np.arange(10), labels=np.arange(10) % 2)
    assert data.has_labels(both, lambda: ["noise", "label"])
    made, _ = _samples(inputs, both, n=100)
    assert made.labels.tolist() == (made.inputs["label"] % 2).tolist()


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (np.arange(10)[:, None], r"'labels' has the shape \(10, 1\) and is read as one label a sample"),
        (np.eye(10), r"'labels' is one-hot over 10 classes"),
        (np.arange(10.0), r"'labels' is float64 and holds whole numbers, read as classes"),
    ],
)
def test_labels_in_other_forms_are_read_and_told(tmp_path, labels, told):
    images = np.zeros((10, 8, 8, 3), np.float32) + np.arange(10, dtype=np.float32)[:, None, None, None]
    made, notes = _samples(IMAGE, _npz(tmp_path, image=images, labels=labels), n=100)
    assert made.labels.tolist() == made.inputs["image"][:, 0, 0, 0].astype(int).tolist()
    (only,) = notes["accuracy"]
    assert re.match(told, only)


def test_labels_that_are_no_classes_are_refused(tmp_path):
    for labels in (np.full((10, 2), 0.5), np.array(["cat"] * 10), np.ones((10, 3))):
        with pytest.raises(ArtifactError, match=r"labels are .*; give one whole number for each sample"):
            _samples(IMAGE, _npz(tmp_path, image=np.zeros((10, 8, 8, 3), np.float32), labels=labels))


def test_the_files_own_batch_of_one_need_not_be_repeated(tmp_path):
    made, _ = _samples(FIXED, _npz(tmp_path, x=np.ones((5, 3, 4, 4), np.float32)))
    assert made.batch(0, 1)["x"].shape == (1, 3, 4, 4)
    signal = [{"name": "x", "shape": [1, None], "dtype": "float32"}]
    made, _ = _samples(signal, _npz(tmp_path, x=np.ones((5, 700), np.float32)))
    assert made.batch(0, 1)["x"].shape == (1, 700)


def test_what_archivers_leave_in_a_folder_or_archive_is_passed_over(tmp_path):
    np.save(tmp_path / "image.npy", np.zeros((5, 8, 8, 3), np.float32))
    (tmp_path / "._image.npy").write_bytes(b"Mac OS X")
    assert len(_samples(IMAGE, tmp_path)[0]) == 4
    path = _npz(tmp_path, image=np.zeros((5, 8, 8, 3), np.float32))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("__MACOSX/._image.npy", b"Mac OS X")
    assert len(_samples(IMAGE, path)[0]) == 4


def test_pictures_beside_arrays_are_not_read_and_that_is_said(tmp_path):
    np.save(tmp_path / "image.npy", np.zeros((5, 8, 8, 3), np.float32))
    (tmp_path / "preview.png").write_bytes(b"")
    assert "1 pictures lie beside the arrays and are not read" in _samples(IMAGE, tmp_path)[1]["assumed"]


def test_a_folder_of_arrays(tmp_path):
    np.save(tmp_path / "image.npy", np.zeros((5, 8, 8, 3), np.float32))
    np.save(tmp_path / "labels.npy", np.arange(5))
    made, _ = _samples(IMAGE, tmp_path)
    assert len(made) == 4
    assert data.has_labels(tmp_path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"image": np.zeros((4, 9, 8, 3), np.float32)}, r"DATA for 'image' has the shape \[4, 9, 8, 3\]; the model takes \[4, 8, 8, 3\]"),
        ({"image": np.zeros((4, 8, 8), np.float32)}, r"has the shape \[4, 8, 8\]; the model takes \[4, 8, 8, 3\], the sample first"),
        ({"image": np.zeros((4, 8, 8, 3), complex)}, r"DATA for 'image' is complex128; the model takes float32"),
        ({"image": np.full((4, 8, 8, 3), np.nan, np.float32)}, r"DATA for 'image' holds NaN or infinity"),
        ({"image": np.zeros((4, 8, 8, 3), np.float32), "labels": np.arange(3)}, r"3 labels for 4 samples; give one for each"),
        (
            {"image": np.zeros((4, 8, 8, 3), np.float32), "labels": np.full(4, 0.5)},
            r"labels are float64 of shape \(4,\); give one whole",
        ),
        ({"image": np.zeros((0, 8, 8, 3), np.float32)}, r"DATA holds no sample"),
        ({"a": np.zeros(4), "b": np.zeros(4)}, r"DATA data\.npz holds a, b; the model takes image; missing: image\. Name each array"),
    ],
)
def test_data_that_does_not_fit_is_refused_in_words(tmp_path, arrays, message):
    with pytest.raises(ArtifactError, match=message):
        _samples(IMAGE, _npz(tmp_path, **arrays))


def test_several_inputs_must_hold_as_many_samples(tmp_path):
    with pytest.raises(ArtifactError, match=r"DATA for 'mask' has 3 samples and another input 4; give as many of each"):
        _samples(TEXT, _npz(tmp_path, ids=np.zeros((4, 5), np.int64), mask=np.zeros((3, 5), np.int64)))


def test_whole_numbers_are_not_made_of_fractions(tmp_path):
    with pytest.raises(
        ArtifactError, match=r"DATA for 'ids' is float32; the model takes int64\. Convert it, since rounding would change it"
    ):
        _samples(TEXT, _npz(tmp_path, ids=np.zeros((4, 5), np.float32), mask=np.zeros((4, 5), np.int64)))


def test_one_sample_serves_evaluation_and_not_calibration(tmp_path):
    path = _npz(tmp_path, image=np.zeros((1, 8, 8, 3), np.float32))
    assert len(_samples(IMAGE, path)[0]) == 1
    with pytest.raises(ArtifactError, match=r"DATA holds one sample, which evaluation needs; calibration needs others"):
        _samples(IMAGE, path, split="train")


def test_pickles_are_never_read(tmp_path):
    path = _npz(tmp_path, image=np.array([{"a": 1}], object))
    assert not data.has_labels(path)
    with pytest.raises(InputError, match=r"cannot be read as \.npz without running code"):
        _samples(IMAGE, path)


def test_data_that_is_not_there_or_no_data_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no such file or folder\. Give a \.npz file"):
        data.check_path(tmp_path / "gone.npz")
    (tmp_path / "x.csv").write_text("1,2")
    with pytest.raises(InputError, match=r"the ending '\.csv' is not known"):
        data.check_path(tmp_path / "x.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"the folder holds no \.npy file and no picture"):
        data.check_path(tmp_path / "empty")
    path = _npz(tmp_path, image=np.zeros((100, 8, 8, 3)))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"no \.npz archive, or cut off"):
        data.has_labels(path)


def test_an_input_that_holds_for_all_samples_is_given_once(tmp_path):
    window = [{"name": "x", "shape": [None, 4], "dtype": "float32"}, {"name": "window", "shape": [9], "dtype": "float32"}]
    path = _npz(tmp_path, x=np.zeros((5, 4), np.float32), window=np.arange(9, dtype=np.float32))
    made, _ = _samples(window, path)
    assert made.batch(0, 2)["window"].tolist() == list(range(9))


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        ({"name": "x", "shape": None, "dtype": "float32"}, "the input 'x' declares no shape"),
        ({"name": "x", "shape": [None], "dtype": "string"}, "the input 'x' takes string; only numbers and booleans"),
        ({"name": "x", "shape": [None], "dtype": "bfloat16"}, "the input 'x' takes bfloat16; only numbers"),
    ],
)
def test_inputs_that_no_sample_can_be_made_for_are_refused(tensor, message):
    with pytest.raises(ArtifactError, match=message):
        _samples([tensor])


def test_an_array_called_npz_is_refused(tmp_path):
    with (tmp_path / "data.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(InputError, match=r"is no \.npz archive, or cut off"):
        data.has_labels(tmp_path / "data.npz")


@pytest.mark.parametrize(
    ("values", "dtype", "message"),
    [
        (np.array([[2**40]]), "int32", r"is int64 and holds 1099511627776, which int32 cannot hold"),
        (np.array([[300]], np.uint16), "uint8", r"is uint16 and holds 300, which uint8 cannot hold"),
        (np.array([[2**24 + 1]]), "float32", r"is int64 and holds 16777217, which float32 cannot hold"),
        (np.array([[1e300]]), "float32", r"is float64 and holds 1e\+300, which float32 cannot hold"),
    ],
)
def test_numbers_are_never_changed_by_the_type_the_model_takes(tmp_path, values, dtype, message):
    with pytest.raises(ArtifactError, match=message):
        _samples([{"name": "x", "shape": [None, 1], "dtype": dtype}], _npz(tmp_path, x=values))
