from dataclasses import replace

import pytest

from studylib.results.results import Results
from studylib.verdicts import compare
from studylib.verdicts.findings import Findings
from tests.recorded_results import measurement, run_facts, trial


def test_the_contender_is_twice_as_fast_and_the_twin_cannot_be_told_apart(recorded):
    found = {item.contender.label: item for item in Findings(recorded()).speed_ups}
    fast, twin = found["onnxruntime fp32"], found["onnxruntime fp32 (A/A)"]
    assert fast.comparison.ratio == pytest.approx(2, rel=0.03)
    assert fast.comparison.verdict == "faster"
    assert fast.baseline.runtime == "tensorflow"
    assert twin.baseline.id == fast.contender.id
    assert twin.comparison.verdict == "cannot tell"


def test_too_few_rounds_are_said(recorded):
    found = Findings(recorded(rounds=3)).speed_ups[0]
    assert (found.comparison.verdict, found.caveat) == ("cannot tell", "3 rounds measured together are too few for an interval")


def _two(results, **changes):
    """A baseline and one twice as fast, eight rounds; ``changes(repetition)`` alters the contender's repetitions."""
    slow, fast = trial(runtime="tensorflow", format="saved_model"), trial()
    results.save_plan([slow, fast], run_facts(), [])
    alter = changes.get("alter", lambda repetition: {})
    for repetition in range(8):
        results.record(measurement(slow, repetition))
        results.record(measurement(fast, repetition, [50_000] * 200, **alter(repetition)))
    return Findings(results).speed_ups[0]


@pytest.mark.parametrize("changes", [{"campaign": 2}, {"session": "another", "started_at": "2026-02-02T00:00:00+00:00"}])
def test_trials_measured_apart_get_no_verdict(tmp_path, changes):
    found = _two(Results(tmp_path), alter=lambda repetition: changes)
    assert found.comparison.verdict == "cannot tell"
    assert found.comparison.low is None
    assert found.caveat == "measured apart; FORCE=1 measures both together"


def test_rounds_are_paired_one_by_one(tmp_path):
    """One round together and seven measured days later must not borrow the verdict of the first."""
    later = {"session": "another", "started_at": "2026-02-02T00:00:00+00:00", "ended_at": "2026-02-02T01:00:00+00:00"}
    found = _two(Results(tmp_path), alter=lambda repetition: later if repetition else {})
    assert (found.comparison.n, found.comparison.verdict) == (1, "cannot tell")
    assert found.caveat == "1 rounds measured together are too few for an interval"


def test_a_round_cut_by_a_stop_and_finished_soon_after_counts(tmp_path):
    found = _two(Results(tmp_path), alter=lambda repetition: {"session": "another"})
    assert (found.comparison.n, found.comparison.verdict) == (8, "faster")


def test_a_round_cut_by_a_stop_and_finished_the_next_day_does_not(tmp_path):
    late = {"session": "another", "started_at": "2026-01-02T03:00:00+00:00"}
    found = _two(Results(tmp_path), alter=lambda repetition: late if repetition == 3 else {})
    assert (found.comparison.n, found.comparison.verdict) == (7, "faster")


def test_trials_measured_together_get_one(tmp_path):
    assert _two(Results(tmp_path)).comparison.verdict == "faster"


def test_without_tensorflow_the_first_float_trial_is_the_baseline():
    trials = [trial(recipe="fp16"), trial(runtime="litert"), trial()]
    assert compare.baseline_of(trials, "mnist_cnn", 1) is trials[1]
    assert compare.baseline_of(trials, "mnist_cnn", 8) is None


def test_accuracy_is_compared_on_the_same_samples(recorded):
    results = recorded(n=100)
    evaluation = results.evaluation("evaluation-fast")
    results.record_evaluation("evaluation-fast", evaluation | {"correct": [True] * 90 + [False] * 10})
    ((baseline, contender, change),) = compare.accuracy_changes(results)
    assert (baseline.runtime, contender.runtime) == ("tensorflow", "onnxruntime")
    assert (change.lost, change.gained) == (8, 0)


def test_random_weights_have_no_accuracy_to_compare(recorded):
    assert compare.accuracy_changes(recorded(weights="random")) == []


def test_accuracy_is_compared_when_the_usual_baseline_was_skipped(recorded):
    results = recorded()
    plan = [replace(t, reason="no GPU", evaluation_id="") if t.runtime == "tensorflow" else t for t in results.plan()]
    plan.append(trial(runtime="litert", format="tflite", evaluation_id="evaluation-slow"))
    results.save_plan(plan, run_facts(), [])
    assert [(b.runtime, c.runtime) for b, c, _ in compare.accuracy_changes(results)] == [("onnxruntime", "litert")]
