"""One process alone against several that take turns."""

import random

import pytest

from studylib.bench import blocks_or_alone
from studylib.build.jobs import MeasureJob
from studylib.executors import LocalExecutor
from tests.measure.test_cohorts import Together


def _job(artifact: str, samples: str, runtime: str) -> MeasureJob:
    opened = {"artifact": artifact, "samples": samples, "runtime": runtime, "provider": "cpu", "threads": 1}
    return MeasureJob(**opened, load=blocks_or_alone._LOAD, warmup_s=0.0)


def test_a_planted_difference_between_the_two_ways_is_seen():
    noise = random.Random(1)
    executor = Together(lambda artifact, number: round(1e6 * noise.lognormvariate(0, 0.01)))
    assert blocks_or_alone.read(executor, _job("a", "s", "replay"), 5).within_noise
    executor._answer = lambda job, timeout_s, on_line: {"values_ns": [round(1.2e6 * noise.lognormvariate(0, 0.01))]}
    found = blocks_or_alone.read(executor, _job("a", "s", "replay"), 5)
    assert found.against.ratio == pytest.approx(1.2, rel=0.03)
    assert not found.within_noise


@pytest.mark.slow
def test_real_processes_are_read_both_ways(tiny, tmp_path, shelf):
    keys = shelf.put(tiny.path).key, shelf.put(tiny.samples.save(tmp_path)).key
    with LocalExecutor(1, shelf) as executor:
        found = blocks_or_alone.read(executor, _job(*keys, "onnxruntime"), 1)
    assert 0.1 < found.against.ratio < 10
