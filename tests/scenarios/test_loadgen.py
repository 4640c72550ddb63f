"""Tests that MLPerf LoadGen really runs, on a real session and on planted trouble."""

import gc
import threading

import numpy as np
import pytest

from studylib.models.zoo import Samples
from studylib.runtimes import RUNTIMES, Options
from studylib.scenarios import MICROSECONDS_NS, Load, RunLength, drive, loadgen, why_loop

pytestmark = pytest.mark.skipif(loadgen.why_not() is not None, reason=str(loadgen.why_not()))
SHORT = RunLength(70, 0.05, 5)


def test_single_stream_is_valid_with_an_estimate_and_both_clocks(tiny):
    driven = loadgen.drive(tiny.session, tiny.samples, Load("single_stream", 1, SHORT, typical_ns=50_000))
    facts = driven.facts
    assert (facts.driver, facts.valid, facts.invalid_reason, facts.failed_queries) == ("loadgen", True, "", 0)
    assert len(driven.values_ns) == facts.summary["query_count"] >= 70
    assert facts.early_stopping_ns["90"] >= np.quantile(driven.values_ns, 0.9)
    assert facts.crosscheck["ours_ns"] == np.median(driven.values_ns)
    assert facts.crosscheck["loadgen_ns"] == facts.summary["50.00_percentile_latency_ns"] > facts.crosscheck["ours_ns"]
    assert facts.completed_samples_per_s == facts.summary["qps_with_loadgen_overhead"]


def test_an_early_stopping_estimate_is_absent_with_too_few_queries(sleeper, samples):
    found = loadgen.drive(sleeper(), samples, Load("single_stream", 1, RunLength(20, 0.001, 0.04), typical_ns=10**6)).facts
    assert found.early_stopping_ns == {}
    assert "Need to process at least 64 queries for early stopping" in found.early_stopping_reason
    assert found.valid is False
    assert found.invalid_reason.startswith("too few queries for its percentile; Only processed")


def test_the_reason_of_invalid_comes_through(sleeper, samples):
    """Fifty milliseconds a query, and a tenth of a second for them all."""
    found = loadgen.drive(sleeper(0.05), samples, Load("multi_stream", 8, RunLength(10, 0.01, 0.1), typical_ns=10**6)).facts
    assert found.valid is False
    assert found.invalid_reason.startswith("fewer queries than asked for; too few queries for its percentile; The test exited early")
    assert "Max test duration reached" in found.invalid_reason


def test_multi_stream_asks_for_eight_samples_at_once(sleeper, samples):
    session = sleeper()
    driven = loadgen.drive(session, samples, Load("multi_stream", 8, RunLength(10, 0.01, 3), typical_ns=10**6))
    assert {len(asked["x"]) for asked in session.asked} == {8}
    assert len(driven.values_ns) == len(session.asked) >= 662
    assert list(driven.facts.early_stopping_ns) == ["99"]
    assert driven.facts.samples_per_query == 8


def test_offline_gets_all_samples_and_fills_the_last_batch(sleeper, samples):
    session = sleeper(0.002)
    driven = loadgen.drive(session, samples, Load("offline", 5, RunLength(1, 0.05, 5), typical_ns=2 * 10**6))
    assert {len(asked["x"]) for asked in session.asked} == {5}
    assert len(driven.values_ns) == len(session.asked) >= 11
    assert driven.facts.valid
    assert driven.facts.completed_samples_per_s == driven.facts.summary["samples_per_second"]
    assert driven.facts.crosscheck["agrees"], driven.facts.crosscheck


def test_server_counts_the_waiting_and_keeps_to_its_schedule(sleeper, samples):
    """Two milliseconds an answer, and 400 queries a second on the average: some must wait for others."""
    load = Load("server", 1, RunLength(50, 0.3, 3), seed=3, target_qps=400.0, latency_bound_ns=10**9)
    driven = loadgen.drive(sleeper(0.002), samples, load)
    assert driven.facts.scheduled_qps == pytest.approx(400, rel=0.25)
    assert len(driven.values_ns) == driven.facts.summary["query_count"]
    assert driven.values_ns.min() >= 2_000_000
    assert np.quantile(driven.values_ns, 0.9) > 3_000_000
    assert driven.facts.crosscheck["agrees"], driven.facts.crosscheck
    assert driven.facts.latency_bound_ns == 10**9


def test_a_server_that_cannot_keep_the_bound_is_invalid(sleeper, samples):
    load = Load("server", 1, RunLength(20, 0.1, 2), target_qps=100.0, latency_bound_ns=1_000_000)
    found = loadgen.drive(sleeper(0.005), samples, load).facts
    assert found.valid is False
    assert found.invalid_reason.startswith("the latency bound is not kept")
    assert "Reduce target QPS" in found.invalid_reason


def test_a_server_takes_up_to_a_batch_of_those_that_wait(sleeper, samples):
    session = sleeper(0.01)
    loadgen.drive(session, samples, Load("server", 4, RunLength(60, 0.1, 3), target_qps=300.0, latency_bound_ns=10**9))
    sizes = {len(asked["x"]) for asked in session.asked}
    assert max(sizes) == 4
    assert sizes <= {1, 2, 3, 4}


@pytest.mark.parametrize(("scenario", "batch_size"), [("single_stream", 1), ("multi_stream", 8), ("offline", 4), ("server", 1)])
def test_an_exception_is_a_failed_query_and_nothing_hangs(sleeper, samples, scenario, batch_size):
    session = sleeper(0.001, fails=(1, 4))
    load = Load(scenario, batch_size, RunLength(12, 0.01, 1), typical_ns=10**6, target_qps=200.0)
    driven = loadgen.drive(session, samples, load)
    assert driven.facts.failed_queries == 2
    assert driven.facts.first_error == "RuntimeError: planted: no answer"
    assert len(driven.values_ns) == len(session.asked) - 2
    assert gc.isenabled()
    assert threading.active_count() == 1 or not any("_answer" in thread.name for thread in threading.enumerate())


def test_a_replayed_clock_is_not_held_against_the_machines(recording):
    path, folder = recording("session", values_ns=[100, 200])
    session = RUNTIMES["replay"].open(path, Options())
    driven = loadgen.drive(session, Samples.load(folder), Load("single_stream", 1, SHORT, typical_ns=2000))
    assert set(driven.values_ns) == {100, 200}
    assert driven.facts.crosscheck == {}


def test_the_seed_decides_what_is_asked_for(sleeper, samples):
    def order(seed):
        session = sleeper(0)
        loadgen.drive(session, samples, Load("single_stream", 1, RunLength(70, 0.001, 1), seed=seed, typical_ns=20_000))
        return [asked["x"][0, 0] for asked in session.asked[:40]]

    assert order(1) == order(1) != order(2)


def test_nothing_is_written_where_we_stand(sleeper, samples, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loadgen.drive(sleeper(0), samples, Load("single_stream", 1, RunLength(5, 0.001, 1), typical_ns=20_000))
    assert list(tmp_path.iterdir()) == []


def test_queries_of_microseconds_get_the_loop_and_the_facts_say_so(tiny):
    load = Load("single_stream", 1, SHORT, typical_ns=MICROSECONDS_NS - 1)
    facts = drive(tiny.session, tiny.samples, load, "loadgen").facts
    assert facts.driver == "loop"
    assert facts.driver_reason.startswith(f"a query takes {MICROSECONDS_NS // 1000} µs; below")
    assert why_loop(Load("single_stream", 1, SHORT, typical_ns=MICROSECONDS_NS)) is None
    # LoadGen enters Python once for all samples of an offline test: nothing to lose.
    assert why_loop(Load("offline", 8, SHORT, typical_ns=1)) is None


def test_without_a_wheel_the_loop_drives_and_says_why(tiny, monkeypatch):
    monkeypatch.setattr(loadgen.importlib.util, "find_spec", lambda name: None)
    facts = drive(tiny.session, tiny.samples, Load("single_stream", 1, SHORT, typical_ns=10**7), "loadgen").facts
    assert facts.driver == "loop"
    assert facts.driver_reason == "the package mlcommons-loadgen is not installed (it has wheels for x86-64 Linux)"
    assert loadgen.version() is None
