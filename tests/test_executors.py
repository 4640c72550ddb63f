import json
import os
import resource
import time

import pytest

from studylib.errors import TrialError
from studylib.executors import LocalExecutor
from studylib.scenarios import Budget
from studylib.scenarios.asking import asked


def _job(recording, **content):
    artifact, samples = recording("job", **content)
    load = asked("single_stream", 1, Budget(20, 0, 5))
    facts = {"kind": "measure", "runtime": "replay", "provider": "cpu", "threads": 1, "options": "", "batch_size": 1, "driver": "loop"}
    return facts | load | {"recipe": "fp32", "artifact": str(artifact), "samples": str(samples), "settings": {"warmup_s": 0}}


def test_a_repetition_runs_in_its_own_process(recording):
    found = LocalExecutor(1).run(_job(recording, values_ns=[500, 700]), 60)
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
def test_a_failure_becomes_words(recording, event, words):
    with pytest.raises(TrialError) as caught:
        LocalExecutor(1).run(_job(recording, events={"5": event}), 60)
    assert str(caught.value) == words


def test_a_hang_is_killed_at_the_timeout(recording):
    begun = time.monotonic()
    with pytest.raises(TrialError, match=r"timeout: no answer within 3 s; the process was killed"):
        LocalExecutor(1).run(_job(recording, events={"5": "hang"}), 3)
    assert time.monotonic() - begun < 30


def test_the_parent_sleeps_while_the_child_works(recording):
    before = resource.getrusage(resource.RUSAGE_SELF)
    begun = time.monotonic()
    with pytest.raises(TrialError, match="timeout"):
        LocalExecutor(1).run(_job(recording, events={"5": "hang"}), 4)
    after = resource.getrusage(resource.RUSAGE_SELF)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert busy < 0.05 * (time.monotonic() - begun)
    assert after.ru_nvcsw - before.ru_nvcsw < 60


def test_threads_are_explicit_for_every_library():
    environment = LocalExecutor(3).environment(3)
    assert {environment[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")} == {"3"}


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="needs two processors")
def test_a_rehearsal_with_fewer_threads_is_fixed_to_as_many_processors():
    assert len(LocalExecutor(1).cpus) == 1
    assert LocalExecutor(len(os.sched_getaffinity(0))).cpus is None
