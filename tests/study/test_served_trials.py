"""What a study measures of servers, and that it really does."""

import os
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest

from studylib.errors import StudyError, UnknownNameError
from studylib.params.efforts import EFFORTS
from studylib.results.records import SERVING
from studylib.study.opening import open_study
from studylib.verdicts import served
from studylib.verdicts.findings import Findings
from tests.planted_peaks import plant_peaks


def _trials(*servers, effort: str = "smoke", **choice):
    study = open_study("cpu", effort, models=("mnist_cnn",), serve=servers, write=lambda line: None, **choice)
    return [trial for trial in study.trials if trial.sweep == SERVING]


def test_each_server_stands_beside_its_runtime_without_one_on_as_many_threads():
    trials = _trials("own/onnxruntime", "own/litert")
    usual = [trial for trial in trials if not trial.options]
    assert [trial.runtime for trial in usual] == ["own/onnxruntime", "onnxruntime", "own/litert", "litert"]
    assert len({trial.threads for trial in trials}) == 1
    assert {trial.recipe for trial in trials} == {"fp32"}


def test_of_the_first_alone_a_smoke_study_varies_wires_and_batching():
    varied = {trial.runtime for trial in _trials("own/onnxruntime", "own/litert") if {"wire", "batch"} & served.settings(trial).keys()}
    assert varied == {"own/onnxruntime"}
    varied = {trial.runtime for trial in _trials("own/onnxruntime", "own/litert", effort="quick") if "wire" in served.settings(trial)}
    assert varied == {"own/onnxruntime", "own/litert"}


def test_the_scenario_of_arrivals_by_chance_is_asked_of_servers_too():
    trials = _trials("own/onnxruntime", scenarios=("single_stream", "offline", "server"))
    assert [trial.runtime for trial in trials if trial.scenario == "server"] == ["own/onnxruntime"]


def test_one_that_is_not_here_is_one_row_with_the_ways_to_get_it(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    (only,) = _trials("tensorflow_serving/tensorflow")
    assert "Ways to get it" in only.reason


def test_an_unknown_server_is_refused_with_the_known_ones():
    with pytest.raises(UnknownNameError, match=r"Unknown server 'own/onnx'. Known: .*own/onnxruntime.* Did you mean"):
        _trials("own/onnx")
    with pytest.raises(StudyError, match="concurrency"):
        _trials("own/onnxruntime", scenarios=("concurrency",))


@pytest.mark.slow
def test_a_study_asks_its_servers_and_tells_what_they_add(tmp_path):
    shortest = {"repetitions": 2, "min_values": 20, "min_duration_s": 0.05, "max_duration_s": 2.0, "warmup_s": 0.01, "further_s": 0.0}
    with (
        mock.patch.dict(os.environ, {"STUDYLIB_OUTPUTS": str(tmp_path)}),
        mock.patch.dict(EFFORTS, {"smoke": replace(EFFORTS["smoke"], **shortest)}),
    ):
        chosen = {"models": ("handmade",), "runtimes": ("onnxruntime",), "recipes": ("fp32",), "serve": ("own/onnxruntime",)}
        study = open_study("cpu", "smoke", write=lambda line: None, **chosen)
        plant_peaks(tmp_path)
        study.measure(matrix=False)
        asked = [trial for trial in study.results.plan() if trial.sweep == SERVING]
        assert not any(study.results.measurements(trial.id) for trial in asked)
        study.measure(matrix=False, served=True)
    findings = Findings(study.results)
    assert {str(findings.state(trial)) for trial in asked} == {"ok"}
    (usual,) = [trial for trial in asked if trial.runtime == "own/onnxruntime" and not trial.options]
    assert served.added(findings, usual).comparison.ratio < 1
    assert served.parts_ms(findings, usual).keys() == {"queue", "compute", "wire"}
    memory = study.results.measurements(usual.id)[0].memory_bytes
    assert memory["rss_added"] == memory["rss_after_first"] > 5e7
    still = study.results.standstill()
    assert (still["server"], still["trial"]) == ("own/onnxruntime", usual.id)
    caught = {way: np.mean(np.array(still[way]) > 50) for way in ("schedule_ms", "closed_ms")}
    assert caught["schedule_ms"] > 0.05 > caught["closed_ms"]
    together = next(trial for trial in asked if "batch" in served.settings(trial))
    assert max(served.batches(findings, together)) > 1
