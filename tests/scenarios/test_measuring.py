"""Scenarios through the whole way of a repetition: job, process, record."""

import re
from dataclasses import replace

import pytest

from studylib.errors import TrialError
from studylib.executors import LocalExecutor
from studylib.machine.disturbance_limits import Limits
from studylib.measure import worker
from studylib.measure.rounds import Bench
from studylib.params.efforts import EFFORTS
from studylib.results.results import Results
from studylib.scenarios import loadgen
from studylib.scenarios.trouble import why_doubted, why_failed
from tests.recorded_results import trial
from tests.scripted_jobs import origin, scripted

SETTINGS = replace(EFFORTS["smoke"], repetitions=1, min_values=70, min_duration_s=0.01, max_duration_s=2.0, warmup_s=0, timeout_s=60.0)
needs_loadgen = pytest.mark.skipif(loadgen.why_not() is not None, reason=str(loadgen.why_not()))


@pytest.fixture
def bench(tmp_path, shelf):
    def make(execute=None, samples="samples", **changes):
        facts = {
            "results": Results(tmp_path / "results"), "executor": scripted(execute) if execute else LocalExecutor(1, shelf),
            "origins": {"mnist_cnn": origin(samples=samples)}, "settings": SETTINGS, "seed": 7, "host_id": "h",
            "limits": Limits(steal_share=1.0, repeated_share=1.0),
            "write": lambda line: None,
        }  # fmt: skip
        return Bench(**facts | changes)

    return make


@pytest.fixture
def shelved(recording, shelf):
    """The keys of a recording and of the samples that go with it."""
    return lambda name, **content: [shelf.put(path).key for path in recording(name, **content)]


def _answer(job, facts=None):
    memory = dict.fromkeys(("rss_before", "rss_after_first", "rss_peak", "vms_peak"), 100)
    return {
        "values_ns": [5], "warmup_ns": [], "started_at": worker.now(), "ended_at": worker.now(), "placement": "CPU",
        "cold_start_ns": {"load": 1, "first_inference": 1, "total": 1}, "memory_bytes": memory, "disturbances": {"steal_share": 0.0},
        "scenario_facts": facts or {},
    }  # fmt: skip


@pytest.mark.parametrize(("scenario", "batch_size"), [("single_stream", 1), ("multi_stream", 4), ("offline", 4), ("server", 1)])
def test_a_look_tells_samples_per_second_of_every_scenario(bench, shelved, scenario, batch_size):
    path, samples = shelved("session", values_ns=[10**6])
    of = trial(runtime="replay", format="replay", scenario=scenario, batch_size=batch_size, artifact_key=path)
    found = bench(samples=samples).glance(of)
    assert found["samples_per_s"] == pytest.approx(1000 * batch_size)
    assert found["n"] >= 11
    assert 0 < found["seconds"] < 60


@needs_loadgen
@pytest.mark.parametrize(("scenario", "batch_size"), [("single_stream", 1), ("multi_stream", 4), ("offline", 4), ("server", 1)])
def test_a_repetition_by_loadgen_is_recorded_with_its_facts(bench, shelved, scenario, batch_size):
    path, samples = shelved("session", values_ns=[10**6])
    of = trial(runtime="replay", format="replay", scenario=scenario, batch_size=batch_size, driver="loadgen", artifact_key=path)
    real = bench(samples=samples, target_qps=200.0)
    real.measure([of])
    (found,) = real.results.measurements(of.id)
    assert found.scenario_facts["driver"] == "loadgen"
    assert isinstance(found.scenario_facts["valid"], bool)
    assert found.scenario_facts["failed_queries"] == 0
    assert len(found.values_ns) >= 11


@needs_loadgen
def test_a_query_that_fails_is_counted_and_fails_the_trial_without_hanging(bench, shelved):
    path, samples = shelved("session", values_ns=[10**6], events={"30": "raise"})
    of = trial(runtime="replay", format="replay", driver="loadgen", artifact_key=path)
    real = bench(samples=samples)
    real.measure([of])
    (found,) = real.results.attempts(of.id)
    # The recording stands still at the query that fails: all that come after it fail as well.
    assert found.status == "failed"
    assert re.fullmatch(r"[1-9]\d* queries failed; the first: RuntimeError: the recording says: raise", found.reason)
    assert 20 <= len(found.values_ns) <= 30


def test_the_rate_is_searched_for_once_in_a_campaign_and_kept(bench):
    jobs = []

    def execute(job, *rest):
        jobs.append(job)
        return {"qps": 42.0, "tests": []} if job.kind == "find_rate" else _answer(job)

    of = trial(scenario="server", driver="loadgen")
    three = bench(execute, settings=replace(SETTINGS, repetitions=3), latency_bound_ns=5_000_000)
    three.measure([of])
    assert [job.kind for job in jobs] == ["find_rate", "measure", "measure", "measure"]
    assert [job.load.target_qps for job in jobs] == [None, 42.0, 42.0, 42.0]
    assert {job.load.latency_bound_ns for job in jobs} == {5_000_000}
    assert len({job.load.seed for job in jobs[1:]}) == 3
    assert three.results.rate(of.id, 1)["qps"] == 42.0


def test_a_rate_that_the_user_gives_is_not_searched_for(bench):
    jobs = []
    bench(lambda job, *rest: jobs.append(job) or _answer(job), target_qps=5.0).measure([trial(scenario="server")])
    assert [(job.kind, job.load.target_qps) for job in jobs] == [("measure", 5.0)]


def test_a_bound_that_cannot_be_kept_costs_that_trial_alone(bench):
    def execute(job, *rest):
        if job.kind == "find_rate":
            raise TrialError("error: no rate keeps 99 of 100 queries within 5 ms")
        return _answer(job)

    server, usual = trial(scenario="server"), trial()
    both = bench(execute)
    both.measure([server, usual])
    assert both.results.measurements(usual.id)
    assert [a.reason for a in both.results.attempts(server.id)] == ["error: no rate keeps 99 of 100 queries within 5 ms"]


def test_clocks_that_disagree_make_a_repetition_invalid_and_it_is_measured_again(bench):
    doubted = {"crosscheck": {"agrees": False, "ours_ns": 1e6, "loadgen_ns": 2e6}}
    answers = [doubted, {}]
    of = trial(driver="loadgen")
    twice = bench(lambda job, *rest: _answer(job, answers.pop(0)))
    twice.measure([of])
    assert [(a.status, a.reason) for a in twice.results.attempts(of.id)] == [
        ("invalid", "doubted: LoadGen's log says 2 ms where our clock says 1 ms"),
        ("ok", ""),
    ]


def test_words_of_trouble():
    assert why_failed({"failed_queries": 3, "first_error": "E: x"}) == "3 queries failed; the first: E: x"
    assert why_failed({}) == why_doubted({}) == why_doubted({"crosscheck": {"agrees": True}}) == ""


def test_a_streaming_job_carries_the_states(bench):
    jobs = []
    stream = {"states": {"new": "old"}, "chunk_s": 0.3}
    one = bench(lambda job, *rest: jobs.append(job) or _answer(job), origins={"mnist_cnn": origin(stream=stream)})
    one.measure([trial(scenario="streaming")])
    assert jobs[0].load.states == {"new": "old"}
    assert jobs[0].load.chunk_s == 0.3
