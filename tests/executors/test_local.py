import json
import os
import resource
import subprocess
import sys
import time

import pytest

from studylib.build.driving import make_artifacts
from studylib.build.jobs import MeasureJob, Target
from studylib.errors import Kind, Reason, TrialError
from studylib.executors import LocalExecutor
from studylib.executors.child import end, environment, follow
from studylib.scenarios import Load, RunLength
from tests.scripted_jobs import scripted

pytestmark = pytest.mark.slow


@pytest.fixture
def job(recording, shelf):
    """A repetition of a recording that holds what is given."""

    def make(**content) -> MeasureJob:
        artifact, samples = (shelf.put(path).key for path in recording("job", **content))
        load = Load("single_stream", 1, RunLength(20, 0, 5))
        return MeasureJob(artifact=artifact, samples=samples, runtime="replay", provider="cpu", threads=1, load=load)

    return make


def test_a_repetition_runs_in_its_own_process(job, shelf):
    found = LocalExecutor(1, shelf).run(job(values_ns=[500, 700]), 60)
    assert found["values_ns"] == [500, 700] * 10
    assert len(found["warmup_ns"]) == 3
    assert found["cold_start_ns"]["first_inference"] == 500
    assert found["cold_start_ns"]["process"] > 10**6
    memory = found["memory_bytes"]
    assert 10**7 < memory["rss_before"] <= memory["rss_peak"] < memory["vms_peak"]
    json.dumps(found)


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ("abort", "crash: the process was killed by SIGABRT"),
        ("raise", "measuring: the recording says: raise (RuntimeError)"),
        ("exhaust", "out of memory: MemoryError: the recording says: out of memory"),
    ],
)
def test_a_failure_becomes_words(job, shelf, event, words):
    with pytest.raises(TrialError) as caught:
        LocalExecutor(1, shelf).run(job(events={"5": event}), 60)
    assert str(caught.value) == words


def test_a_hang_is_killed_at_the_timeout(job, shelf):
    begun = time.monotonic()
    with pytest.raises(TrialError, match=r"timeout: no answer within 3 s; the process was killed") as told:
        LocalExecutor(1, shelf).run(job(events={"5": "hang"}), 3)
    assert told.value.kind is Kind.TIMEOUT
    assert time.monotonic() - begun < 30


def test_the_parent_sleeps_while_the_child_works(job, shelf):
    before = resource.getrusage(resource.RUSAGE_SELF)
    begun = time.monotonic()
    with pytest.raises(TrialError, match="timeout"):
        LocalExecutor(1, shelf).run(job(events={"5": "hang"}), 4)
    after = resource.getrusage(resource.RUSAGE_SELF)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert busy < 0.05 * (time.monotonic() - begun)
    assert after.ru_nvcsw - before.ru_nvcsw < 60


def test_threads_are_explicit_for_every_library():
    variables = environment(3)
    assert {variables[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")} == {"3"}


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="needs two processors")
def test_a_rehearsal_with_fewer_threads_is_fixed_to_as_many_processors(shelf):
    assert len(LocalExecutor(1, shelf).cpus) == 1
    assert LocalExecutor(len(os.sched_getaffinity(0)), shelf).cpus is None


def test_a_process_that_falls_silent_is_not_waited_for_until_the_end():
    """One of many conversions that hangs costs its own time, not that of all."""
    program = "import time; print('begun', flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, start_new_session=True)
    begun = time.monotonic()
    try:
        with pytest.raises(subprocess.TimeoutExpired) as caught:
            follow(process, 50, lambda line: 0.5)
    finally:
        end(process)
    assert caught.value.timeout == 0.5
    assert time.monotonic() - begun < 20


def test_what_hangs_while_it_is_made_costs_itself():
    limits = []

    def execute(job, timeout_s, on_line):
        for target in job.targets:
            limits.append(on_line(json.dumps({"begun": target.key})))
            if target.key == "hangs":
                raise TrialError("timeout: no answer within 50 s; the process was killed", Kind.TIMEOUT)
            assert on_line(json.dumps({"ended": target.key, "reason": None, "kind": ""})) is None
        return {}

    targets = [Target(kind="recipe", key=key, label=key, model="m", seed=1) for key in ("first", "hangs", "last")]
    failures = make_artifacts(targets, {}, scripted(execute), lambda key: False, 10, lambda line: None)
    assert failures == {"hangs": Reason(Kind.TIMEOUT, "timeout: no answer within 50 s; the process was killed")}
    assert limits == [50, 50, 50]
