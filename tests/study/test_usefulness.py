"""What lost too much to be of use is not timed, and says so."""

import pytest

from studylib.results.results import Results
from studylib.study.usefulness import useless
from tests.recorded_results import EVALUATED, trial


@pytest.fixture
def evaluated(tmp_path):
    """Function: trials of which some share of answers is right or agrees, or the SQNR is known, each under its recipe."""
    results = Results(tmp_path)

    def record(found: dict, **changes):
        trials = [trial(recipe=recipe, evaluation_id=f"evaluation-{recipe}", **changes) for recipe in found]
        for recipe, told in found.items():
            facts = EVALUATED | {"sqnr": 50.0} | told
            results.record_evaluation(f"evaluation-{recipe}", {name: value for name, value in facts.items() if value is not None})
        return trials, results

    return record


def _answers(right: int, n: int = 100) -> list[bool]:
    return [True] * right + [False] * (n - right)


def _left_out(trials, results, least=0.5) -> dict:
    found = useless(trials, results, least)
    return {one.recipe: found[one.id] for one in trials if one.id in found}


def test_half_of_the_right_answers_must_stay_beyond_chance(evaluated):
    found = _left_out(*evaluated({"fp32": {"correct": _answers(80)}, "a": {"correct": _answers(20)}, "b": {"correct": _answers(38)}}))
    assert found == {
        "a": "not timed: 20.0 % of the answers are right, of the source 80.0 %; less than 50% of the source model's quality is of no use "
        "(USEFUL=0 times it)"
    }


def test_a_few_samples_prove_nothing(evaluated):
    few = {"fp32": {"correct": _answers(4, 4), "n": 4}, "a": {"correct": _answers(1, 4), "n": 4}}
    assert _left_out(*evaluated(few)) == {}


def test_without_labels_answers_must_agree(evaluated):
    found = _left_out(*evaluated({"fp32": {}, "a": {"agreeing": _answers(15)}, "b": {"agreeing": _answers(55)}}))
    assert list(found) == ["a"]
    assert "15.0 % of the answers agree with the source model's" in found["a"]


def test_random_weights_are_not_judged_by_right_answers(evaluated):
    assert _left_out(*evaluated({"fp32": {"correct": _answers(10)}, "a": {"correct": _answers(1)}}, weights="random")) == {}


def test_where_outputs_are_no_scores_noise_must_stay_below_half_of_the_signal(evaluated):
    no_scores = {"agreeing": None}
    trials, results = evaluated({"fp32": no_scores, "a": no_scores | {"sqnr": 2.5}, "b": no_scores | {"sqnr": 3.5}})
    assert list(_left_out(trials, results)) == ["a"]
    assert "SQNR 2.50 dB against the source model, below 3.01 dB" in _left_out(trials, results)["a"]


def test_nothing_is_left_out_when_all_is_asked_for_and_the_model_itself_never_is(evaluated):
    trials, results = evaluated({"fp32": {"correct": _answers(30)}, "a": {"correct": _answers(0)}})
    assert list(_left_out(trials, results)) == ["a"]
    assert _left_out(trials, results, least=0.0) == {}
    assert _left_out(trials, results, least=1.0).keys() == {"a"}
