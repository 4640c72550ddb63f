"""The server scenario without LoadGen, its queue, and the search for its rate."""

import numpy as np
import pytest

from studylib.errors import RefusedError
from studylib.scenarios import Driven, Facts, Load, RunLength, arrivals, rate

LOAD = Load("server", 1, RunLength(50, 0.2, 3), seed=1, target_qps=500.0)


def test_arrivals_are_poisson_at_the_rate_and_by_the_seed():
    due = arrivals.schedule(Load("server", 1, RunLength(20_000, 0, 100), seed=1, target_qps=1000.0))
    gaps = np.diff(due)
    assert gaps.mean() == pytest.approx(1e6, rel=0.03)
    assert gaps.std() == pytest.approx(1e6, rel=0.05)
    assert (arrivals.schedule(LOAD) == arrivals.schedule(LOAD)).all()


def test_the_longest_duration_cuts_the_schedule():
    assert len(arrivals.schedule(Load("server", 1, RunLength(1000, 0, 2), target_qps=10.0))) == 20


def test_a_rate_is_needed():
    with pytest.raises(RefusedError, match=r"needs queries per second above 0, not None; give QPS="):
        arrivals.schedule(Load("server", 1, RunLength(1, 0, 1)))


def test_latency_counts_from_the_arrival(sleeper, samples):
    """Two answers of 5 ms for queries that arrive together: the second waits for the first."""
    session = sleeper(0.005)
    driven = arrivals.drive(session, samples, Load("server", 1, RunLength(40, 0, 3), target_qps=100_000.0))
    assert len(driven.values_ns) == 40
    # A busy machine makes any of them longer, and none shorter.
    assert driven.values_ns[1] - driven.values_ns[0] >= 5e6 * 0.5
    assert driven.values_ns[-1] >= 40 * 5e6 * 0.9
    assert 0 < driven.facts.completed_samples_per_s <= 200 * 1.1


class _Clients:
    """A session with others beside it; how many queries each was asked."""

    def __init__(self, sleeper, seconds: float, clients: int):
        self.sessions = [sleeper(seconds) for _ in range(clients)]
        self.asked = [0] * clients
        for place, one in enumerate(self.sessions):
            one.run = self._counting(place, one.run)

    def _counting(self, place: int, run):
        def counted(inputs):
            self.asked[place] += 1
            return run(inputs)

        return counted

    def beside(self):
        return self.sessions


def test_few_queries_use_few_clients(sleeper, samples):
    """Queries of 1 ms every 20 ms: two clients take turns, and the other fourteen wait."""
    clients = _Clients(sleeper, 0.001, 16)
    driven = arrivals.drive(clients, samples, Load("server", 1, RunLength(50, 1, 1), seed=1, target_qps=50.0))
    assert len(driven.values_ns) == sum(clients.asked) == 50
    # A busy machine, and queries that arrive together, take some more.
    assert sum(sorted(clients.asked)[-4:]) >= 40


def test_clients_ask_beside_each_other(sleeper, samples):
    """Sixteen queries of 200 ms that are due at once: with sixteen clients none waits for another's answer."""
    clients = _Clients(sleeper, 0.2, 16)
    driven = arrivals.drive(clients, samples, Load("server", 1, RunLength(16, 0, 1), target_qps=100_000.0))
    assert clients.asked == [1] * 16
    assert driven.values_ns.max() < 16 * 200e6 / 2


def test_with_fewer_clients_the_wait_for_one_counts(sleeper, samples):
    clients = _Clients(sleeper, 0.02, 2)
    driven = arrivals.drive(clients, samples, Load("server", 1, RunLength(10, 0, 1), target_qps=100_000.0))
    assert sum(clients.asked) == 10
    assert driven.values_ns.max() >= 5 * 20e6 * 0.9


def test_a_failed_query_is_counted_and_the_rest_is_answered(sleeper, samples):
    driven = arrivals.drive(sleeper(0.001, fails=(3,)), samples, LOAD)
    assert (driven.facts.failed_queries, driven.facts.first_error) == (1, "RuntimeError: planted: no answer")
    assert len(driven.values_ns) == len(arrivals.schedule(LOAD)) - 1


def _answering(per_second: float):
    """A test of a rate that keeps the bound up to ``per_second``, without a clock."""

    def test(load):
        slow = load.target_qps > per_second
        return Driven(np.array([1, 10**9 if slow else 2], np.int64), Facts("loop", 1))

    return test


def test_the_search_finds_the_highest_rate_within_a_20th():
    found = rate.find_rate(_answering(700), Load("server", 1, LOAD.length, typical_ns=10**6), 60)
    assert 0.95 * 700 <= found["qps"] <= 700
    assert [test["qps"] for test in found["tests"]][-2:] == [found["qps"]] * 2
    assert [test["held"] for test in found["tests"]] == [test["qps"] <= 700 for test in found["tests"]]


def test_a_rate_that_was_kept_by_luck_is_lowered_until_it_is_kept_twice():
    """It answers 700 a second while it is new, and 500 from the sixth test on."""
    done = []

    def tiring(load):
        done.append(load.target_qps)
        return _answering(700 if len(done) < 6 else 500)(load)

    found = rate.find_rate(tiring, Load("server", 1, LOAD.length, typical_ns=10**6), 60)
    assert 0.85 * 500 <= found["qps"] <= 500
    assert [test["held"] for test in found["tests"]][-2:] == [True, True]


def test_a_search_without_time_left_ends_after_one_test():
    assert len(rate.find_rate(_answering(10**9), Load("server", 1, LOAD.length, typical_ns=10**6), 0)["tests"]) == 1


def test_a_bound_that_no_rate_keeps_is_refused_with_what_to_do():
    load = Load("server", 1, LOAD.length, typical_ns=200_000_000)
    with pytest.raises(RefusedError, match=r"no rate keeps 99 of 100 queries within 100 ms: .*one query alone takes 200 ms.*BOUND="):
        rate.find_rate(_answering(0), load, 60)


def test_queries_that_all_fail_end_the_search():
    failing = Driven(np.array([], np.int64), Facts("loop", 1, failed_queries=3, first_error="RuntimeError: no"))
    with pytest.raises(RefusedError, match="every one failed; the first: RuntimeError: no"):
        rate.find_rate(lambda load: failing, LOAD, 60)


@pytest.mark.slow
def test_the_search_on_a_real_clock_ends_below_what_the_session_can_do(sleeper, samples):
    """Four milliseconds an answer: 250 a second can never be kept, half of it can."""
    load = Load("server", 1, RunLength(50, 0.2, 1), typical_ns=4_000_000, latency_bound_ns=40_000_000)
    found = rate.find_rate(lambda one: arrivals.drive(sleeper(0.004), samples, one), load, 60)
    assert 60 < found["qps"] < 260
