import pytest
from conftest import measurement, run_facts, trial

from studylib import compare
from studylib.results import Results


def test_the_contender_is_twice_as_fast_and_the_twin_cannot_be_told_apart(recorded):
    found = {item.contender.label: item for item in compare.speed_ups(recorded())}
    fast, twin = found["onnxruntime fp32"], found["onnxruntime fp32 (A/A)"]
    assert fast.comparison.ratio == pytest.approx(2, rel=0.03)
    assert fast.comparison.verdict == "faster"
    assert fast.baseline.runtime == "tensorflow"
    assert twin.baseline.id == fast.contender.id
    assert twin.comparison.verdict == "cannot tell"
    assert compare.noise_floor(list(found.values())) == {"mnist_cnn": twin.comparison}


def test_too_few_rounds_are_said(recorded):
    found = compare.speed_ups(recorded(rounds=3))[0]
    assert (found.comparison.verdict, found.caveat) == ("cannot tell", "3 rounds are too few for an interval")


def _measured_apart(results, **changes):
    slow, fast = trial(runtime="tensorflow", format="saved_model"), trial()
    results.save_plan([slow, fast], run_facts(), [])
    for repetition in range(8):
        results.record(measurement(slow, repetition))
        results.record(measurement(fast, repetition, [50_000] * 200, **changes))
    return compare.speed_ups(results)[0]


@pytest.mark.parametrize("changes", [{"campaign": 2}, {"started_at": "2026-02-02T00:00:00+00:00", "ended_at": "2026-02-02T01:00:00+00:00"}])
def test_trials_measured_apart_get_no_verdict(tmp_path, changes):
    found = _measured_apart(Results(tmp_path), **changes)
    assert found.comparison.verdict == "cannot tell"
    assert found.comparison.low is None
    assert found.caveat == "measured apart; FORCE=1 measures both together"


def test_trials_measured_together_get_one(tmp_path):
    assert _measured_apart(Results(tmp_path)).comparison.verdict == "faster"


def test_without_tensorflow_the_first_float_trial_is_the_baseline():
    trials = [trial(recipe="fp16"), trial(runtime="litert"), trial()]
    assert compare.baseline_of(trials, "mnist_cnn", 1) is trials[1]
    assert compare.baseline_of(trials, "mnist_cnn", 8) is None


def test_accuracy_is_compared_on_the_same_samples(recorded):
    results = recorded()
    evaluation = results.evaluation("evaluation-fast")
    results.record_evaluation("evaluation-fast", evaluation | {"correct": [True] * 90 + [False] * 10})
    ((baseline, contender, change),) = compare.accuracy_changes(results)
    assert (baseline.runtime, contender.runtime) == ("tensorflow", "onnxruntime")
    assert (change.lost, change.gained) == (8, 0)


def test_random_weights_have_no_accuracy_to_compare(recorded):
    assert compare.accuracy_changes(recorded(weights="random")) == []
