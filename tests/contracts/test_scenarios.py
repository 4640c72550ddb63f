"""The promises that every scenario keeps under every driver it has, on the trained mnist_cnn's smallest relative: a recording."""

from dataclasses import asdict, fields

import numpy as np
import pytest

from studylib.models.zoo import Samples
from studylib.runtimes import RUNTIMES, Options, Session
from studylib.scenarios import SCENARIOS, Facts, Load, RunLength, loadgen, planned

PAIRS = [(name, "loop") for name in SCENARIOS] + [(name, "loadgen") for name in SCENARIOS if SCENARIOS[name].by_loadgen]
SAMPLES = Samples({"x": np.zeros((16, 2), np.float32), "state": np.zeros((16, 1), np.float32)}, None)


class Echo(Session):
    """Does a little real work, so that the machine's clock moves."""

    def run(self, inputs):
        np.linalg.norm(np.ones((64, 64)) @ np.ones((64, 64)))
        return {"y": inputs["x"], "new_state": inputs["state"]}

    def placement(self):
        return "echo"


@pytest.fixture(params=PAIRS, ids=lambda pair: "-".join(pair))
def driven(request):
    scenario, driver = request.param
    if driver == "loadgen" and loadgen.why_not():
        pytest.skip(loadgen.why_not())
    size = 8 if scenario in ("multi_stream", "offline") else 1
    load = Load(scenario, size, RunLength(20, 0.05, 2), 1, 100_000, 300.0, 50_000_000, {"new_state": "state"}, 0.5)
    drive = loadgen.drive if driver == "loadgen" else SCENARIOS[scenario].loop
    return scenario, driver, drive(Echo(), SAMPLES, load)


def test_values_are_positive_whole_nanoseconds(driven):
    values = driven[2].values_ns
    assert values.dtype == np.int64
    assert len(values) >= 11
    assert (values > 0).all()


def test_the_facts_have_the_same_names_and_are_plain_json(driven):
    import json

    found = asdict(driven[2].facts)
    assert list(found) == [field.name for field in fields(Facts)]
    assert json.loads(json.dumps(found)) == found


def test_the_driver_names_itself_and_only_loadgen_judges(driven):
    scenario, driver, found = driven
    assert found.facts.driver == driver
    assert (found.facts.valid is None) == (driver == "loop")
    assert bool(found.facts.summary) == (driver == "loadgen")
    assert bool(found.facts.invalid_reason) == (found.facts.valid is False)
    assert found.facts.samples_per_query == (8 if scenario in ("multi_stream", "offline") else 1)


def test_throughput_is_known(driven):
    assert driven[2].facts.completed_samples_per_s > 0


def test_rates_belong_to_the_server_alone(driven):
    scenario, _, found = driven
    assert (found.facts.latency_bound_ns is not None) == (scenario == "server")
    assert (found.facts.scheduled_qps is not None) == (scenario == "server")


def test_what_a_study_plans_of_each():
    assert planned(("single_stream", "offline"), (1, 8, 16)) == [("single_stream", 1), ("offline", 8), ("offline", 16)]
    assert planned(tuple(SCENARIOS), (1, 4))[2:] == [("multi_stream", 8), ("streaming", 1), ("server", 1), ("server", 4)]
    assert planned(("server",), (2,)) == [("server", 2)]


def test_replayed_values_pass_through_the_loop(recording):
    path, folder = recording("contract", values_ns=[7, 8])
    session = RUNTIMES["replay"].open(path, Options())
    load = Load("multi_stream", 2, RunLength(4, 0, 1))
    assert set(SCENARIOS["multi_stream"].loop(session, Samples.load(folder), load).values_ns) == {
        7,
        8,
    }
