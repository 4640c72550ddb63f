"""The tight loop, on a recording whose clock is its own."""

import gc
import time

import numpy as np
import pytest

from studylib.models.zoo import Samples
from studylib.runtimes import RUNTIMES, Options
from studylib.scenarios import Load, RunLength, drive, scenario_for

SAMPLES = Samples({"x": np.arange(12, dtype=np.float32).reshape(6, 2)}, None)


def _session(recording, **content):
    path, _ = recording("session", **content)
    return RUNTIMES["replay"].open(path, Options())


def _values(session, scenario, batch_size, *length, samples=SAMPLES):
    return drive(session, samples, Load(scenario, batch_size, RunLength(*length))).values_ns


def test_values_are_exactly_the_recorded_latencies(recording):
    values = _values(_session(recording, values_ns=[100, 200, 300]), "single_stream", 1, 7, 0, 1)
    assert values.tolist() == [100, 200, 300, 100, 200, 300, 100]
    assert values.dtype == np.int64


def test_it_goes_on_until_the_shortest_duration(recording):
    assert len(_values(_session(recording, values_ns=[10**6]), "single_stream", 1, 3, 0.02, 1)) == 20


def test_it_stops_at_the_longest_duration_with_fewer_values(recording):
    assert len(_values(_session(recording, values_ns=[10**8]), "single_stream", 1, 1000, 0.1, 0.5)) == 5


def test_a_planted_slow_query_is_in_the_values(recording):
    assert _values(_session(recording, values_ns=[10, 10, 9999, 10]), "offline", 4, 4, 0, 1).max() == 9999


def test_batches_go_round_the_samples():
    assert SAMPLES.batch(4, 4)["x"][:, 0].tolist() == [8, 10, 0, 2]


def test_samples_are_gathered_in_the_order_asked_for():
    assert SAMPLES.gathered([5, 0, 0])["x"][:, 0].tolist() == [10, 0, 0]


def test_one_sample_is_single_stream_and_more_are_offline():
    assert (scenario_for(1), scenario_for(8)) == ("single_stream", "offline")


def test_prepared_batches_take_little_of_the_measured_memory():
    """Sixteen batches of a large model would be more than the model itself."""
    seen = set()

    class Session:
        clock = staticmethod(time.perf_counter_ns)

        def run(self, batch):
            seen.add(id(batch))

    _values(Session(), "offline", 2, 64, 0, 1, samples=Samples({"x": np.zeros((64, 2**18), np.float32)}, None))
    assert len(seen) == 4


def test_garbage_collection_is_as_before_even_after_an_error(recording):
    with pytest.raises(RuntimeError, match="the recording says: raise"):
        _values(_session(recording, events={"2": "raise"}), "single_stream", 1, 5, 0, 1)
    assert gc.isenabled()
