"""Folders of pictures as people have them: what counts, which folder is which class, how a picture becomes an input."""

import shutil

import numpy as np
import pytest
from PIL import Image

from studylib.errors import ArtifactError, InputError
from studylib.models.own import data
from studylib.models.own.card import Card, InputCard
from studylib.models.own.picture_folder import in_order, picture_folder

IMAGE = [{"name": "image", "shape": [None, 8, 8, 3], "dtype": "float32"}]
COLOURS = {"blue": (20, 20, 220), "green": (20, 220, 20), "red": (220, 20, 20)}


def _scores(classes):
    """A model of that many classes that answers anything."""
    return lambda inputs: ({"scores": np.full((len(inputs["image"]), classes), 1 / classes, np.float32)}, None)


def _samples(path, tensors=IMAGE, card=None, classes=3, n=100, ask=None, split="test"):
    return data.samples(tensors, card or Card(), path, data.Selection(split, n, 1), ask or _scores(classes), True)


def _class(folder, colour, n=5, suffix=".png"):
    folder.mkdir(parents=True)
    for index in range(n):
        Image.new("RGB", (20, 30), colour).save(folder / f"{index}{suffix}")


def _channels(channels, dtype="float32"):
    return [{"name": "image", "shape": [None, 8, 8, channels], "dtype": dtype}]


@pytest.fixture
def colours(tmp_path):
    for name, colour in COLOURS.items():
        _class(tmp_path / "colours" / name, colour)
    return tmp_path / "colours"


def _right(made, order):
    """The share of samples whose colour is that of their label, in this order of classes."""
    wanted = np.array([COLOURS[name] for name in order], np.float32) / 255
    return float((np.abs(made.inputs["image"][:, 0, 0] - wanted[made.labels]).max(1) < 0.01).mean())


def test_each_folder_is_a_class_and_a_turned_order_is_caught(colours):
    made, notes = _samples(colours)
    assert _right(made, COLOURS) == 1
    assert _right(made, list(COLOURS)[::-1]) < 0.6
    assert notes["accuracy"] == [
        "classes are the folders' names by alphabet: blue is class 0, green is class 1, red is class 2; "
        "`labels` in a card beside the model can say otherwise",
        "pictures are resized to 8x8 (width by height), colours in the order RGB",
        "values 0 to 255 are multiplied by 1/255, mean 0, std 1, which nothing said; `scale`, `mean`, `std` in a card can say otherwise",
    ]
    assert "warnings" not in notes
    made, notes = _samples(colours, card=Card(labels=("red", "green", "blue"), inputs={"image": InputCard(scale=1 / 255)}))
    assert _right(made, ("red", "green", "blue")) == 1
    assert notes["accuracy"][0] == "classes are the card's labels in their order"
    assert notes["accuracy"][2].endswith("as the card says")


@pytest.mark.parametrize(
    "left", [".ipynb_checkpoints/0-checkpoint.png", "red/._0.png", "red/.DS_Store", "__MACOSX/red/._0.png", "Thumbs.db"]
)
def test_what_systems_leave_behind_is_passed_over(colours, left):
    before, _ = _samples(colours)
    (colours / left).parent.mkdir(parents=True, exist_ok=True)
    (colours / left).write_bytes(b"\x00\x05\x16\x07 Mac OS X")
    made, notes = _samples(colours)
    assert made.labels.tolist() == before.labels.tolist()
    assert _right(made, COLOURS) == 1
    assert notes["accuracy"][0].count("is class") == 3
    assert data.has_labels(colours)


def test_fewer_folders_than_classes_are_a_warning_and_more_are_refused(colours):
    _, notes = _samples(colours, classes=4)
    assert notes["warnings"] == [
        "3 class folders for a model of 4 classes and no `labels` in a card: blue is class 0, green is class 1, red is class 2. "
        "If that is wrong, so is the accuracy"
    ]
    assert "warnings" not in _samples(colours, card=Card(labels=("blue", "green", "red", "grey")), classes=4)[1]
    with pytest.raises(ArtifactError, match=r"colours has 3 class folders \(blue, green, red\), and the model 2 classes"):
        _samples(colours, classes=2)
    with pytest.raises(ArtifactError, match=r"the card has 4 labels, and the model 3 classes"):
        _samples(colours, card=Card(labels=("blue", "green", "red", "grey")))
    with pytest.raises(ArtifactError, match=r"the folder 'green' is no label of the card \(blue, red\)"):
        _samples(colours, card=Card(labels=("blue", "red")))


def test_numbers_are_in_the_order_of_numbers(tmp_path):
    assert in_order(["10", "2", "0", "1"]) == ["0", "1", "2", "10"]
    assert in_order(["b10", "b2", "a"]) == ["a", "b10", "b2"]
    for name in ("0", "1", "2", "10"):
        _class(tmp_path / "n" / name, (int(name) * 20, 0, 0), n=12)
    made, notes = _samples(tmp_path / "n", classes=4)
    assert made.labels.tolist() == [[0, 1, 2, 10].index(round(value * 255 / 20)) for value in made.inputs["image"][:, 0, 0, 0]]
    assert "in order of number: 0 is class 0, 1 is class 1, 2 is class 2, 10 is class 3" in notes["accuracy"][0]
    assert [file.stem for file in picture_folder(tmp_path / "n").files[:12]] == [str(number) for number in range(12)]
    made, notes = _samples(tmp_path / "n", classes=11)  # some of the eleven: the number itself is the class
    assert made.labels.tolist() == [round(value * 255 / 20) for value in made.inputs["image"][:, 0, 0, 0]]
    assert "10 is class 10" in notes["warnings"][0]


def test_pictures_beside_or_below_the_class_folders_and_empty_ones(colours):
    _class(colours / "red" / "more", (0, 0, 0), n=2)
    assert _samples(colours)[1]["warnings"] == ["2 pictures lie deeper than one folder (red/more/0.png for one) and are not read"]
    (colours / "cyan").mkdir()
    with pytest.raises(ArtifactError, match=r"the folder 'cyan' holds no picture, and the order of the others as classes depends on it"):
        _samples(colours)
    assert _right(_samples(colours, card=Card(labels=tuple(COLOURS)))[0], COLOURS) == 1
    (colours / "cyan").rmdir()
    shutil.copy(colours / "red" / "0.png", colours / "front.png")
    with pytest.raises(ArtifactError, match=r"1 pictures lie beside the class folders \(blue, green, red\), first front\.png"):
        _samples(colours)


def test_a_folder_above_the_class_folders_is_refused_with_the_right_one(colours):
    (colours.parent / "set").mkdir()
    shutil.move(colours, colours.parent / "set" / "train")
    with pytest.raises(
        InputError, match=r"15 pictures lie deeper than one folder \(train/blue/0\.png .*Give the folder .*set/train for one"
    ):
        data.check_path(colours.parent / "set")


def _halves(folder, top, save, n=12):
    folder.mkdir(parents=True)
    for index in range(n):
        values = np.full((32, 32), 0.3)
        values[slice(0, 16) if top else slice(16, 32)] = 0.8
        save(values, folder / str(index))


def _deep(values, file):
    Image.fromarray((values * 65535).astype(np.uint16)).save(f"{file}.png")


def _turned(values, file):
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray((values * 255).astype(np.uint8)).convert("RGB").rotate(180).save(f"{file}.jpg", exif=exif, quality=95)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(
    ("save", "told"), [(_deep, "pictures that have 16 bits, of which 65535 is read as 255"), (_turned, "turned or mirrored as their EXIF")]
)
def test_sixteen_bits_are_scaled_and_pictures_stand_upright(tmp_path, save, told, channels):
    for name, top in (("bottom", False), ("top", True)):
        _halves(tmp_path / "d" / name, top, save)
    made, notes = _samples(tmp_path / "d", _channels(channels), classes=2)
    colours = made.inputs["image"][..., : min(channels, 3)]
    upper, lower = colours[:, :3].mean((1, 2, 3)), colours[:, 5:].mean((1, 2, 3))
    assert ((upper > lower) == (made.labels == 1)).all()
    assert np.allclose(np.maximum(upper, lower), 0.8, atol=0.03)
    assert np.allclose(np.minimum(upper, lower), 0.3, atol=0.03)
    assert any(told in note for note in notes["accuracy"])
    if channels == 4:
        assert (made.inputs["image"][..., 3] == 1).all()


def _one(tmp_path, image, name="a.png", channels=3, **options):
    folder = tmp_path / "one"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    image.save(folder / name, **options)
    made, notes = _samples(folder, _channels(channels))
    return made.inputs["image"][0, 0, 0], " ".join(notes["assumed"])


def test_every_kind_of_picture_fills_the_channels_or_is_told(tmp_path):
    red = Image.new("RGB", (4, 4), (255, 0, 0))
    half = Image.new("RGBA", (4, 4), (255, 0, 0, 128))
    value, told = _one(tmp_path, half)
    assert np.allclose(value, [1, 127 / 255, 127 / 255], atol=0.01)
    assert "transparent, laid on white: 1" in told
    value, told = _one(tmp_path, half, channels=4)
    assert np.allclose(value, [1, 0, 0, 128 / 255], atol=0.01)
    assert "transparen" not in told
    value, told = _one(tmp_path, red, channels=4)
    assert value.tolist() == [1, 0, 0, 1]
    assert "no transparency, the fourth channel 255: 1" in told
    value, told = _one(tmp_path, red, channels=1)
    assert value.shape == (1,)
    assert "coloured, turned into grey: 1" in told
    value, told = _one(tmp_path, Image.new("L", (4, 4), 51))
    assert np.allclose(value, 0.2)
    assert "grey, the same value in each channel: 1" in told
    assert _one(tmp_path, Image.new("1", (4, 4), 1))[0].tolist() == [1, 1, 1]
    assert np.allclose(_one(tmp_path, red.convert("P"))[0], [1, 0, 0], atol=0.01)
    value, told = _one(tmp_path, Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "a.jpg")
    assert np.allclose(value, [1, 0, 0], atol=0.05)
    assert "CMYK" in told
    frames = [Image.new("RGB", (4, 4), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    value, told = _one(tmp_path, frames[0], "a.webp", save_all=True, append_images=frames[1:], lossless=True)
    assert np.allclose(value, [1, 0, 0], atol=0.02)
    assert "animated, of which the first frame is taken: 1" in told


def test_a_cut_file_is_named_with_its_folder_whichever_split_it_falls_into(colours):
    for file in sorted((colours / "red").iterdir()):
        whole = file.read_bytes()
        file.write_bytes(whole[:60])
        words = rf"DATA colours: red/{file.name} cannot be read as a picture: .*Replace it or take it away"
        for split in ("test", "train"):
            with pytest.raises(ArtifactError, match=words):
                _samples(colours, split=split)
        file.write_bytes(whole)
    _samples(colours)


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ([None, 8, 8, 2], "float32", r"takes 2 channels \(shape \[8, 8, 2\]\); pictures give 1 \(grey\), 3 \(RGB\) or 4"),
        ([None, 9, 64, 64], "float32", r"takes 9 channels"),
        ([None, 4, 4, 3], "int8", r"the input 'image' takes int8, which cannot hold the values of pictures"),
        ([None, 64], "float32", r"holds pictures; a model with one input of rank 4 takes those"),
    ],
)
def test_inputs_that_pictures_do_not_fit_are_refused(colours, shape, dtype, message):
    with pytest.raises(ArtifactError, match=message):
        _samples(colours, [{"name": "image", "shape": shape, "dtype": dtype}])


@pytest.mark.parametrize(
    ("shape", "placed"), [([None, 3, 8, 8], (3, 8, 8)), ([None, 4, 4, 3], (4, 4, 3)), ([1, 3, None, None], (1, 3, 224, 224))]
)
def test_channels_come_first_or_last_as_the_shape_says(colours, shape, placed):
    made, _ = _samples(colours, [{"name": "image", "shape": shape, "dtype": "float32"}])
    assert made.inputs["image"].shape[1:] == placed


def test_a_model_that_leaves_all_axes_open_is_asked(colours):
    open_axes = [{"name": "image", "shape": [None] * 4, "dtype": "float32"}]

    def first_only(inputs):
        return _scores(3)(inputs) if inputs["image"].shape[1] == 3 else (None, "refused")

    made, notes = _samples(colours, open_axes, ask=first_only, n=2)
    assert made.inputs["image"].shape[1:] == (3, 224, 224)
    assert "the axes of a picture are channels, height, width: the model refuses the other order" in notes["accuracy"]
    with pytest.raises(ArtifactError, match=r"does not say in which order the axes of a picture lie, and the model answers both; give the"):
        _samples(colours, open_axes)


def test_whole_number_inputs_take_values_as_they_are(colours):
    made, notes = _samples(colours, _channels(3, "uint8"))
    assert set(np.unique(made.inputs["image"])) == {20, 220}
    assert "values 0 to 255 as uint8" in notes["accuracy"][1]


def test_a_mean_for_other_channels_is_refused(colours):
    with pytest.raises(ArtifactError, match=r"mean and std of 'image' have to hold 1 or 3 numbers"):
        _samples(colours, card=Card(inputs={"image": InputCard(mean=(0.1, 0.2))}))
