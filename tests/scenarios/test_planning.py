"""Which trials a study holds for which scenarios, and who drives them."""

import pytest

from studylib.scenarios import loadgen
from studylib.study.opening import open_study

USUAL = ("single_stream", "offline")


def _study(scenarios=USUAL, models=("mnist_cnn",), **choice):
    facts = {"runtimes": ("onnxruntime",), "recipes": ("fp32",), "sweeps": (), "batch_sizes": (1, 8)} | choice
    return open_study("cpu", "smoke", models=models, scenarios=scenarios, write=lambda line: None, **facts)


def _planned(*arguments, **choice):
    return [(trial.scenario, trial.batch_size, trial.driver) for trial in _study(*arguments, **choice).trials if not trial.control]


def test_the_usual_two_are_driven_by_the_loop():
    assert _planned() == [("single_stream", 1, "loop"), ("offline", 8, "loop")]


def test_more_scenarios_come_beside_them_and_by_loadgen():
    more = _planned((*USUAL, "server", "multi_stream"))[2:]
    assert more == [("multi_stream", 8, "loadgen"), ("server", 1, "loadgen"), ("server", 8, "loadgen")]


@pytest.mark.parametrize("driver", ["loadgen", "loop"])
def test_the_user_chooses_who_drives(driver):
    assert {found[2] for found in _planned((*USUAL, "server"), driver=driver)} == {driver}


def test_only_a_model_with_state_is_streamed():
    reasons = {trial.scenario: trial.reason for trial in _study((*USUAL, "streaming")).trials}
    assert reasons["streaming"].startswith("mnist_cnn carries no state from query to query")
    (trial,) = _study(("streaming",), models=("deepspeech_small_streaming",)).trials
    assert (trial.reason, trial.driver) == (None, "loop")


def test_a_rate_or_bound_makes_servers_other_trials_and_no_others():
    def ids(**choice):
        return {trial.label: trial.id for trial in _study((*USUAL, "server"), **choice).trials}

    before = ids()
    for changed in (ids(target_qps=5.0), ids(latency_bound_ms=20.0)):
        assert {label for label in before if before[label] != changed[label]} == {"onnxruntime fp32 server", "onnxruntime fp32 x8 server"}


def test_labels_are_unique_and_only_the_usual_are_compared():
    trials = _study((*USUAL, "server", "multi_stream")).trials
    assert len({trial.label for trial in trials}) == len(trials)
    assert {trial.scenario for trial in trials if trial.usual} == set(USUAL)
    assert sum(trial.control for trial in trials) == 1


def test_another_version_of_loadgen_is_another_measurement(monkeypatch):
    def ids():
        return [trial.id for trial in _study((*USUAL, "multi_stream")).trials]

    before = ids()
    monkeypatch.setattr("studylib.study.plan.loadgen_version", lambda: "0.1")
    after = ids()
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, True, True, False]
    assert loadgen.version() != "0.1"
