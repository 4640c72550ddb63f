"""Rows and tables of scenarios, from recorded results with planted facts."""

from dataclasses import asdict

import numpy as np
import pytest

from studylib.report.by_name import tables
from studylib.report.figures import drawing
from studylib.report.figures.scenarios import scenarios as figure_of
from studylib.report.sections import FIGURES, named
from studylib.report.tables import scenarios
from studylib.results import rows
from studylib.results.results import Results
from studylib.scenarios import Facts
from tests.recorded_results import measurement, run_facts, trial

REASON = "the latency bound is not kept; Reduce target QPS"


def _facts(**changes) -> dict:
    return asdict(Facts(**{"driver": "loadgen", "samples_per_query": 1, "valid": True} | changes))


@pytest.fixture
def results(tmp_path):
    """A usual trial of the loop; a server (two of eight INVALID); a multi-stream; a stream; a single-stream by LoadGen."""
    found = Results(tmp_path / "cpu")
    made = {
        "usual": trial(),
        "server": trial(scenario="server", driver="loadgen"),
        "multi": trial(scenario="multi_stream", batch_size=8, driver="loadgen"),
        "stream": trial(scenario="streaming", model="speech"),
        "single": trial(runtime="litert", driver="loadgen"),
    }
    found.save_plan(made.values(), run_facts(), [])
    rng = np.random.default_rng(1)
    for repetition in range(8):
        bad = {"valid": False, "invalid_reason": REASON} if repetition in (3, 5) else {}
        rate = {"target_qps": 90.0, "scheduled_qps": 88.0 + repetition, "completed_samples_per_s": 80.0 + repetition}
        facts = {
            "usual": _facts(driver="loop", valid=None, completed_samples_per_s=1.0),
            "server": _facts(**rate, **bad, latency_bound_ns=10**8),
            "multi": _facts(samples_per_query=8, early_stopping_ns={"99": 2_000_000 + repetition}),
            "stream": _facts(driver="loop", valid=None, chunk_s=0.001),
            "single": _facts(early_stopping_ns={"90": 150_000, "99": 300_000} if repetition else {"90": 150_000}),
        }
        for name, of in made.items():
            values = (100_000 * rng.lognormal(0, 0.02, 200)).astype(int).tolist()
            found.record(measurement(of, repetition, values, scenario_facts=facts[name]))
    found.record_rate(made["server"].id, 1, {"qps": 90.0, "tests": [{"qps": 90.0, "queries": 300, "over_bound": 2, "held": True}]})
    return found


def _metrics(results, name) -> dict:
    position = ["usual", "server", "multi", "stream", "single"].index(name)
    table = results.table()
    return table[table.trial_id == results.plan()[position].id].set_index("metric").to_dict("index")


def test_a_servers_throughput_is_what_was_completed_not_what_the_latency_says(results):
    found = _metrics(results, "server")
    assert found["throughput"]["value"] == pytest.approx(83.5)
    assert found["throughput"]["ci_low"] < 83.5 < found["throughput"]["ci_high"]
    assert found["scheduled_qps"]["value"] == pytest.approx(91.5)
    assert found["target_qps"]["value"] == 90
    assert _metrics(results, "usual")["throughput"]["value"] == pytest.approx(10_000, rel=0.01)


def test_loadgens_verdict_and_reason_stand_in_every_row_of_its_trials(results):
    table = results.table()
    server = table[table.scenario == "server"]
    assert set(server.reason) == {f"LoadGen: INVALID in 2 of 8 repetitions: {REASON}"}
    assert set(table[table.scenario == "multi_stream"].reason) == {"LoadGen: VALID in 8 of 8 repetitions"}
    assert _metrics(results, "server")["loadgen_valid"]["value"] == 0.75
    assert set(table[table.trial_id == results.plan()[0].id].reason) == {""}


def test_early_stopping_estimates_are_labelled_and_counted(results):
    found = _metrics(results, "single")
    assert (found["latency_p90_early_stopping"]["value"], found["latency_p90_early_stopping"]["n"]) == (150_000, 8)
    assert found["latency_p99_early_stopping"]["n"] == 7
    assert "latency_p90_early_stopping" not in _metrics(results, "usual")


def test_the_real_time_factor_is_latency_over_the_chunk(results):
    assert _metrics(results, "stream")["real_time_factor"]["value"] == pytest.approx(0.1, rel=0.01)


def test_the_table_of_scenarios_shows_the_verdict_of_every_row(results):
    frame = tables.scenarios(results)
    assert list(frame.scenario) == ["server", "multi_stream", "streaming", "single_stream"]
    assert list(frame["samples a query"]) == [1, 8, 1, 1]
    assert frame.valid[0] == f"LoadGen: INVALID in 2 of 8 repetitions: {REASON}"
    assert frame.valid[2] == "not judged: a loop drove, the next chunk when the last was answered"
    assert frame.bound_ms[0] == "100"
    assert frame["p99 early-stopping"][1].startswith("2.00")
    assert frame["p99 early-stopping"][0] == "–"


def test_other_tables_compare_the_usual_scenarios_alone(results):
    frame = tables.latency(results)
    assert list(frame.runtime) == ["onnxruntime", "litert"]
    assert list(frame.LoadGen) == ["", "LoadGen: VALID in 8 of 8 repetitions"]
    assert set(tables.speed_ups(results).LoadGen) == {"LoadGen: VALID in 8 of 8 repetitions"}


def test_without_loadgen_no_table_mentions_it(recorded):
    results = recorded()
    assert "LoadGen" not in tables.latency(results)
    assert "LoadGen" not in tables.speed_ups(results)
    assert tables.scenarios(results).empty
    assert (scenarios.note(results), scenarios.sentences(results)) == ("", [])


def test_sentences_carry_verdict_and_the_words_about_mlperf(results):
    server, stream = scenarios.sentences(results)
    assert server.startswith("mnist_cnn, server: onnxruntime fp32 server answers 83.5 [")
    assert REASON in server
    assert server.endswith("LoadGen-driven, not MLPerf results.")
    assert stream.startswith("speech, streaming: onnxruntime fp32 streaming needs 0.")
    assert "not MLPerf results" in scenarios.note(results)


def test_the_search_for_a_rate_is_shown_test_by_test(results):
    (row,) = tables.rates(results).to_dict("records")
    assert (row["qps"], row["queries"], row["over bound"], row["held"]) == (90.0, 300, 2, "yes")


def test_the_report_shows_scenarios_and_says_what_they_are_not(results):
    from studylib.report import report

    page = report.build(results)
    for name in ("index.html", "report.md"):
        text = (page.parent / name).read_text()
        assert REASON in text
        assert text.count("LoadGen-driven, not MLPerf results") >= 3


def test_records_of_older_versions_have_no_facts_and_stay_readable(tmp_path):
    from studylib.results.records import read_measurement, write_sealed

    old = asdict(measurement(trial(), 0))
    del old["scenario_facts"]
    write_sealed(tmp_path / "old.json", old)
    assert read_measurement(tmp_path / "old.json").scenario_facts == {}
    assert rows.loadgen_verdict([read_measurement(tmp_path / "old.json")]) == ""


def test_the_figure_shows_each_scenario_with_its_bound_and_what_loadgen_said(results):
    made = figure_of(results)
    figure, caption, alt = made.figure, made.caption, made.alt
    assert [axes.get_title() for axes in figure.axes] == ["mnist_cnn, server", "mnist_cnn, multi_stream", "speech, streaming"]
    server = figure.axes[0]
    assert [label.get_text() for label in server.get_yticklabels()] == ["onnxruntime fp32, 91.5 queries/s (LoadGen: invalid)"]
    assert [text.get_text() for text in server.get_legend().get_texts()] == ["bound 100 ms"]
    assert figure.axes[1].get_legend() is None
    assert scenarios.NOTE in caption
    assert "speech onnxruntime fp32 streaming: median 0.1" in alt
    drawing.save(results, named(FIGURES, "figure", "scenarios"), made)
    assert (results.folder / "figures" / "scenarios.png").stat().st_size > 10_000


def test_without_another_scenario_there_is_no_figure(recorded):
    assert figure_of(recorded()) is None
