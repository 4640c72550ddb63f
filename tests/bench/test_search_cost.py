"""What the search benchmark says of recorded results: the same winner, another, and what each way cost."""

import numpy as np
import pytest

from studylib.bench import halving_cost
from tests.recorded_results import measurement

ANSWERS = {"evaluation": {"n": 1000, "agreeing": [True] * 1000, "correct": [True] * 1000}}
FP32, FAST, NEAR = ((ns, {"Conv": 3}, 100, sqnr, ANSWERS) for ns, sqnr in ((1_000_000, 90.0), (300_000, 40.0), (310_000, 40.0)))


@pytest.fixture
def results(variants):
    found = variants({"fp32": FP32, "dynamic_wi8_afp32": FAST, "static_wi8_ai8": NEAR})
    for number, one in enumerate(found.plan()):
        found.record_look(one.id, {"samples_per_s": 1.0, "n": 11, "seconds": 2.0}, 1)
        rng = np.random.default_rng(number)
        for repetition in range(8):  # a minute each, so that seconds can be foretold
            values = (10**6 // (1 + 2 * (number > 0)) * rng.lognormal(0, 0.01, 200) * (1.03 if number == 2 else 1)).astype(int).tolist()
            times = {"started_at": "2026-01-01T00:00:00+00:00", "ended_at": "2026-01-01T00:01:00+00:00"}
            found.record(measurement(one, repetition, values, **times))
    return found


def test_the_same_winner_costs_its_looks_and_the_finalists(results):
    plan = results.plan()
    found = halving_cost.compared(results, plan[1:2], plan, "mnist_cnn")
    assert found.row["slower by"] == "the same"
    assert found.exhaustive_s == pytest.approx(3 * 8 * 60.01)
    assert found.search_s == pytest.approx(3 * 2 + 8 * 60.01)
    assert found.row["at most 30%"] == "NO"


def test_another_winner_says_by_how_much_it_is_slower(results):
    plan = results.plan()
    row = halving_cost.compared(results, plan[2:3], plan, "mnist_cnn").row
    assert (row["found by the search"], row["best of all"]) == ("onnxruntime static_wi8_ai8", "onnxruntime dynamic_wi8_afp32")
    assert row["slower by"].startswith("1.03x [1.0")
    assert row["within 5%"] == "yes"
    assert halving_cost.compared(results, plan[:1], plan, "mnist_cnn").row["within 5%"] == "NO"


def test_without_a_finalist_within_the_budget_there_is_nothing_to_compare(results):
    assert halving_cost.compared(results, [], results.plan(), "mnist_cnn") is None
