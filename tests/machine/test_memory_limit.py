"""Real processes that allocate: what does not fit the declared memory fails, and says so; what fits passes."""

import os
import sys
from pathlib import Path

import pytest

from studylib.build.jobs import MeasureJob
from studylib.errors import Kind, TrialError
from studylib.executors import LocalExecutor
from studylib.machine import memory_limit
from studylib.machine.disturbance_limits import Limits
from studylib.measure.rounds import Bench
from studylib.measure.within_memory import run_within
from studylib.params.efforts import Effort
from studylib.results.results import Results
from studylib.scenarios import Load, RunLength
from tests.machine.planted import plant
from tests.recorded_results import trial
from tests.scripted_jobs import origin, scripted

MB = 10**6
ROOMY = 500 * MB
LOAD = Load("single_stream", 1, RunLength(3, 0, 5))
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux enforces RLIMIT_DATA")


def _greedy(path: Path, megabytes: int) -> Path:
    """An ONNX file that fills a tensor of this size for each sample and adds it up."""
    import onnx
    from onnx import TensorProto, helper

    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [1, megabytes * MB // 4])
    axis = helper.make_tensor("axis", TensorProto.INT64, [1], [1])
    nodes = [
        helper.make_node("ReduceMean", ["x", "axis"], ["one"]),
        helper.make_node("Expand", ["one", "shape"], ["many"]),
        helper.make_node("ReduceSum", ["many", "axis"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", width]) for name, width in (("x", 2), ("y", 1))]
    graph = helper.make_graph(nodes, "greedy", ends[:1], ends[1:], [shape, axis])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


@pytest.fixture
def job(tmp_path, recording, shelf):
    samples = shelf.put(recording("none")[1]).key

    def make(megabytes: int, **more) -> MeasureJob:
        artifact = shelf.put(_greedy(tmp_path / f"{megabytes}.onnx", megabytes)).key
        return MeasureJob(artifact=artifact, samples=samples, runtime="onnxruntime", provider="cpu", threads=1, load=LOAD, **more)

    return make


@linux
def test_the_limit_is_real(job, shelf):
    """The same file passes without the limit and fails under it, in the allocation and not in a comparison afterwards."""
    run = LocalExecutor(1, shelf).run
    assert run(job(800), 60)["memory_bytes"]["rss_peak"] > 800 * MB
    with pytest.raises(TrialError, match="Failed to allocate memory"):
        run(job(800, memory_limit_bytes=ROOMY), 60)


@linux
def test_what_fits_passes_under_the_limit(job, shelf):
    memory = LocalExecutor(1, shelf).run(job(50, memory_limit_bytes=ROOMY), 60)["memory_bytes"]
    assert 50 * MB < memory["rss_peak"] < ROOMY


@linux
def test_a_row_says_how_much_is_needed_and_its_neighbour_is_measured(job, tmp_path, shelf):
    trials = [trial(artifact_key=job(megabytes).artifact, threads=1) for megabytes in (800, 50)]
    settings = Effort("smoke", 2, 3, 0.0, 5.0, 0.0, 1, 1, 60.0, 1.0, 0.0)
    bench = Bench(
        results=Results(tmp_path / "results"), executor=LocalExecutor(1, shelf),
        origins={"mnist_cnn": origin(samples=job(50).samples)}, settings=settings, seed=1, host_id="h", limits=Limits(steal_share=1.0),
        memory_bytes=ROOMY, write=lambda line: None,
    )  # fmt: skip
    bench.measure(trials)
    (failed,) = bench.results.attempts(trials[0].id)
    assert failed.status == "failed"
    assert failed.reason.startswith("needs more than the declared 500 MB of memory: ")
    assert "held to it, it ended with: out of memory: " in failed.reason
    assert len(bench.results.measurements(trials[1].id)) == 2


def _executor(*answers):
    """Gives each answer in turn, keeping the limits it was called with; an error is raised."""
    limits, waiting = [], list(answers)

    def execute(job, *rest):
        limits.append(job.memory_limit_bytes)
        answer = waiting.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return scripted(execute), limits


JOB = MeasureJob(artifact="a", samples="s", runtime="replay", provider="cpu", threads=1, load=LOAD)


def _found(peak):
    return {"memory_bytes": {"rss_peak": peak}, "disturbances": {}}


def test_a_cause_that_is_not_memory_keeps_its_own_words():
    execute, limits = _executor(TrialError("crash: SIGSEGV"), TrialError("crash: SIGSEGV again"))
    with pytest.raises(TrialError, match="SIGSEGV again"):
        run_within(100, execute, JOB, 1)
    assert limits == [100, None]


def test_a_limit_that_was_too_strict_costs_nothing_but_is_told():
    execute, _ = _executor(TrialError("error: no memory"), _found(99))
    assert run_within(100, execute, JOB, 1)["disturbances"] == {"failed_under_memory_limit": "error: no memory"}


def test_a_hang_is_not_waited_for_twice():
    execute, limits = _executor(TrialError("timeout: no answer within 1 s", Kind.TIMEOUT))
    with pytest.raises(TrialError, match="timeout"):
        run_within(100, execute, JOB, 1)
    assert limits == [100]


def test_without_a_declared_size_nothing_is_limited():
    execute, limits = _executor(_found(10**12))
    assert run_within(None, execute, JOB, 1) == _found(10**12)
    assert limits == [None]
    assert memory_limit.why_too_large(_found(10**12), None) == ""


GROUPS = "sys/fs/cgroup"
OPEN = {"cgroup.procs": "", "cgroup.subtree_control": "cpu memory pids"}


def _groups(root, inner, outer=OPEN):
    files = {"proc/self/cgroup": "0::/user/terminal", f"{GROUPS}/cgroup.procs": "", f"{GROUPS}/cgroup.subtree_control": ""}
    files |= {f"{GROUPS}/user/{name}": words for name, words in outer.items()}
    files |= {
        f"{GROUPS}/user/terminal/{name}": words for name, words in ({"cgroup.procs": "1", "cgroup.subtree_control": ""} | inner).items()
    }
    return plant(root, files)


def test_a_control_group_is_made_beside_our_own_where_that_is_allowed(tmp_path):
    with memory_limit.group(1000, _groups(tmp_path, {"memory.max": "max", "cpu.max": "max 100000"})) as folder:
        assert folder == tmp_path / GROUPS / "user" / f"studylib-{os.getpid()}"
        assert (folder / "memory.max").read_text() == "1000"
        assert memory_limit.enter(str(folder))
        assert (folder / "cgroup.procs").read_text() == str(os.getpid())


@pytest.mark.parametrize(
    ("inner", "outer"),
    [
        ({"memory.max": "5000000"}, OPEN),  # outside of our group its own limit would be escaped
        ({"cpu.max": "50000 100000"}, OPEN),
        ({"cpuset.cpus": "0-1"}, OPEN),
        ({}, OPEN | {"cgroup.subtree_control": "cpu pids"}),
        ({"memory.limit_in_bytes": "1"}, OPEN),
    ],
)
def test_no_group_is_made_where_it_would_not_hold_or_would_escape(tmp_path, inner, outer):
    with memory_limit.group(1000, _groups(tmp_path, inner, outer)) as folder:
        assert folder is None
    assert not list(tmp_path.rglob("studylib-*"))


def test_a_group_that_cannot_be_entered_is_said(tmp_path):
    assert memory_limit.enter(str(tmp_path / "none")) is False


@pytest.mark.skipif(memory_limit._parent(Path("/")) is None, reason="no cgroup v2 that this user may divide")
def test_a_real_control_group_holds(job, shelf):
    with memory_limit.group(ROOMY) as folder:
        assert folder is not None
    with pytest.raises(TrialError, match="SIGKILL"):
        LocalExecutor(1, shelf).run(job(800, memory_limit_bytes=ROOMY), 60)
