"""The figure of a server that stands still now and then, from planted latencies."""

import pytest

from studylib.report.figures.standstill import standstill
from studylib.results.results import Results
from tests.recorded_results import run_facts, trial

WAYS = {"schedule_ms": [1.0] * 80 + [200.0] * 20, "closed_ms": [1.0] * 998 + [400.0] * 2}
FOUND = {"model": "m", "server": "own/litert", "still_ms": 400.0, "every_ms": 2000.0, "qps": 50.0} | WAYS


@pytest.fixture
def results(tmp_path):
    found = Results(tmp_path / "cpu")
    found.save_plan([trial()], run_facts(), [])
    return found


def test_it_tells_how_many_queries_each_way_saw_wait(results):
    """Of a hundred on the schedule twenty waited; of a thousand of the closed loop two."""
    results.save_standstill(FOUND | {"trial": trial().id})
    drawn = standstill(results)
    assert "on a schedule, 50.0 queries/s: 20 of 100 queries took longer than 40 ms" in drawn.alt
    assert "closed loop, one client: 2 of 1000 queries took longer than 40 ms" in drawn.alt
    assert "stopped for 400 ms every 2000 ms" in drawn.caption
    (axes,) = drawn.figure.axes
    # A line ends at the share of the one slowest query, and begins at all of them.
    lines = [line.get_ydata() for line in axes.get_lines()[:2]]
    assert [(line[0], line[-1]) for line in lines] == [(100, pytest.approx(1)), (100, pytest.approx(0.1))]


def test_what_was_read_of_servers_that_are_no_longer_asked_is_not_shown(results):
    results.save_standstill(FOUND | {"trial": trial(runtime="litert").id})
    assert standstill(results) is None


def test_a_study_without_servers_has_no_such_figure(results):
    assert standstill(results) is None
