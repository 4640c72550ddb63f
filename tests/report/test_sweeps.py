"""Tables and figures of sweeps, from recorded results."""

from dataclasses import replace

import numpy as np
import pytest

from studylib.report.by_name import tables
from studylib.report.figures.batch import batch
from studylib.results.results import Results
from tests.recorded_results import measurement, run_facts, trial


@pytest.fixture
def results(tmp_path) -> Results:
    """fp32 in ONNX Runtime, with a slow graph level and two larger batches, the last one cut short."""
    found, rng = Results(tmp_path / "cpu"), np.random.default_rng(1)
    usual = trial(recipe="fp32")
    slow = replace(usual, options="graph=disable", sweep="graph")
    larger = replace(usual, batch_size=8, scenario="offline", sweep="batch")
    cut = replace(usual, batch_size=16, scenario="offline", sweep="batch", reason="cut short: a first look found no more at batch 8")
    for made, centre in ((usual, 100_000), (slow, 150_000), (larger, 400_000)):
        for repetition in range(8):
            found.record(measurement(made, repetition, (centre * rng.lognormal(0, 0.01, 200)).astype(int).tolist()))
    found.save_plan([usual, slow, larger, cut], run_facts(), [])
    return found


def test_each_point_is_held_against_the_usual_one(results):
    table = tables.settings(results).set_index(["sweep", "value"])
    assert table.loc[("graph", "as usual"), "against the usual"] == ""
    assert table.loc[("graph", "graph=disable"), "against the usual"].startswith("0.66")
    assert table.loc[("graph", "graph=disable"), "against the usual"].endswith("slower")


def test_batches_are_compared_by_sample(results):
    table = tables.settings(results).set_index(["sweep", "value"])
    assert table.loc[("batch", "8"), "against the usual"].startswith(("2.00x", "1.99x", "2.01x"))
    assert table.loc[("batch", "16"), "status"] == "skipped: cut short: a first look found no more at batch 8"


def test_throughput_is_drawn_over_the_batch_size(results, tmp_path):
    made = batch(results)
    figure, alt = made.figure, made.alt
    figure.savefig(tmp_path / "figure.png")
    assert "most at batch 8, 20,0" in alt or "most at batch 8, 19,9" in alt or "most at batch 8, 20,100" in alt


def test_without_sweeps_there_is_nothing(variants):
    results = variants({"fp32": (400_000, {}, 95, 90.0, {})})
    assert tables.settings(results).empty
    assert batch(results) is None
