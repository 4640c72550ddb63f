"""The case of the photographs, run whole on a few of them; its page, and what is kept."""

import json
from dataclasses import replace

import numpy as np
import pytest

import studylib as sl
from studylib.cases.image import pictures
from studylib.cases.image.pipeline import STAGES, Pipeline
from studylib.errors import InputError, UnknownNameError
from studylib.models.zoo import MODELS
from studylib.models.zoo.photographs import load_photograph
from studylib.params.paths import outputs_root
from studylib.report import cases
from studylib.results import case_results

pytestmark = pytest.mark.slow
FEW = ("astronaut.png", "coffee.png", "rocket.jpg")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A user's three photographs, one with a class, and a file that is none."""
    here = tmp_path_factory.mktemp("shop")
    (here / "espresso").mkdir()
    for name in FEW:
        target = here / ("espresso" if name == "coffee.png" else "") / f"{name[:4]}.jpg"
        load_photograph(name).save(target)
    (here / "broken.jpg").write_bytes(b"\xff\xd8 cut off")
    return here


@pytest.fixture(scope="module")
def lines():
    return []


@pytest.fixture(scope="module")
def result(folder, lines):
    return sl.run_case("image", "cpu", "smoke", str(folder), write=lines.append)


def test_every_runtime_and_every_step_has_numbers_and_answers(result):
    assert {way.setup["runtime"] for way in result.tried} == {"tensorflow", "litert", "onnxruntime", "openvino"}
    assert not [way.reason for way in (*result.tried, *result.story) if way.reason]
    assert all({place for place, _ in way.answers} == {0, 1, 2} for way in result.tried)
    assert all(len(way.rounds) == 7 and all(len(values) == 3 for values in way.rounds) for way in result.story)
    assert all(set(way.stages_ns) == set(STAGES) for way in result.story)
    assert result.story[0].name == "tensorflow fp32"
    assert [way.setup["batch"] for way in result.story][-2:] == [1, 8]


def test_what_it_answers_is_what_the_network_answers(result, folder):
    model = MODELS["efficientnet_lite0"]
    place = result.facts["files"].index("espresso/coff.jpg")
    pixels = pictures.squared(pictures.decode((folder / "espresso/coff.jpg").read_bytes()))
    wanted = model.build(0).predict(model.preprocess(pixels[None]), verbose=0)[0]
    for way in result.tried:
        if way.setup["recipe"] == "fp32":
            number, score = dict(map(tuple, way.answers))[place][0]
            assert number == int(wanted.argmax())
            assert score == pytest.approx(float(wanted.max()), abs=1e-3)
    assert result.facts["labels"][place] == 967


def test_the_decision_names_what_could_not_be_used(result):
    decided = sl.case_decision(result)
    assert decided[0] == "Whether 50 ms are kept at p99 cannot be told: that takes 662 values."
    assert decided[-1].startswith("One file could not be used: broken.jpg: ")


def test_unchanged_it_is_not_measured_again(result, folder, lines):
    lines.clear()
    assert sl.run_case("image", "cpu", "smoke", str(folder), write=lines.append) == result
    assert any(line.startswith("Nothing to measure: every number was taken by") for line in lines)
    assert not any("round" in line for line in lines)


def test_its_page_needs_no_network_and_tells_everything(result):
    page = cases.build(outputs_root() / "cpu", "image").read_text(encoding="utf-8")
    assert result.question in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert page.count('<img src="data:image/png;base64,') == 2
    for line in cases.decision(result):
        assert line.replace("'", "&#39;") in page
    markdown = (outputs_root() / "cpu/cases/image/case.md").read_text(encoding="utf-8")
    assert "| tensorflow fp32 | the plain way" in markdown


def test_a_rehearsal_says_so_first(result):
    told = cases.ground(replace(result, mismatches=("4 processors are declared and 2 are here",)))
    assert told.startswith("REHEARSAL of cpu (4 processors are declared and 2 are here): measured on ")


def test_what_is_kept_is_read_again_and_damage_is_not_taken_for_it(result, tmp_path, caplog):
    path = case_results.write(tmp_path, result)
    assert case_results.read(tmp_path, "image") == result
    path.write_text(path.read_text().replace("tensorflow fp32", "tensorflow fp16", 1))
    assert case_results.read(tmp_path, "image") is None
    assert "image.json is damaged; `make case CASE=image` makes it again." in caplog.text
    with pytest.raises(InputError, match=r"nothing is kept of the case 'image'"):
        cases.result_of(tmp_path, "image")


def test_unknown_names_are_refused():
    with pytest.raises(UnknownNameError, match=r"Unknown case 'imgae'\. .*Did you mean 'image'"):
        sl.run_case("imgae")


def test_pictures_computed_together_or_decoded_ahead_are_answered_alike(result, folder, tmp_path):
    from studylib.cases.image import album
    from studylib.runtimes import RUNTIMES, Options

    found = album.of_folder(str(folder), MODELS["efficientnet_lite0"].class_names())
    album.save(found, tmp_path / "pictures.npz")
    path = tmp_path / "model.onnx"
    from studylib.models.zoo import handmade

    handmade.save_picture(path)
    (name,) = (spec.name for spec in RUNTIMES["onnxruntime"].load(path, Options("cpu", 1)).signature().inputs)
    told = {"pictures": str(tmp_path / "pictures.npz"), "paths": {"a": str(path)}, "model": "efficientnet_lite0", "input": name, "parts": 1}
    plain = {"artifact": "a", "runtime": "onnxruntime", "settings": {}, "threads": 1, "small": False, "batch": 1, "ahead": False}
    wanted = Pipeline(plain, told)(0)
    for change in ({"batch": 2}, {"ahead": True}, {"batch": 8, "ahead": True}):
        took = Pipeline(plain | change, told)(0)
        assert json.dumps([place for place, _ in took.answers]) == json.dumps([0, 1, 2])
        for (_, ours), (_, theirs) in zip(took.answers, wanted.answers, strict=True):
            assert [number for number, _ in ours] == [number for number, _ in theirs]
            np.testing.assert_allclose([score for _, score in ours], [score for _, score in theirs], rtol=1e-4)
        assert len(took.values_ns) == 3 and took.wall_ns > 0
