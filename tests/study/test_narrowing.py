"""Which trials are worth measuring in full, on looks that a test records."""

from types import SimpleNamespace

import pytest

from studylib.results.results import Results
from studylib.study.narrowing import Narrowing
from studylib.study.opening import open_study
from tests.recorded_results import trial


@pytest.fixture
def narrowing(tmp_path):
    """Function: (narrowing, trials) where a query of each batch takes so many ns, or fails; ``taken`` lists the looks."""

    def make(times: dict, stopped_at: int = 0):
        results, taken = Results(tmp_path / "cpu"), []
        trials = [trial(batch_size=size, scenario="offline" if size > 1 else "single_stream", sweep="batch" * (size > 1)) for size in times]

        def glance(one):
            if one.batch_size == stopped_at and one.batch_size not in taken:
                taken.append(one.batch_size)
                raise KeyboardInterrupt
            taken.append(one.batch_size)
            found = times[one.batch_size]
            return {"reason": found} if isinstance(found, str) else {"samples_per_s": 1e9 * one.batch_size / found, "n": 11}

        bench = SimpleNamespace(results=results, glance=glance, write=lambda line: None)
        return Narrowing(bench), trials, taken

    return make


def test_larger_batches_are_looked_at_until_one_gains_nothing(narrowing):
    it, trials, taken = narrowing({1: 1e6, 8: 4e6, 16: 9e6, 32: 1e7})
    assert not it.is_over(trials)
    it.look(trials)
    assert taken == [1, 8, 16]
    assert list(it.left_out(trials).values()) == ["cut short: a first look found no more at batch 16 (1.78e+03 samples/s, 2e+03 before)"]
    assert it.is_over(trials)
    it.look(trials)
    assert taken == [1, 8, 16]


def test_a_failure_ends_them_with_its_reason(narrowing):
    it, trials, taken = narrowing({1: 1e6, 8: "out of memory: MemoryError", 16: 9e6})
    it.look(trials)
    assert taken == [1, 8]
    assert it.left_out(trials) == {trials[2].id: "cut short: at batch 8 already: out of memory: MemoryError"}


def test_force_forgets_looks_that_failed(narrowing):
    it, trials, taken = narrowing({1: 1e6, 8: "timeout", 16: 9e6})
    it.look(trials)
    it.bench.results.forget_failures()
    assert it.left_out(trials) == {}
    it.look(trials)
    assert taken == [1, 8, 8]


def test_looks_that_were_interrupted_go_on(narrowing):
    it, trials, taken = narrowing({1: 1e6, 8: 4e6, 16: 7e6}, stopped_at=8)
    with pytest.raises(KeyboardInterrupt):
        it.look(trials)
    assert not it.is_over(trials)
    it.look(trials)
    assert taken == [1, 8, 8, 16]
    assert it.left_out(trials) == {}
    assert it.is_over(trials)


def test_the_comparison_holds_points_of_sweeps_at_its_batch_and_no_other_scenario():
    choice = {"models": ("mnist_cnn",), "sweeps": ("graph", "batch"), "scenarios": ("single_stream", "offline", "server", "multi_stream")}
    study = open_study("cpu", "quick", **choice, write=lambda line: None)
    found = [one for one in study.trials if study.is_smallest(one)]
    assert {(one.scenario, one.batch_size, one.sweep) for one in found} == {("single_stream", 1, ""), ("single_stream", 1, "graph")}
    assert {one.sweep for one in found if study.is_plain(one)} == {""}
    assert any(one.scenario == "server" for one in study.trials)
