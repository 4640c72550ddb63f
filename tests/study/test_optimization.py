"""The optimisation path: which steps it finds by looks, and a whole one measured on mnist_cnn."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from studylib.errors import InputError
from studylib.machine import hardware
from studylib.measure.rounds import Bench
from studylib.study import optimization
from tests.in_process import study_of, timed_shortly

pytestmark = pytest.mark.skipif(hardware.probe().threads < 2, reason="sessions beside each other need two threads")
CHOICE = {
    "runtimes": ("onnxruntime",),
    "recipes": ("fp32", "dynamic_wi8_afp32"),
    "batch_sizes": (1,),
    "sweeps": (),
}


def _study(**choice):
    """With jobs in this process, on what the smoke study made."""
    return study_of(Path(os.environ["STUDYLIB_OUTPUTS"]), "mnist_cnn", **CHOICE | choice)


@pytest.fixture
def looks(mnist, monkeypatch, tmp_path):
    """Function: makes looks find samples/s by a rule, and gives the paths that are found then."""

    def found(rate, **choice):
        taken = []
        # What sums are told on some processors only is no step.
        monkeypatch.setattr(hardware.Host, "saturates_int8", False)

        def glance(bench, trial):
            taken.append(trial.label)
            return {"samples_per_s": rate(trial), "n": 11} if rate(trial) else {"reason": "planted"}

        monkeypatch.setattr(Bench, "glance", glance)
        study = replace(_study(**choice), folder=tmp_path / "path")
        study.evaluate(matrix=False)
        (one,) = [optimization._found(study, start) for start in optimization._starts(study)]
        return one, taken

    return found


def _shown(one):
    return [(step.name, step.trial and (step.trial.recipe, step.trial.batch_size, step.trial.options), step.goes_on) for step in one.steps]


def test_every_step_starts_where_the_last_gain_was(looks):
    def rate(trial):
        gains = {"sessions=2": 3, "arena=off,sessions=2": 4}
        return (2 if trial.recipe != "fp32" else 1) * min(trial.batch_size, 16) * gains.get(trial.options, 1)

    one, taken = looks(rate)
    assert one.start.label == "onnxruntime fp32"
    assert _shown(one) == [
        ("quantize", ("dynamic_wi8_afp32", 1, ""), True),
        ("batch", ("dynamic_wi8_afp32", 16, ""), True),
        ("sessions", ("dynamic_wi8_afp32", 16, "sessions=2"), True),
        ("memory", ("dynamic_wi8_afp32", 16, "arena=off,sessions=2"), True),
    ]
    assert "onnxruntime dynamic_wi8_afp32 x64" not in taken  # 32 gave no more than 16


def test_a_step_that_brings_nothing_is_shown_and_left(looks):
    one, _ = looks(lambda trial: trial.batch_size / (2 if trial.recipe != "fp32" or trial.options else 1))
    assert _shown(one) == [
        ("quantize", ("dynamic_wi8_afp32", 1, ""), False),
        ("batch", ("fp32", 64, ""), True),
        ("sessions", ("fp32", 64, "sessions=2"), False),
        ("memory", ("fp32", 64, "arena=off"), False),
    ]


def test_steps_without_a_candidate_say_why(looks):
    one, _ = looks(lambda trial: 0 if trial.batch_size > 1 else 1, recipes=("fp32",), runtimes=("tensorflow",))
    assert [(step.trial, step.why) for step in one.steps] == [
        (None, "no other recipe of this study runs here and keeps the budget"),
        (None, "every candidate failed in a first look"),
        (None, "this runtime has no sessions beside each other, or there is one thread or one sample"),
        (None, "this runtime has no settings of its memory"),
    ]


def test_without_fp32_there_is_no_path():
    study = _study(recipes=("static_wi8_ai8",))
    with pytest.raises(InputError, match="A path starts from fp32, and none can be timed here"):
        optimization.path(study)


@timed_shortly()
def test_a_path_is_measured_tabled_and_not_measured_twice(mnist):
    told = optimization.path(_study())
    assert list(told.step) == ["start", "quantize", "batch", "sessions", "memory"]
    assert all("x [" in text for text in told["over the step before"][1:])
    assert told["over the step before"][0] == ""
    assert all(told.p50_ms)
    page = (mnist.results.folder / "path" / "path.md").read_text()
    assert "Native: measured on" in page or "REHEARSAL" in page
    lines = []
    again = optimization.path(replace(_study(), write=lines.append))
    assert again.equals(told)
    assert any("Nothing to measure" in line for line in lines)
