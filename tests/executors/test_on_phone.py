"""Measuring and judging on a phone: a stand-in that really runs the file where outputs are asked for (see stand_in_phone)."""

import os
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from studylib.artifacts import arrays
from studylib.build.jobs import CheckJob, EvaluateJob, LocateJob, MeasureJob
from studylib.errors import InputError, TrialError
from studylib.executors import LocalExecutor, PhoneExecutor, find_phone
from studylib.executors.phone import on_phone
from studylib.machine.disturbance_limits import Limits, why_invalid
from studylib.models.zoo import Samples
from studylib.quality.answers import stacked
from studylib.quality.criteria import Criteria
from studylib.report.by_name import tables
from studylib.results.records import Measurement
from studylib.results.results import Results
from studylib.scenarios import Load, RunLength
from tests.executors.stand_in_phone import THERMAL, attach

pytestmark = pytest.mark.slow

SAMPLES = 5


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A file of two inputs and two outputs, samples for it, and its own outputs on this computer: artifact, samples, reference."""
    import keras

    from studylib.recipes.convert.to_litert import convert
    from studylib.runtimes import RUNTIMES, Options

    folder = tmp_path_factory.mktemp("it's a $model")
    keras.utils.set_random_seed(4)
    wide, narrow = keras.Input((6,), name="wide"), keras.Input((3,), name="narrow")
    joined = keras.layers.Concatenate()([keras.layers.Dense(4)(narrow), keras.layers.Dense(5)(wide)])
    outputs = {"scores": keras.layers.Dense(7, name="scores")(joined), "other": keras.layers.Dense(2, name="other")(joined)}
    keras.Model([wide, narrow], outputs).export(folder / "saved_model", verbose=False)
    content, _ = convert(folder / "saved_model", folder)
    artifact = folder / "odd name; $HOME.tflite"
    artifact.write_bytes(content)
    rng = np.random.default_rng(6)
    inputs = {name: rng.normal(size=(SAMPLES, size)).astype(np.float32) for name, size in (("wide", 6), ("narrow", 3))}
    samples = Samples(inputs, None)
    session = RUNTIMES["litert"].open(artifact, Options(threads=1))
    reference = arrays.save(folder / "reference", stacked(session.run, samples))
    return artifact, samples.save(folder), reference


@pytest.fixture
def phone(tmp_path, monkeypatch):
    monkeypatch.setattr(on_phone, "_JUDGED", 3)
    return attach(tmp_path, monkeypatch)


@pytest.fixture
def keys(files, shelf):
    """The keys of artifact, samples and reference."""
    return [shelf.put(path).key for path in files]


@pytest.fixture
def executor(phone, shelf):
    return PhoneExecutor(find_phone()[0], LocalExecutor(1, shelf))


@pytest.fixture
def opened(keys):
    artifact, samples, _ = keys
    return {"artifact": artifact, "samples": samples, "runtime": "litert", "provider": "cpu", "threads": 4}


@pytest.fixture
def measure(opened):
    return MeasureJob(**opened, load=Load("single_stream", 1, RunLength(140, 0.1, 5.0)), warmup_s=0.1)


@pytest.fixture
def evaluate(opened, keys):
    return EvaluateJob(**opened, reference=keys[2], version=keys[2], criteria=Criteria("fp32", "other", True, "synthetic"))


@pytest.fixture
def check(opened):
    return CheckJob(**opened, precision="fp32", sizes=(4,))


def test_a_repetition_is_the_mean_that_the_tool_tells(executor, phone, measure):
    found = executor.run(measure, 120)
    (value,) = found["values_ns"]
    assert value == pytest.approx(1_200_000, rel=0.01)
    assert found["cold_start_ns"] == {"load": 12_500_000, "first_inference": 2_500_000}
    assert found["memory_bytes"] == {"rss_added": round(8.25 * 2**20)}
    assert found["placement"] == "CPU"
    assert found["disturbances"] == {"thermal_status": 0, "temperature_max_c": 41.25, "throttle_events": 0}
    facts = found["scenario_facts"]
    assert (facts["driver"], facts["values_are"], facts["summary"]["count"]) == ("benchmark_model", "means of 140 queries", 140)
    (run,) = phone.runs()
    assert (run["num_threads"], run["num_runs"], run["min_secs"]) == ("4", "140", "0.1")
    assert run["input_layer_shape"] in ("1,6:1,3", "1,3:1,6")


def test_files_are_pushed_once_under_their_hash_and_nowhere_else(executor, phone, measure, shelf):
    before = {path for path in phone.folder.rglob("*") if path.is_file()}
    for _ in range(2):
        executor.run(measure, 120)
    # Another session finds what is there already.
    PhoneExecutor(find_phone()[0], LocalExecutor(1, shelf)).run(measure, 120)
    assert phone.asked().count("'push'") == 4  # the tool, the artifact, two inputs
    new = {path for path in phone.folder.rglob("*") if path.is_file()} - before
    places = {str(path.relative_to(phone.folder).parent) for path in new if path.name != "asked"}
    assert places == {"data/local/tmp/studylib/files"}
    assert all(re.fullmatch("[0-9a-f]{64}", path.name) for path in new if path.name != "asked")


def test_a_file_that_arrives_damaged_is_not_measured(executor, phone, measure):
    (phone.folder / "damages").touch()
    with pytest.raises(TrialError, match="did not arrive on the phone as it was sent; is there space left"):
        executor.run(measure, 120)


def test_parity_is_judged_on_what_the_phone_answers(executor, phone, evaluate):
    found = executor.run(evaluate, 300)
    assert (found["status"], found["reason"], found["n"]) == ("ok", "", 3)
    assert found["sqnr"] > 100
    assert found["placement"] == "CPU"
    assert {name["name"] for name in found["outputs"]} == {"scores", "other"}
    assert [run["num_runs"] for run in phone.runs()] == ["1"] * 3


def test_a_wrong_answer_and_a_cut_one_fail_parity(executor, phone, evaluate):
    phone.says(spoil=0.5)
    found = executor.run(evaluate, 300)
    assert found["status"] == "failed"
    assert found["reason"].startswith("parity: SQNR ")
    phone.says(cut=-4)
    with pytest.raises(TrialError, match="an answer has 32 bytes, and the file's outputs have 36"):
        executor.run(evaluate, 300)


def test_a_batch_is_held_against_samples_asked_alone_on_the_phone(executor, phone, check):
    found = executor.run(replace(check, sizes=(4, 2)), 300)["batches"]
    assert [(one["batch_size"], one["status"], one["queries"], one["distinct"]) for one in found] == [(4, "ok", 1, 3), (2, "ok", 1, 2)]
    assert found[0]["remark"] == "3 of its samples were asked alone as well"
    assert {run["input_layer_shape"] for run in phone.runs()} >= {"4,6:4,3"} or {run["input_layer_shape"] for run in phone.runs()} >= {
        "4,3:4,6"
    }
    phone.says(cut=-4)
    with pytest.raises(TrialError, match="an answer has"):
        executor.run(check, 300)


def test_what_a_phone_answered_wrongly_in_a_batch_is_found(files, tmp_path):
    """Its answers as bytes, those of the batch exchanged."""
    from studylib.quality import parity
    from studylib.runtimes.litert import RawTensors

    artifact, folder, _ = files
    samples = Samples.load(folder)
    tensors = RawTensors(artifact, samples.batch(0, 1))
    for name, query, turned in [(str(place), samples.batch(place, 1), False) for place in (0, 1, 3)] + [
        ("batch", samples.batch(0, 4), True)
    ]:
        tensors = RawTensors(artifact, query)
        raw = []
        for tensor in tensors._session._interpreter.get_output_details():
            values = tensors._session._interpreter.get_tensor(tensor["index"])
            raw.append(np.ascontiguousarray(values[::-1] if turned else values).tobytes())
        (tmp_path / name).write_bytes(b"".join(raw))
    found = parity.judge_batch(artifact, samples, tmp_path, size=4, places=(0, 1, 3), precision="fp32")
    assert found["status"] == "failed"
    assert found["reason"].startswith("batch 4: samples are answered otherwise than one by one: ")


def test_a_tool_that_writes_no_answers_times_nothing(executor, phone, evaluate):
    phone.says(unknown=["output_filepath"])
    with pytest.raises(TrialError, match=r"this benchmark_model does not know --output_filepath=.*; give a newer one in BENCHMARK_MODEL"):
        executor.run(evaluate, 300)
    # What an earlier one answered is never taken for this one's.
    phone.says()
    executor.run(evaluate, 300)
    phone.says(event="forget")
    with pytest.raises(TrialError, match="adb pull failed"):
        executor.run(evaluate, 300)


@pytest.mark.parametrize(
    ("delegate", "words"),
    [
        ("partial", "fell back: the GPU delegate took only part of the graph (in 3 pieces); the rest ran on the CPU"),
        ("none", "fell back: the GPU delegate took none of the graph"),
        ("silent", "fell back: benchmark_model does not say that the GPU delegate took the graph"),
    ],
)
def test_a_delegate_that_leaves_something_to_the_cpu_is_no_number(executor, phone, measure, evaluate, delegate, words):
    phone.says(delegate=delegate)
    found = executor.run(replace(evaluate, provider="gpu"), 300)
    assert (found["status"], found["reason"]) == ("invalid", words)
    assert "CPU" in found["placement"]
    with pytest.raises(TrialError, match=re.escape(words)):
        executor.run(replace(measure, provider="gpu"), 120)


def test_a_delegate_that_takes_all_is_named(executor, phone, measure):
    assert executor.run(replace(measure, provider="nnapi"), 120)["placement"] == "NNAPI"
    assert phone.runs()[-1]["use_nnapi"] == "true"


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ("garbage", "error: benchmark_model told no times"),
        ("refuse", "error: benchmark_model ended with 1: ERROR: Benchmarking failed."),
        ("crash", "crash: benchmark_model was killed by SIGSEGV"),
        ("restart", "the device went away"),
    ],
)
def test_a_failure_becomes_words(executor, phone, measure, event, words):
    phone.says(event=event)
    with pytest.raises(TrialError, match=words):
        executor.run(measure, 120)


def test_an_unplugged_phone_stops_the_study_and_fails_no_trial(executor, phone, measure, monkeypatch):
    monkeypatch.setattr(on_phone, "_RETURN_S", 0.0)
    phone.says(event="unplug")
    with pytest.raises(InputError, match=r"any more: adb lists it no more \(plug it in again\)\. .* run the same command again"):
        executor.run(measure, 120)


def test_a_hang_costs_one_trial_and_leaves_nothing_running(executor, phone, measure):
    executor.run(measure, 120)
    phone.says(event="hang")
    begun = time.monotonic()
    with pytest.raises(TrialError, match="timeout: no answer from the device"):
        executor.run(measure, 6)
    assert time.monotonic() - begun < 30
    time.sleep(0.5)
    with pytest.raises(ProcessLookupError):
        os.kill(int((phone.folder / "hanging").read_text()), 0)
    phone.says()
    assert executor.run(measure, 120)["values_ns"]


def test_throttling_makes_a_repetition_invalid_with_a_remedy(executor, phone, measure):
    phone.program("dumpsys", f"cat <<'END'\n{THERMAL.format(status=3)}END")
    found = executor.run(measure, 120)
    assert why_invalid(found["disturbances"], Limits()).startswith("disturbed: heat slowed the processor (1 throttle events")


def test_other_jobs_stay_on_this_computer(executor, phone, measure, recording, shelf):
    artifact, samples = (shelf.put(path).key for path in recording("here", values_ns=[500]))
    here = replace(measure, runtime="replay", artifact=artifact, samples=samples, threads=1)
    assert set(executor.run(here, 60)["values_ns"]) == {500}
    assert phone.runs() == []
    file = {"artifact": measure.artifact, "format": "tflite", "source": measure.artifact, "source_format": "tflite"}
    found = executor.run(LocateJob(**file, samples=measure.samples, sample=0, precision="fp32", runtime="litert"), 120)
    assert found["text"].startswith("on this computer: ")


def test_what_was_measured_becomes_rows_and_tables_without_percentiles(executor, phone, measure, evaluate, tmp_path):
    """From the executor's result through the record on disk to the tables: means labelled so, nothing invented."""
    from studylib.report import machines, report, summary
    from studylib.report.figures.latency import latency as latency_figure
    from studylib.verdicts import advice, compare
    from tests.recorded_results import run_facts, trial

    results = Results(tmp_path / "outputs" / "android")
    facts = {"runtime": "litert", "format": "tflite", "threads": 4, "artifact_key": "a" * 64}
    slow = trial(**facts, evaluation_id="evaluation-slow")
    fast = trial(**facts | {"artifact_key": "b" * 64}, recipe="fp16", evaluation_id="evaluation-fast")
    twin = trial(**facts, evaluation_id="evaluation-slow", control=True)
    artifact = {
        "path": "m", "model": "mnist_cnn", "sha256": "d" * 64, "lineage": [{"made_by": "source", "config": {}, "key": "k"}],
        "format": "tflite", "precision": "fp32", "key": "a" * 64, "size_bytes": 1000,
    }  # fmt: skip
    results.save_plan([slow, fast, twin], run_facts(), [artifact, artifact | {"precision": "fp16", "key": "b" * 64, "sha256": "e" * 64}])
    judged = executor.run(evaluate, 300)
    for of, mean_us in ((slow, 2000.0), (fast, 1000.0), (twin, 2000.0)):
        results.record_evaluation(of.evaluation_id, judged)
        phone.says(mean_us=mean_us)
        for repetition in range(8):
            found = executor.run(measure, 120)
            identity = {"trial_id": of.id, "campaign": 1, "repetition": repetition, "attempt": 0, "session": "s", "host_id": "h"}
            results.record(Measurement(**identity, **found, status="ok", reason=""))
    assert len(results.measurements(slow.id)) == 8
    table = results.table()
    metrics = set(table[table.trial_id == slow.id].metric)
    assert {"latency_mean", "throughput", "load_time", "first_inference", "rss_model"} <= metrics
    assert not {"latency_p50", "latency_p90", "latency_stdev", "cold_start", "rss_peak", "rss_before", "vms_model", "energy"} & metrics
    mean = table[(table.trial_id == slow.id) & (table.metric == "latency_mean")].iloc[0]
    assert mean.ci_low < mean.value < mean.ci_high
    assert mean.n == 8
    shown = tables.latency(results).set_index("recipe")
    assert re.fullmatch(r"mean 1\.0\d \[1\.\d+, 1\.\d+\]", shown.p50_ms["fp16"])
    assert (shown.p95_ms["fp16"], shown.cold_start_ms["fp16"], shown.rss_peak_mb["fp16"], shown.n["fp16"]) == ("–", "–", "–", 8)
    faster = compare.speed_up(slow, fast, results).comparison
    assert faster.ratio == pytest.approx(2, rel=0.02)
    assert faster.verdict == "faster"
    assert set(tables.winners(results).winner) == {"litert fp16"}
    assert tables.winners(results)["winner"].tolist()
    advised = str(advice.advise(results, max_accuracy_loss=1.0))
    assert "Mean 1.0" in advised
    assert "median" not in (advised + " ".join(summary.summary(results))).lower()
    assert "p95 latency of a query is not known: only means of queries are known" in str(advice.advise(results, latency_ns=1e9))
    drawing = latency_figure(results)
    drawn, caption = drawing.figure, drawing.caption
    assert "each dot is one repetition's mean of many queries" in caption
    assert not [patch for axes in drawn.axes for patch in axes.patches]  # no box: nothing is known of single queries
    machines.write(tmp_path / "outputs")
    assert Path(report.build(results)).exists()
