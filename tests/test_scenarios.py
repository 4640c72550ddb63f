import numpy as np
import pytest

from studylib.runtimes import RUNTIMES, Options
from studylib.scenarios import SCENARIOS, Budget, scenario_for
from studylib.zoo import Samples

SAMPLES = Samples({"x": np.arange(12, dtype=np.float32).reshape(6, 2)}, None)


def _session(recording, **content):
    path, _ = recording("session", **content)
    return RUNTIMES["replay"].open(path, Options())


def test_values_are_exactly_the_recorded_latencies(recording):
    session = _session(recording, values_ns=[100, 200, 300])
    values = SCENARIOS["single_stream"].drive(session, SAMPLES, 1, Budget(7, 0, 1))
    assert values.tolist() == [100, 200, 300, 100, 200, 300, 100]
    assert values.dtype == np.int64


def test_it_goes_on_until_the_shortest_duration(recording):
    values = SCENARIOS["single_stream"].drive(_session(recording, values_ns=[10**6]), SAMPLES, 1, Budget(3, 0.02, 1))
    assert len(values) == 20


def test_it_stops_at_the_longest_duration_with_fewer_values(recording):
    values = SCENARIOS["single_stream"].drive(_session(recording, values_ns=[10**8]), SAMPLES, 1, Budget(1000, 0.1, 0.5))
    assert len(values) == 5


def test_a_planted_slow_query_is_in_the_values(recording):
    values = SCENARIOS["offline"].drive(_session(recording, values_ns=[10, 10, 9999, 10]), SAMPLES, 4, Budget(4, 0, 1))
    assert values.max() == 9999


def test_batches_go_round_the_samples():
    assert SAMPLES.batch(4, 4)["x"][:, 0].tolist() == [8, 10, 0, 2]


def test_one_sample_is_single_stream_and_more_are_offline():
    assert (scenario_for(1), scenario_for(8)) == ("single_stream", "offline")
    assert set(SCENARIOS) == {"single_stream", "offline"}


def test_prepared_batches_take_little_of_the_measured_memory(recording):
    """Sixteen batches of a large model would be more than the model itself."""
    seen = set()

    class Session:
        clock = staticmethod(_session(recording, values_ns=[1]).clock)

        def run(self, batch):
            seen.add(id(batch))

    large = Samples({"x": np.zeros((64, 2**18), np.float32)}, None)
    SCENARIOS["offline"].drive(Session(), large, 2, Budget(64, 0, 1))
    assert len(seen) == 4


def test_garbage_collection_is_as_before_even_after_an_error(recording):
    import gc

    with pytest.raises(RuntimeError, match="the recording says: raise"):
        SCENARIOS["single_stream"].drive(_session(recording, events={"2": "raise"}), SAMPLES, 1, Budget(5, 0, 1))
    assert gc.isenabled()
