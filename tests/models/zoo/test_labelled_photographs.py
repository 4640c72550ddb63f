import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from studylib.models.zoo import MODELS
from studylib.models.zoo import labelled_photographs as labelled
from studylib.models.zoo.photograph_classes import CLASSES, OTHERS
from studylib.models.zoo.photographs import SeesPhotographs

SEEING = [model for model in MODELS.values() if isinstance(model, SeesPhotographs)]
EFFICIENTNET = MODELS["efficientnet_lite0"]


def shade(number: int) -> tuple[int, int, int]:
    """A colour of its own for each photograph of a split."""
    return (number + 1, 200 - number, 100)


@pytest.fixture(scope="module")
def stamps(tmp_path_factory) -> Path:
    """A folder of stamps of the right names: each a rectangle of one colour, off the middle of a transparent picture."""
    folder = tmp_path_factory.mktemp("stamps")
    for split in ("test", "train"):
        for number, name in enumerate(labelled.names(split)):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            picture = Image.new("RGBA", (90, 60), (0, 0, 0, 0))
            picture.paste((*shade(number), 255), (10, 5, 70, 35))
            picture.save(folder / name)
    return folder


@pytest.fixture
def here(stamps, monkeypatch) -> Path:
    """The same, as the labelled photographs of this machine."""
    monkeypatch.setenv("STUDYLIB_PHOTOGRAPHS", str(stamps))
    return stamps


@pytest.fixture
def nowhere(tmp_path, monkeypatch) -> Path:
    """A machine without any, whose cache is this empty folder."""
    monkeypatch.delenv("STUDYLIB_PHOTOGRAPHS", raising=False)
    monkeypatch.setattr(labelled, "_INSTALLED", Path("usr/share/no/stamps"))
    monkeypatch.setenv("STUDYLIB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_every_photograph_has_one_class_of_the_thousand_and_calibrates_nothing():
    assert len(labelled.names("test")) == len(set(labelled.names("test"))) == len(labelled.classes())
    assert not set(labelled.names("test")) & set(labelled.names("train"))
    assert all(0 <= number < 1000 for inside in CLASSES.values() for number in inside.values())
    assert all(len(inside) == len(set(inside)) for inside in OTHERS.values())


@pytest.mark.parametrize(
    "photograph, name",
    [("animals/mammals/equines/zebra", "zebra"), ("food/fruit/banana", "banana"), ("vehicles/emergency/firetruck", "fire truck")],
)
def test_classes_are_those_of_the_names_of_the_network(photograph, name):
    folder, file = photograph.rsplit("/", 1)
    assert EFFICIENTNET.class_names()[CLASSES[folder][file]] == name


@pytest.fixture(params=SEEING, ids=lambda model: model.name)
def model(request, monkeypatch):
    """A network that sees photographs, with trained weights, whether these are here or not."""
    monkeypatch.setattr(type(request.param), "weights", "trained")
    return request.param


def test_samples_carry_the_class_of_what_they_show(model, here):
    samples, notes = model.described_samples("test", 300, 5, None, None)
    assert notes == {"accuracy": ["208 views of 104 labelled photographs, cut out and laid on white (Tux Paint's stamps)"]}
    order = {tuple(model.preprocess(np.array(shade(n), np.uint8)[None, None, None])[0, 0, 0]): n for n in range(104)}
    middles = [order[tuple(pixel)] for pixel in samples.inputs["image"][:, 112, 112]]
    np.testing.assert_array_equal(labelled.classes()[middles], samples.labels)
    assert np.bincount(middles).tolist() == [2] * 104


def test_a_view_keeps_the_picture_s_shape_within_its_margins(here):
    pixels, _ = labelled.views("test", 104, 0)
    shown = (pixels != 255).any(-1)
    for picture in shown:
        rows, columns = np.flatnonzero(picture.any(1)), np.flatnonzero(picture.any(0))
        width, height = np.ptp(columns) + 1, np.ptp(rows) + 1
        assert 0.5 * 224 - 2 <= width <= 0.9 * 224 + 2
        assert height == pytest.approx(width / 2, abs=2)
        assert abs(rows.mean() - 111.5) <= 1 and abs(columns.mean() - 111.5) <= 1
    assert len(set(shown.sum((1, 2)).tolist())) > 20


def test_half_of_the_views_are_mirrored(here, tmp_path, monkeypatch):
    folder = tmp_path / "stamps"
    shutil.copytree(here, folder)
    for name in labelled.names("test"):
        picture = Image.new("RGBA", (100, 100), (200, 0, 0, 255))
        picture.paste((0, 0, 200, 255), (50, 0, 100, 100))
        picture.save(folder / name)
    monkeypatch.setenv("STUDYLIB_PHOTOGRAPHS", str(folder))
    pixels, _ = labelled.views("test", 104, 0)
    mirrored = pixels[:, 112, 90, 2] > pixels[:, 112, 90, 0]
    assert 30 <= mirrored.sum() <= 74


def test_fewer_views_than_photographs_are_of_different_ones(here):
    pixels, shown = labelled.views("test", 40, 3)
    assert len(pixels) == len(set(shown.tolist())) == 40
    again, _ = labelled.views("test", 40, 3)
    np.testing.assert_array_equal(pixels, again)
    assert set(labelled.views("test", 40, 4)[1].tolist()) != set(shown.tolist())


def test_calibration_sees_crops_and_others_mixed(here):
    samples = EFFICIENTNET.samples("train", 100, 0)
    on_white = (samples.inputs["image"][:, 0, 0] == 1).all(-1)
    assert samples.labels is None and len(samples) == 100
    assert 50 <= on_white.sum() <= 55
    assert 10 <= on_white[:50].sum() <= 40


@pytest.mark.parametrize("model", SEEING, ids=lambda model: model.name)
def test_random_weights_see_crops_and_nothing_is_said_of_labels(model, here, monkeypatch):
    monkeypatch.setattr(type(model), "weights", "random")
    samples, notes = model.described_samples("test", 6, 0, None, None)
    assert samples.labels is None and notes == {} and model.data_facts() == {}
    np.testing.assert_array_equal(samples.inputs["image"], model.crops("test", 6, 0).inputs["image"])


def test_random_weights_are_the_same_with_and_without_them(here, monkeypatch):
    crops = MODELS["mobilenet_v2"].crops("train", 4, 0).inputs["image"]
    monkeypatch.setenv("STUDYLIB_PHOTOGRAPHS", "/no/such/folder")
    np.testing.assert_array_equal(crops, MODELS["mobilenet_v2"].crops("train", 4, 0).inputs["image"])


def test_without_them_samples_are_crops_without_labels_and_that_is_said(model, nowhere):
    samples, notes = model.described_samples("test", 6, 0, None, None)
    assert len(samples) == 6 and samples.labels is None and model.data_facts() == {}
    assert notes["assumed"][0].startswith("its photographs have no labels: none are here; install Debian's tuxpaint-stamps-default, or set")


def test_their_contents_are_part_of_the_samples_key(here, tmp_path, monkeypatch):
    before = EFFICIENTNET.data_facts()
    folder = tmp_path / "stamps"
    shutil.copytree(here, folder)
    monkeypatch.setenv("STUDYLIB_PHOTOGRAPHS", str(folder))
    labelled._digest.cache_clear()
    assert EFFICIENTNET.data_facts() == before
    (folder / labelled.names("test")[7]).write_bytes(b"another picture")
    labelled._digest.cache_clear()
    assert EFFICIENTNET.data_facts() != before


def test_a_folder_that_lacks_one_is_named_with_it(here, tmp_path, monkeypatch):
    folder = tmp_path / "stamps"
    shutil.copytree(here, folder)
    (folder / "food/fruit/banana.png").unlink()
    monkeypatch.setenv("STUDYLIB_PHOTOGRAPHS", str(folder))
    assert labelled.why_not() == f"{folder} lacks 1 of the photographs, first food/fruit/banana.png"
    assert labelled.fetch() == labelled.why_not()


# --- fetched by the package manager -----------------------------------------------------------------------------------------------


@pytest.fixture
def package_manager(tmp_path, monkeypatch):
    """``package_manager(script)``: an apt-get that runs it."""

    def installed(script: str) -> None:
        programs = tmp_path / "programs"
        programs.mkdir(exist_ok=True)
        (programs / "apt-get").write_text(f'#!/bin/sh\n[ "$*" = "download tuxpaint-stamps-default" ] || exit 9\n{script}\n')
        (programs / "apt-get").chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")

    return installed


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="dpkg-deb, which builds a Debian package, is not installed")
def test_what_the_package_manager_brings_is_used(stamps, nowhere, package_manager, tmp_path):
    root = tmp_path / "package"
    shutil.copytree(stamps, root / "usr/share/no/stamps")
    (root / "usr/share/no/stamps/more.txt").write_text("not used")
    (root / "DEBIAN").mkdir()
    (root / "DEBIAN/control").write_text("Package: stamps\nVersion: 1\nArchitecture: all\nMaintainer: none\nDescription: stamps\n")
    subprocess.run(["dpkg-deb", "--build", "-Znone", root, tmp_path / "stamps_1_all.deb"], check=True, capture_output=True)
    package_manager(f"cp {tmp_path}/stamps_1_all.deb .")
    assert labelled.why_not().startswith("none are here")
    assert labelled.fetch() is None and labelled.why_not() is None
    assert [path.name for path in nowhere.iterdir()] == [labelled.PACKAGE]
    assert len([path for path in nowhere.rglob("*") if path.is_file()]) == len(labelled.names("test")) + len(labelled.names("train"))
    assert EFFICIENTNET.samples("test", 10, 0).labels is not None


def test_what_it_says_instead_is_told_and_nothing_is_left(nowhere, package_manager):
    package_manager('echo "E: Unable to locate package tuxpaint-stamps-default" >&2; exit 100')
    assert labelled.fetch() == ("`apt-get download tuxpaint-stamps-default` failed: E: Unable to locate package tuxpaint-stamps-default")
    assert not list(nowhere.iterdir())


def test_nothing_is_fetched_offline_or_without_a_package_manager(nowhere, package_manager, monkeypatch, tmp_path):
    package_manager("touch /dev/null; exit 8")
    monkeypatch.setenv("STUDYLIB_OFFLINE", "1")
    assert labelled.fetch().endswith("STUDYLIB_OFFLINE=1 forbids fetching them")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert labelled.fetch() == labelled.why_not()


# --- the real ones ----------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(labelled.why_not() is not None, reason=f"labelled photographs: {labelled.why_not()}")
def test_the_network_names_what_most_photographs_show():
    samples = EFFICIENTNET.samples("test", 104, 0)
    scores = EFFICIENTNET.build(0).predict(samples.inputs["image"], batch_size=8, verbose=0)
    best = np.argsort(-scores, 1)
    assert (best[:, 0] == samples.labels).mean() > 0.7
    assert (best[:, :5] == samples.labels[:, None]).any(1).mean() > 0.9
