"""Sweeps: the points of each, and where larger batches are left out."""

import pytest

from studylib.errors import StudyError
from studylib.runtimes import RUNTIMES, settings
from studylib.study import sweeps


def test_every_point_is_in_the_allow_list_of_its_runtime():
    seen = set()
    for name in sweeps.SWEEPS:
        for runtime in RUNTIMES.values():
            for point in sweeps.points(name, runtime, 8, (1,)):
                runtime.check(point.settings)
                seen.add(name)
    assert seen == set(sweeps.SWEEPS)


def test_what_a_study_measures_anyway_is_no_point():
    batches = [point.batch_size for point in sweeps.points("batch", RUNTIMES["litert"], 2, (1, 8))]
    assert batches == [16, 32, 64]
    assert [point.threads for point in sweeps.points("threads", RUNTIMES["litert"], 6, (1,))] == [1, 2, 4]
    assert sweeps.points("threads", RUNTIMES["litert"], 1, (1,)) == []
    assert sweeps.points("graph", RUNTIMES["litert"], 2, (1,)) == []


def test_threads_are_not_varied_where_nothing_computes_on_the_cpu():
    assert sweeps.points("threads", RUNTIMES["tensorrt"], 8, (1,)) == []


def test_all_stands_for_every_sweep_and_an_unknown_one_is_refused():
    assert sweeps.chosen(("all",)) == list(sweeps.SWEEPS)
    assert sweeps.chosen(()) == []
    with pytest.raises(StudyError, match=r"Unknown sweep 'grpah'.*Did you mean 'graph'"):
        sweeps.chosen(("grpah",))


def test_settings_become_the_same_text_and_come_back():
    chosen = {"pattern": "off", "arena": "off"}
    assert settings.text(chosen) == "arena=off,pattern=off"
    assert settings.read(settings.text(chosen)) == chosen
    assert settings.read("") == {}


def test_a_batch_that_gives_no_more_is_the_last():
    cuts = sweeps.cut({1: 100.0, 8: 300.0, 16: 290.0, 32: None, 64: None})
    assert list(cuts) == [32, 64]
    assert cuts[32] == "cut short: a first look found no more at batch 16 (290 samples/s, 300 before)"


def test_nothing_is_cut_before_anybody_looked():
    assert sweeps.cut({1: None, 8: None}) == {}
    assert sweeps.cut({1: 100.0, 8: 300.0, 16: None}) == {}
    assert sweeps.cut({1: 100.0, 8: 200.0, 16: 300.0}) == {}


def test_a_batch_that_fails_ends_the_sweep_with_its_reason():
    cuts = sweeps.cut({1: 100.0, 8: "out of memory: MemoryError", 16: None})
    assert cuts == {16: "cut short: at batch 8 already: out of memory: MemoryError"}
