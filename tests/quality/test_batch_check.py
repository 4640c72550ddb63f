"""Batches held against single answers: planted faults in plain functions, and in real files in every runtime that opens them."""

from pathlib import Path

import numpy as np
import pytest

from studylib.models.zoo import Samples
from studylib.quality import batch_check
from studylib.results.records import Trial
from tests.in_process import study_of
from tests.outputs import status_of
from tests.recorded_results import trial
from tests.scripted_jobs import scripted

ALL_CORES = True  # one test sweeps threads
RNG = np.random.default_rng(5)
WEIGHTS = RNG.standard_normal((6, 5)).astype(np.float32)
SAMPLES = Samples({"x": RNG.standard_normal((24, 6)).astype(np.float32)}, None)


def _answer(query: dict) -> dict:
    return {"y": query["x"] @ WEIGHTS}


def _spoilt(spoil, precision="fp32", size=4, samples=SAMPLES) -> dict:
    """The finding where ``spoil`` changes the answers (size, 5) to a batch."""

    def run(query):
        found = _answer(query)
        return {"y": spoil(found["y"])} if len(query["x"]) > 1 else found

    return batch_check.check(run, samples, size, precision)


def _but(values, place, other):
    changed = values.copy()
    changed[place] = other
    return changed


def test_right_answers_pass_and_say_how_many_were_asked():
    found = _spoilt(lambda y: y)
    assert (found["status"], found["reason"], found["remark"]) == ("ok", "", "")
    assert (found["batch_size"], found["queries"], found["distinct"]) == (4, 3, 12)
    assert found["sqnr"] > 110
    assert _spoilt(lambda y: y, size=64)["queries"] == 1


FAULTS = {
    "one answer came": lambda y: y[:1],
    "4 samples were asked and 3 answers came": lambda y: y[:3],
    "4 samples were asked, and the answer does not fall into as many": lambda y: y.reshape(2, -1),
    "every sample has the same answer": lambda y: np.repeat(y[:1], len(y), axis=0),
    "answers are exchanged among the samples": lambda y: y[::-1],
    "1 of 4 have another sample's answer": lambda y: _but(y, 2, y[0]),
    "what a sample gets depends on the others": lambda y: y - y.mean(axis=0),
    "holds NaN or infinity": lambda y: _but(y, 1, np.nan),
}


@pytest.mark.parametrize("precision", ["fp32", "fp16", "static_wi8_ai8", "dynamic_wi8_afp32"])
@pytest.mark.parametrize("words", FAULTS)
def test_every_planted_fault_is_caught_at_every_tolerance(words, precision):
    found = _spoilt(FAULTS[words], precision)
    assert found["status"] == "failed"
    assert found["reason"].startswith("batch 4: ")
    assert words in found["reason"]
    assert found["reason"].endswith("export the model with a dynamic batch axis and in inference mode, or measure BATCH=1 alone")


@pytest.mark.parametrize(("precision", "apart"), [("fp32", 0.01), ("static_wi8_ai8", 0.2)])
def test_answers_that_hardly_differ_cannot_be_exchanged_within_a_tolerance(precision, apart):
    """Scores around 100: another sample's answer is as near as 70 or 45 dB."""

    def run(query):
        values = 100 + _answer(query)["y"] * apart
        return {"y": values[::-1] if len(values) > 1 else values}

    found = batch_check.check(run, SAMPLES, 4, precision)
    assert "answers are exchanged among the samples" in found["reason"]


def test_one_wrong_sample_in_the_last_query_is_caught():
    calls = []

    def run(query):
        found = _answer(query)["y"]
        if len(found) > 1:
            calls.append(len(found))
            found = _but(found, 3, found[1]) if len(calls) == 3 else found
        return {"y": found}

    assert "1 of 4 have another sample's answer" in batch_check.check(run, SAMPLES, 4, "fp32")["reason"]


def test_rounding_passes_and_more_than_rounding_is_said():
    noisy = lambda level: lambda y: y * (1 + level * RNG.standard_normal(y.shape))  # noqa: E731
    assert _spoilt(noisy(1e-6))["remark"] == ""
    found = _spoilt(noisy(0.05), "dynamic_wi8_afp32")
    assert found["status"] == "ok"
    assert found["remark"].startswith("answers differ from single ones by more than rounding (2")
    assert found["remark"].endswith("as where activations are scaled over the whole query")
    found = _spoilt(noisy(0.05), "fp32")
    assert "what a sample gets depends on the others in its query" in found["reason"]
    assert "fp32 needs 60 dB" in found["reason"]


def test_too_few_samples_that_differ_are_asked_moved():
    one = Samples({"x": SAMPLES.inputs["x"][:1]}, None)
    assert _spoilt(lambda y: y, samples=one)["distinct"] == 4
    assert "every sample has the same answer" in _spoilt(FAULTS["every sample has the same answer"], samples=one)["reason"]
    same = Samples({"x": np.ones((3, 6), np.float32)}, None)
    assert _spoilt(lambda y: y, samples=same)["remark"] == "the samples are all the same, so an exchange among them would not be seen"


def test_a_model_that_refuses_moved_values_is_asked_its_own():
    def run(query):
        if (query["x"][:, 0] != SAMPLES.inputs["x"][0, 0]).any():
            raise ValueError("the first value is a length")
        return _answer(query)

    one = Samples({"x": SAMPLES.inputs["x"][:1]}, None)
    found = batch_check.check(run, one, 4, "fp32")
    assert (found["status"], found["distinct"]) == ("ok", 1)
    assert found["remark"].startswith("the samples are all the same")


def test_a_model_without_a_batch_axis_is_refused_also_where_all_samples_are_the_same():
    for values in (SAMPLES.inputs["x"], np.ones((4, 6), np.float32)):
        fixed = Samples({"x": values[:, None]}, None, {"x": None})
        found = batch_check.check(_answer, fixed, 4, "fp32")
        assert found["reason"].startswith("batch 4: no input of the model has a batch axis: it answers one sample a query, not 4")


def test_a_batch_on_another_axis_is_told_apart_there():
    frames = Samples({"x": SAMPLES.inputs["x"].reshape(8, 3, 6)}, None, {"x": 1})
    time_major = lambda query: {"y": query["x"] @ WEIGHTS}  # noqa: E731  (frames, batch, values)
    assert batch_check.check(time_major, frames, 4, "fp32")["status"] == "ok"
    turned = lambda query: {"y": (query["x"] @ WEIGHTS)[:, ::-1]}  # noqa: E731
    assert "answers are exchanged" in batch_check.check(turned, frames, 4, "fp32")["reason"]


def test_an_output_that_is_all_samples_alike_is_no_missing_answer():
    shared = lambda query: _answer(query) | {"classes": np.arange(5)}  # noqa: E731
    assert batch_check.check(shared, SAMPLES, 4, "fp32")["status"] == "ok"
    alone = lambda query: {"classes": np.arange(5)}  # noqa: E731
    assert "4 samples were asked and one answer came" in batch_check.check(alone, SAMPLES, 4, "fp32")["reason"]


def test_whatever_a_framework_raises_at_a_batch_is_the_finding():
    def run(query):
        if len(query["x"]) > 1:
            raise ValueError("\n  cannot broadcast\nmore")
        return _answer(query)

    assert batch_check.check(run, SAMPLES, 2, "fp32")["reason"] == "batch 2: cannot broadcast more (ValueError)"


def test_a_server_is_held_at_sizes_that_may_form():
    assert trial(scenario="server", batch_size=8).batches == (2, 7, 8)
    assert trial(scenario="server", batch_size=2).batches == (2,)
    assert trial(scenario="multi_stream", batch_size=8).batches == (8,)
    assert trial(scenario="streaming").batches == trial().batches == ()


# --- the whole way, in real files ------------------------------------------------------------------------------------


def _model(path, fault: str = "") -> str:
    """A product of (batch, 6) numbers in ONNX, which may have a fault in its batch."""
    from onnx import TensorProto, helper, numpy_helper, save

    constants = {"w": WEIGHTS, "first": np.array([0]), "one": np.array([1, -1]), "zero": np.array(0), "six": np.array([1, 6])}
    nodes = {
        "": [("MatMul", ["x", "w"], ["y"])],
        "first": [("Gather", ["x", "first"], ["f"]), ("MatMul", ["f", "w"], ["y"])],
        "repeated": [
            ("Gather", ["x", "first"], ["f"]), ("MatMul", ["f", "w"], ["m"]), ("Shape", ["x"], ["s"]), ("Gather", ["s", "zero"], ["n"]),
            ("Unsqueeze", ["n", "first"], ["n1"]), ("Concat", ["n1", "five"], ["wanted"]), ("Expand", ["m", "wanted"], ["y"]),
        ],
        "mean": [("MatMul", ["x", "w"], ["m"]), ("ReduceMean", ["m", "first"], ["a"]), ("Add", ["m", "a"], ["y"])],
        "fixed": [("Reshape", ["x", "six"], ["r"]), ("MatMul", ["r", "w"], ["y"])],
    }[fault]  # fmt: skip
    constants["five"] = np.array([5])
    used = {name for _, inputs, _ in nodes for name in inputs}
    weights = [numpy_helper.from_array(np.asarray(values), name) for name, values in constants.items() if name in used]
    graph = helper.make_graph(
        [helper.make_node(*node, **({"axis": 0} if node[0] == "Concat" else {})) for node in nodes],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["m", 5])],
        weights,
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return str(path)


def _study(tmp_path, model: str, **choice):
    usual = {"recipes": ("fp32",), "runtimes": ("onnxruntime", "openvino"), "batch_sizes": (1, 4)}
    return study_of(tmp_path / "outputs", model, **usual | choice)


def _statuses(study) -> dict:
    return {(t.runtime, t.batch_size): status_of(study.results, t) for t in study.results.plan() if not t.control and not t.sweep}


REASONS = {
    "first": "batch 4: 4 samples were asked and one answer came (output 'y' of shape [1, 5], for one sample [1, 5]): a batch of one",
    "repeated": "batch 4: samples are answered otherwise than one by one: every sample has the same answer",
    "mean": "batch 4: samples are answered otherwise than one by one: what a sample gets depends on the others in its query",
    "fixed": "batch 4: ",
}


@pytest.mark.parametrize("fault", REASONS)
def test_a_fault_of_the_batch_fails_its_rows_and_not_the_single_ones(tmp_path, fault):
    # OpenVINO takes a Reshape to the fixed shape for one that changes nothing, and answers rightly.
    runtimes = ("onnxruntime",) if fault == "fixed" else ("onnxruntime", "openvino")
    study = _study(tmp_path, _model(tmp_path / "m.onnx", fault), runtimes=runtimes)
    study.evaluate()
    for (_, size), (status, reason) in _statuses(study).items():
        assert status == ("pending" if size == 1 else "failed"), reason
        assert size == 1 or reason.startswith(REASONS[fault])
    assert {one.batch_size for one in study.timed} == {1}
    assert {one.batch_size for one in (waiting.trial for waiting in study.bench.waiting(study.timed))} == {1}


def test_a_right_batch_is_checked_once_and_another_size_alone(tmp_path, monkeypatch):
    model = _model(tmp_path / "m.onnx")
    study = _study(tmp_path, model)
    study.evaluate()
    assert {status for status, _ in _statuses(study).values()} == {"pending"}
    again = _study(tmp_path, model, batch_sizes=(1, 4, 6))
    jobs = []
    run = again.executor.run
    monkeypatch.setattr(again.executor, "run", lambda job, *rest: jobs.append(job) or run(job, *rest))
    again.evaluate()
    assert [(job.kind, job.sizes) for job in jobs if job.kind in ("evaluate", "check")] == [("check", (6,)), ("check", (6,))]
    assert all(found["status"] == "ok" for one in again.timed for found in again.results.checks(one).values())


def test_looks_and_measures_time_no_batch_that_is_answered_wrongly(tmp_path, monkeypatch):
    study = _study(tmp_path, _model(tmp_path / "m.onnx", "repeated"), sweeps=("batch",), runtimes=("onnxruntime",))
    jobs = []
    run = study.executor.run
    monkeypatch.setattr(study.executor, "run", lambda job, *rest: jobs.append(job) or run(job, *rest))
    study.evaluate()
    study.narrowing.look(study.same)
    study.bench.measure(study.timed)
    study.save()
    assert {job.load.batch_size for job in jobs if job.kind == "measure"} == {1}
    statuses = {t.batch_size: status_of(study.results, t) for t in study.results.plan() if not t.control and not t.reason}
    assert statuses.pop(1) == ("ok", "")
    assert all(status == "failed" and "every sample has the same answer" in reason for status, reason in statuses.values())
    left_out = {t.batch_size: t.reason for t in study.results.plan() if t.reason}
    assert left_out
    assert all(reason.startswith(f"cut short: at batch {min(statuses)} already: batch") for reason in left_out.values())


def test_threads_that_change_answers_are_held_against_the_source_for_themselves(tmp_path, monkeypatch):
    """A session that answers wrongly with one thread alone: its sweep fails, the usual trial does not."""
    study = _study(tmp_path, _model(tmp_path / "m.onnx"), sweeps=("threads",), runtimes=("onnxruntime",), batch_sizes=(1,))
    ids: dict[str, set] = {}
    for one in study.trials:
        if not one.reason:
            ids.setdefault(one.evaluation_id, set()).add(one.threads)
    assert all(len(threads) == 1 for threads in ids.values())
    if len(ids) < 2:
        pytest.skip("this host grants one thread, so there is no sweep of threads")
    run = study.executor.run

    def planted(job, *rest):
        answered = run(job, *rest)
        wrong = job.kind == "evaluate" and job.threads == 1
        return answered | {"status": "failed", "reason": "parity: planted"} if wrong else answered

    monkeypatch.setattr(study.executor, "run", planted)
    study.evaluate()
    assert {one.threads for one in study.same} == {study.threads}


def test_sessions_beside_each_other_are_checked_as_they_are_timed(tmp_path, monkeypatch, shelf):
    """Answers of each session's part put together in another order: planted where the parts are joined."""
    from studylib.build.jobs import CheckJob
    from studylib.build.site import Site
    from studylib.measure import worker
    from studylib.runtimes.base import Parallel

    job = CheckJob(
        artifact=shelf.put(Path(_model(tmp_path / "m.onnx"))).key, samples=shelf.put(SAMPLES.save(tmp_path / "samples")).key,
        runtime="onnxruntime", provider="cpu", threads=2, options="sessions=2", precision="fp32", sizes=(4, 3),
    )  # fmt: skip
    site = Site(store=str(shelf.folder))
    assert [found["status"] for found in worker.check(job, site)["batches"]] == ["ok", "ok"]
    run = Parallel.run
    monkeypatch.setattr(Parallel, "run", lambda self, inputs: {name: values[::-1] for name, values in run(self, inputs).items()})
    assert all("answers are exchanged" in found["reason"] for found in worker.check(job, site)["batches"])


def test_a_batch_that_ends_its_process_costs_only_its_size(tmp_path):
    from studylib.build.jobs import CheckJob
    from studylib.errors import Kind, TrialError
    from studylib.measure import checking

    def execute(job, *rest):
        if 8 in job.sizes:
            raise TrialError("crash: the process was killed by SIGKILL (often: out of memory)", Kind.CRASH)
        return {"batches": [{"batch_size": size, "status": "ok", "reason": ""} for size in job.sizes]}

    opened = {"artifact": "a", "samples": "s", "runtime": "onnxruntime", "provider": "cpu", "threads": 1}
    found = checking.findings(scripted(execute), CheckJob(**opened, precision="fp32", sizes=(4, 8)), 1.0)
    assert [(one["batch_size"], one["status"]) for one in found] == [(4, "ok"), (8, "failed")]
    assert found[1]["reason"] == "batch 8: crash: the process was killed by SIGKILL (often: out of memory)"


def test_findings_are_kept_by_evaluation_size_and_settings(tmp_path):
    from studylib.results.results import Results

    results, usual = Results(tmp_path), trial(batch_size=4, scenario="offline")
    results.record_check(usual, {"batch_size": 4, "status": "failed", "reason": "batch 4: wrong"})
    assert str(results.why_unlike(usual)) == "batch 4: wrong"
    facts = {**usual.__dict__}
    for change in ({"batch_size": 8}, {"options": "sessions=2"}, {"evaluation_id": "another"}):
        other = Trial(**{name: facts[name] for name, field in Trial.__dataclass_fields__.items() if field.init} | change)
        assert results.why_unlike(other) is None
    results.forget_failures()
    assert results.checks(usual) == {4: None}
