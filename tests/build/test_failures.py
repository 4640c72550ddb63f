"""Failures do not outlive their cause: what was corrected is tried again, what may have passed too, and the true cause is said."""

import os
from dataclasses import replace

import numpy as np
import pytest

from studylib.errors import ArtifactError, Kind, Reason
from studylib.machine import clock
from studylib.results.results import Results
from studylib.study.opening import open_study
from tests.command_line import cli
from tests.outputs import status_of
from tests.planted_peaks import plant_peaks
from tests.recorded_results import trial

WRONG = "DATA for 'x' has the shape [20, 5]; the model takes [20, 4], the sample first"


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A file that takes four numbers, and where the study of it lies."""
    from onnx import TensorProto, helper, save

    monkeypatch.setenv("STUDYLIB_OUTPUTS", str(tmp_path / "outputs"))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Sigmoid", ["x"], ["y"])], "m", ends[:1], ends[1:])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), tmp_path / "m.onnx")
    return str(tmp_path / "m.onnx")


def _data(path, width: int) -> str:
    np.savez(path, x=np.random.default_rng(width).standard_normal((20, width)).astype(np.float32))
    return str(path)


def _evaluated(model: str, data: str, **choice):
    """A study as `make study` runs it, up to what is timed: a new run each time."""
    clock.begin()
    usual = {"recipes": ("fp32",), "runtimes": ("onnxruntime", "openvino"), "batch_sizes": (1,)}
    study = open_study("cpu", "smoke", models=(model,), data=data, **usual | choice, write=lambda line: None)
    study.evaluate()
    return study, {status_of(study.results, one) for one in study.results.plan()}


@pytest.fixture(autouse=True)
def _own_run(monkeypatch):
    monkeypatch.setenv("STUDYLIB_RUN_BEGAN", clock.now())


PENDING = {("pending", "not measured yet; run `make study` again to go on")}


def test_data_that_was_corrected_in_place_is_read_again(model, tmp_path):
    data = _data(tmp_path / "d.npz", 5)
    assert _evaluated(model, data)[1] == {("failed", WRONG)}
    assert _evaluated(model, data)[1] == {("failed", WRONG)}
    _data(tmp_path / "d.npz", 4)
    study, states = _evaluated(model, data)
    assert states == PENDING
    assert len(study.same) == len(study.trials)


def test_a_good_file_after_a_bad_one_is_not_told_of_it(model, tmp_path):
    _evaluated(model, _data(tmp_path / "bad.npz", 5))
    assert _evaluated(model, _data(tmp_path / "good.npz", 4))[1] == PENDING


def test_bad_data_after_a_success_says_what_is_wrong_with_it(model, tmp_path):
    """Every artifact of the model is there by then; what the bad data costs are samples and reference."""
    _evaluated(model, _data(tmp_path / "good.npz", 4))
    study, states = _evaluated(model, _data(tmp_path / "bad.npz", 5))
    assert states == {("failed", WRONG)}
    assert not study.is_complete() or study.made == []
    for origin in study.plan.origins.values():
        with pytest.raises(ArtifactError, match="has the shape"):
            study.artifact(origin.samples)
        with pytest.raises(ArtifactError, match="has the shape"):
            study.artifact(origin.reference)
    assert _evaluated(model, str(tmp_path / "good.npz"))[1] == PENDING


def test_what_failed_for_good_is_not_tried_again(model, tmp_path, monkeypatch):
    data = _data(tmp_path / "d.npz", 5)
    study, _ = _evaluated(model, data)
    assert set(study.results.causes()) == {study.plan.origins[name].samples for name in study.plan.models} | {
        key for key in study.results.causes() if study.results.causes()[key]["reason"] == WRONG
    }
    again = open_study("cpu", "smoke", models=(model,), data=data, recipes=("fp32",), runtimes=("onnxruntime",), write=lambda line: None)
    jobs = []
    monkeypatch.setattr(again.executor, "run", lambda job, *rest: jobs.append(job) or {})
    clock.begin()
    again.convert()
    tried = [target.key for job in jobs if job.kind == "build" for target in job.targets]
    assert not set(tried) & set(study.results.causes())


def test_a_key_is_kept_with_its_own_failure_and_not_with_that_of_what_it_needs(model, tmp_path):
    study, _ = _evaluated(model, _data(tmp_path / "d.npz", 5))
    kinds = {target.key: target.kind for target in study.plan.targets}
    assert {kinds[key] for key in study.results.causes()} == {"samples"}
    assert {"source", "reference", "recipe"} <= {kinds[key] for key in study.results.failures()}


# --- what may have passed --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*Kind, None])
def test_only_what_came_of_the_moment_is_tried_again_and_only_in_another_run(kind):
    reason, of_the_moment = kind and Reason(kind, "words"), {Kind.CRASH, Kind.TIMEOUT, Kind.OUT_OF_MEMORY, Kind.DEVICE}
    earlier, later = "2000-01-01T00:00:00.000+00:00", "9999-01-01T00:00:00.000+00:00"
    assert clock.is_tried_again(reason, earlier) is (kind in of_the_moment)
    assert clock.is_tried_again(reason, later) is False


def test_an_evaluation_that_crashed_is_tried_again_in_a_new_run(tmp_path):
    results, one = Results(tmp_path), trial()
    results.record_evaluation(one.evaluation_id, {"status": "failed", "reason": "killed by SIGKILL", "kind": Kind.CRASH})
    assert results.is_evaluated(one)
    runs_later()
    assert not results.is_evaluated(one)
    assert results.evaluation(one.evaluation_id)["reason"].startswith("killed")  # a report still tells it
    results.record_evaluation(one.evaluation_id, {"status": "failed", "reason": "SQNR 3 dB", "kind": Kind.PARITY})
    runs_later()
    assert results.is_evaluated(one)


def test_a_look_and_a_check_that_crashed_are_tried_again_in_a_new_run(tmp_path):
    from studylib.measure import checking

    results, one = Results(tmp_path), trial(batch_size=8, scenario="offline")
    results.record_look(one.id, {"reason": "no answer within 5 s; the process was killed", "kind": Kind.TIMEOUT})
    results.record_check(one, {"batch_size": 8, "status": "failed", "reason": "MemoryError", "kind": Kind.OUT_OF_MEMORY})
    assert results.look(one.id) is not None
    assert checking.unseen(results, [one]) == {}
    runs_later()
    assert results.look(one.id) is None
    assert [sizes for _, sizes in checking.unseen(results, [one]).values()] == [[8]]


def test_a_repetition_that_crashed_is_tried_again_in_a_new_run_and_counts(tmp_path):
    from studylib.machine.disturbance_limits import Limits
    from studylib.measure.rounds import Bench
    from tests.measure.test_measure import SETTINGS, FakeExecutor
    from tests.scripted_jobs import origin

    facts = {
        "results": Results(tmp_path), "origins": {"mnist_cnn": origin()}, "settings": replace(SETTINGS),
        "seed": 7, "host_id": "h", "limits": Limits(), "write": lambda line: None,
    }  # fmt: skip
    one = trial(artifact_key="a")
    Bench(executor=FakeExecutor(fail="a"), **facts).measure([one])
    bench = Bench(executor=FakeExecutor(), **facts)
    assert bench.measure([one]) == 0
    runs_later()
    assert bench.measure([one]) == 3
    assert len(bench.results.measurements(one.id)) == 3
    bench.results.save_plan([one], {"failures": {}}, [])
    attempts = bench.results.attempts(one.id)
    assert [attempt.status for attempt in attempts] == ["failed", "ok", "ok", "ok"]


def runs_later() -> None:
    """A run that begins after everything that was recorded so far."""
    os.environ["STUDYLIB_RUN_BEGAN"] = "9998-01-01T00:00:00.000+00:00"


@pytest.mark.slow
def test_on_the_command_line_the_same_command_goes_on_after_the_data_was_corrected(model, tmp_path):
    data = _data(tmp_path / "d.npz", 5)
    command = (
        "study",
        "--effort",
        "smoke",
        "--recipe",
        "fp32",
        "--runtime",
        "onnxruntime",
        "--model",
        model,
        "--data",
        data,
        "--further",
        "0",
    )
    plant_peaks(tmp_path / "outputs")
    done = cli(*command, outputs=tmp_path / "outputs")
    assert f"failed: m onnxruntime fp32: {WRONG}" in done.stdout
    _data(tmp_path / "d.npz", 4)
    done = cli(*command, outputs=tmp_path / "outputs")
    assert done.returncode == 0, done.stdout + done.stderr
    assert WRONG not in done.stdout
    assert "is not in" not in done.stdout + done.stderr
