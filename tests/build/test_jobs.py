"""Jobs survive the way to another process or machine, whole, and carry nothing of where they were made."""

import dataclasses
import json

import numpy as np
import pytest

from studylib.build.jobs import (
    KINDS,
    BuildJob,
    CheckJob,
    EvaluateJob,
    FindRateJob,
    Job,
    JudgeBatchJob,
    JudgeJob,
    LocateJob,
    MeasureJob,
    PackJob,
    PeaksJob,
    Target,
)  # fmt: skip
from studylib.measure import worker
from studylib.quality.criteria import Criteria
from studylib.scenarios import Load, RunLength
from studylib.study.opening import open_study

OPENED = {
    "artifact": "a", "samples": "s", "runtime": "onnxruntime", "provider": "cpu", "threads": 2, "options": "graph=basic", "recipe": "fp16",
}  # fmt: skip
CRITERIA = Criteria("fp16", "classification", True, "real")
VERSIONS = {"reference": "r", "version": "v", "criteria": CRITERIA}
LOAD = Load("streaming", 3, RunLength(7, 0.5, 8.0), seed=11, target_qps=2.5, latency_bound_ns=5, states={"new": "old"}, chunk_s=0.3)
TARGET = Target(
    kind="search", key="k", model="m", seed=7, label="l", needs=("n", "o"), steps=(("fp32", "keras", "onnx"), ("fp16", "onnx", "onnx")),
    recipe="fp16", format="onnx", split="test", about="b", lessons="e", weight=2.5, matrix=True, calibration=3, training=4, n=5,
    search={"seconds": 2.0, "assignment": "d"},
)  # fmt: skip
# One job of each kind, every field another than its default.
JOBS = (
    BuildJob(targets=(TARGET, dataclasses.replace(TARGET, key="l", lessons=None)), failed={"k": "no way"}, threads=1),
    EvaluateJob(**OPENED, **VERSIONS, sizes=(4, 8)),
    CheckJob(**OPENED, precision="int8", sizes=(4,)),
    PackJob(artifact="a", samples="s", n=3, batch_size=2, threads=1),
    JudgeJob(artifact="a", samples="s", **VERSIONS, n=3, placement="GPU, CPU", elsewhere="fell back", threads=4),
    JudgeBatchJob(artifact="a", samples="s", precision="fp32", size=4, places=(0, 1, 3)),
    LocateJob(artifact="a", format="onnx", source="o", source_format="keras", samples="s", sample=9, precision="fp32", runtime="litert"),
    FindRateJob(**OPENED, load=LOAD, limit_s=3.5, driver="loadgen", warmup_s=0.2),
    MeasureJob(**OPENED, load=LOAD, driver="loadgen", warmup_s=0.2, memory_limit_bytes=10**9),
    PeaksJob(threads=2),
)


def _read(job: Job) -> Job:
    return Job.from_json(json.loads(json.dumps(job.to_json())))


def texts(value) -> list[str]:
    """Every string in plain JSON, names included."""
    if isinstance(value, dict):
        return [text for name, inner in value.items() for text in (name, *texts(inner))]
    return [text for inner in value for text in texts(inner)] if isinstance(value, list) else [value] if isinstance(value, str) else []


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.kind)
def test_a_job_comes_back_as_the_same(job):
    again = _read(job)
    assert again == job
    assert type(again) is type(job)
    assert again.to_json() == job.to_json()


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.kind)
def test_every_field_is_carried(job):
    for field in dataclasses.fields(job):
        facts = job.to_json()
        del facts[field.name]
        try:
            is_lost = Job.from_json(facts) == job
        except TypeError:
            is_lost = False  # it cannot be left out
        assert not is_lost or getattr(job, field.name) == field.default


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.kind)
def test_a_job_cannot_be_changed(job):
    with pytest.raises(dataclasses.FrozenInstanceError):
        job.threads = 3


def test_every_kind_has_an_example_here_and_somebody_who_does_it():
    assert {job.kind for job in JOBS} == set(KINDS) == set(worker.WORK)
    assert all(job.doing for job in JOBS)


def test_what_is_no_kind_is_refused():
    with pytest.raises(KeyError, match="bake"):
        Job.from_json({"kind": "bake"})


def test_a_field_that_is_none_is_refused():
    """What a newer version sent is not half understood."""
    with pytest.raises(TypeError, match="oven"):
        Job.from_json(PeaksJob(threads=1).to_json() | {"oven": 1})


def test_what_is_asked_of_an_artifact_needs_it_first():
    assert {job.kind for job in JOBS if not job.keys} == {"build", "peaks"}
    assert JOBS[1].keys == ("a", "s", "r", "v")


def test_no_job_of_a_study_of_the_user_s_own_files_says_where_they_lie(tmp_path, monkeypatch):
    from onnx import TensorProto, helper, save

    monkeypatch.setenv("STUDYLIB_OUTPUTS", str(tmp_path / "outputs"))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Sigmoid", ["x"], ["y"])], "m", ends[:1], ends[1:])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), tmp_path / "m.onnx")
    np.savez(tmp_path / "d.npz", x=np.random.default_rng(1).standard_normal((20, 4)).astype(np.float32))
    usual = {"recipes": ("fp32",), "runtimes": ("onnxruntime",), "batch_sizes": (1, 4), "sweeps": ()}
    study = open_study("cpu", "smoke", models=(str(tmp_path / "m.onnx"),), data=str(tmp_path / "d.npz"), **usual, write=lambda line: None)
    jobs, run = [], study.executor.run
    monkeypatch.setattr(study.executor, "run", lambda job, *rest: jobs.append(job) or run(job, *rest))
    study.evaluate()
    study.bench.measure(study.timed[:1])
    assert {job.kind for job in jobs} == {"build", "evaluate", "measure"}
    assert any(len(job.targets) > 3 for job in jobs if job.kind == "build")
    for job in jobs:
        assert _read(job) == job
        found = [text for text in texts(job.to_json()) if text.startswith(("/", "\\", "~")) or str(tmp_path) in text or ".npz" in text]
        assert found == [], job.kind


def test_the_check_for_paths_sees_one():
    job = dataclasses.replace(JOBS[0], failed={"k": "/anywhere/m.onnx"})
    assert "/anywhere/m.onnx" in texts(job.to_json())
