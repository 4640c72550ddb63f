"""The photographs of the case: a user's folder with everything that may lie in one, and those of the study."""

import json

import pytest
from PIL import Image

from studylib.cases.image import album
from studylib.cases.image.pictures import decode
from studylib.errors import InputError
from studylib.models.zoo import labelled_photographs as labelled

NAMES = ["tench", "goldfish", "great white shark", "goldfish"]


@pytest.fixture
def folder(tmp_path):
    """Pictures in folders named as what they show, one above, a file that is none, a cut one, and one of another kind."""
    for name, size in {"goldfish/a.jpg": 30, "Great_White-shark/b.png": 31, "0/c.webp": 32, "9/d.jpg": 33, "e.jpg": 34}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (size, size), "red").save(tmp_path / name)
    (tmp_path / "goldfish/notes.txt").write_text("of my aunt")
    (tmp_path / "goldfish/broken.jpg").write_bytes(b"no picture")
    return tmp_path


def test_a_folder_s_name_says_what_its_pictures_show(folder):
    found = album.of_folder(str(folder), NAMES)
    assert dict(zip([name for name, _ in found.files], found.labels, strict=True)) == {
        "goldfish/a.jpg": 1,  # the first of two classes of one name
        "Great_White-shark/b.png": 2,
        "0/c.webp": 0,
        "9/d.jpg": -1,  # no such class
        "e.jpg": -1,
    }
    assert found.unusable == [("goldfish/broken.jpg", found.unusable[0][1])]
    assert found.unusable[0][1].startswith("it is no picture of a kind")


def test_where_nothing_can_be_used_it_says_what_was_there(tmp_path):
    with pytest.raises(InputError, match=r"^DATA is '.*/nowhere', which is no folder\. Give a folder of photographs\.$"):
        album.of_folder(str(tmp_path / "nowhere"), NAMES)
    with pytest.raises(InputError, match=r"holds no picture that can be used \(\.jpg, "):
        album.of_folder(str(tmp_path), NAMES)
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"holds no picture that can be used; the first of 1: a\.png: it is no picture"):
        album.of_folder(str(tmp_path), NAMES)


def test_the_bytes_are_the_same_for_the_process_that_measures(folder, tmp_path_factory):
    found, path = album.of_folder(str(folder), NAMES), tmp_path_factory.mktemp("kept") / "pictures.npz"
    album.save(found, path)
    assert album.load(str(path)) == [content for _, content in found.files]


def test_its_hash_is_that_of_contents_and_labels(folder):
    before = album.digest_of(album.of_folder(str(folder), NAMES))
    assert album.digest_of(album.of_folder(str(folder), NAMES)) == before
    (folder / "goldfish").rename(folder / "tench")
    moved = album.digest_of(album.of_folder(str(folder), NAMES))
    Image.new("RGB", (30, 30), "blue").save(folder / "tench/a.jpg")
    assert len({before, moved, album.digest_of(album.of_folder(str(folder), NAMES))}) == 3


def test_without_labelled_photographs_those_of_packages_are_taken_and_it_is_said(monkeypatch):
    monkeypatch.setenv("STUDYLIB_PHOTOGRAPHS", "/no/such/folder")
    found = album.of_study()
    assert len(found.files) >= 5 and set(found.labels) == {-1}
    assert found.source.startswith("photographs inside packages, without labels (/no/such/folder lacks")
    assert all(content.startswith(b"\xff\xd8") for _, content in found.files)


def test_labelled_ones_keep_their_classes_and_lie_on_white(tmp_path, monkeypatch):
    for name in labelled.names("test") + labelled.names("train"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        stamp = Image.new("RGBA", (60, 40), (0, 0, 0, 0))
        stamp.paste((0, 0, 255, 255), (10, 10, 50, 30))
        stamp.save(tmp_path / name)
    monkeypatch.setenv("STUDYLIB_PHOTOGRAPHS", str(tmp_path))
    found = album.of_study()
    assert found.labels == labelled.classes().tolist()
    image = decode(found.files[0][1])
    assert image.size == (57, 57)  # 40 pixels and a margin of 15 % of the whole on each side
    assert image.getpixel((1, 1)) == (255, 255, 255) and image.getpixel((28, 28))[2] > 200
    assert json.dumps(album.thumbnail(found.files[0][1]))
