"""Search mode: who goes on, who is out and why, and that a search takes no more looks than it says."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from studylib.results.results import Results
from studylib.study import halving
from tests.recorded_results import run_facts, trial

ANSWERS = {
    "n": 1000, "finite": True, "output_mse": 1e-9, "max_abs_error": 1e-4, "max_rel_error": 1e-4, "cosine": 1.0, "data": "real",
    "sqnr": 60.0, "agreeing": [True] * 1000, "independent": True, "status": "ok", "reason": "", "placement": "CPU",
}  # fmt: skip


def test_the_first_rung_wants_a_look_at_everybody():
    found = halving.standing({name: [] for name in "abcdef"})
    assert (found.out, found.wanted) == ({}, list("abcdef"))


def test_a_third_goes_on_and_the_rest_say_how_slow_they_were():
    found = halving.standing({name: [1.0 + number] for number, name in enumerate("abcdefghi")})
    assert found.wanted == list("abc")
    assert found.out["i"] == "left out by the search: 9.00 times the fastest one's latency in a first look"


def test_two_are_left_in_the_end():
    looks = {name: [1.0 + number] * 3 for number, name in enumerate("abc")} | {name: [9.0] for name in "defghi"}
    found = halving.standing(looks)
    assert found.wanted == []
    assert set(looks) - set(found.out) == {"a", "b"}
    assert found.out["c"].endswith("3.00 times the fastest one's latency in 3 looks")


def test_a_look_that_failed_is_out_with_its_reason():
    found = halving.standing({"a": [1.0], "b": ["out of memory: MemoryError"], "c": [2.0], "d": [3.0]})
    assert found.out["b"] == "a look failed: out of memory: MemoryError"


def test_few_are_measured_without_a_look():
    assert halving.standing({"a": [], "b": []}) == halving.Standing({}, [])


@pytest.fixture
def search(tmp_path):
    """(search, trials, times in ns): twelve recipes in one runtime; the fastest but one answers wrongly."""
    results, rng = Results(tmp_path / "cpu"), np.random.default_rng(5)
    trials = [trial(recipe="fp32", evaluation_id="evaluation-0")]
    trials += [
        trial(recipe=f"recipe{number}", artifact_key=f"{number:064}", evaluation_id=f"evaluation-{number}") for number in range(1, 12)
    ]
    times = {one.id: 1e6 * (12 - number) for number, one in enumerate(trials)}
    for number, one in enumerate(trials):
        right = [True] * (600 if number == 10 else 990) + [False] * (400 if number == 10 else 10)
        results.record_evaluation(one.evaluation_id, ANSWERS | {"correct": right})
    results.save_plan(trials, run_facts(), [])
    glances = []

    def glance(one):
        glances.append(one.id)
        return {"samples_per_s": 1e9 / (times[one.id] * rng.lognormal(0, 0.01)), "n": 11}

    bench = SimpleNamespace(results=results, seed=1, glance=glance, write=lambda text: None, glances=glances)
    return halving.Halving(bench, 0.01), trials, times


def test_it_finds_the_fastest_within_the_budget(search):
    it, trials, times = search
    it.narrow(trials)
    out = it.left_out(trials)
    kept = [one for one in trials if one.id not in out]
    assert min(kept, key=lambda one: times[one.id]).recipe == "recipe11"
    assert len(kept) == 2
    assert out[trials[10].id] == (
        "left out by the search: not within the budget, lost 39.0 points of accuracy (n 1000), up to 42.0 within the interval"
    )
    assert it.is_over(trials)


def test_it_takes_few_looks_and_none_twice(search):
    it, trials, _ = search
    it.narrow(trials)
    taken = len(it.bench.glances)
    assert taken == 11 + 2 * 4
    it.narrow(trials)
    assert len(it.bench.glances) == taken


def test_a_control_goes_with_its_twin(search):
    it, trials, _ = search
    control = replace(trials[0], control=True)
    it.narrow(trials)
    assert it.left_out([*trials, control])[control.id] == it.left_out(trials)[trials[0].id]


def test_too_few_samples_leave_nobody_out_and_the_reference_in(search):
    """A hundred answers cannot tell a loss of one point: only what lost more as measured is out, and the reference stays."""
    it, trials, _ = search
    for number, one in enumerate(trials):
        wrong = 40 if number == 10 else 1
        few = {"n": 100, "agreeing": [True] * 100, "correct": [True] * (100 - wrong) + [False] * wrong}
        it.bench.results.record_evaluation(one.evaluation_id, ANSWERS | few)
    it.narrow(trials)
    out = it.left_out(trials)
    assert [one.recipe for one in trials if one.id not in out] == ["fp32", "recipe9", "recipe11"]
    assert [one.recipe for one in trials if "not within the budget" in out.get(one.id, "")] == ["recipe10"]
