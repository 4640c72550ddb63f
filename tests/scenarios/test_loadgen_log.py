"""Reading LoadGen's logs, as it writes them."""

import json

import pytest

from studylib.errors import RefusedError
from studylib.scenarios import loadgen_log


def _log(tmp_path, **entries):
    lines = [":::MLLOG " + json.dumps({"key": key, "value": value, "metadata": {}}) for key, value in entries.items()]
    (tmp_path / "mlperf_log_detail.txt").write_text("\n".join(["not a line of the log", *lines]))
    return loadgen_log.read(tmp_path)


def test_both_estimates_and_why_one_is_missing():
    both = " * Processed at least 64 queries (670).\n * Early stopping 90.0th percentile estimate: 142\n"
    two = both + " * Early stopping 99.0th percentile estimate: 946"
    assert loadgen_log.early_stopping({"early_stopping_result": two}) == ({"90": 142, "99": 946}, "")
    one = both + " * Not enough queries processed for 99.0th percentile\n early stopping estimate (would need 662)."
    found, reason = loadgen_log.early_stopping({"early_stopping_result": one})
    assert found == {"90": 142}
    assert reason == "Not enough queries processed for 99.0th percentile early stopping estimate (would need 662)"
    assert loadgen_log.early_stopping({"early_stopping_result": ""})[1] == "LoadGen gives no such estimate for this scenario"


def test_a_verdict_names_the_rules_that_were_broken(tmp_path):
    log = _log(tmp_path, result_validity="INVALID", result_min_duration_met=False, result_min_queries_met=True,
               early_stopping_met=True, result_invalid_reason="Increase expected QPS. ")  # fmt: skip
    assert loadgen_log.validity(log) == (False, "shorter than the shortest duration; Increase expected QPS")
    assert loadgen_log.validity({"result_validity": "VALID"}) == (True, "")


def test_a_log_without_a_result_is_refused(tmp_path):
    with pytest.raises(RefusedError, match="LoadGen ended without a result: its log says nothing"):
        _log(tmp_path, loadgen_version="6")


def test_numbers_of_the_result_and_nothing_else():
    log = {"result_validity": "VALID", "result_min_queries_met": True, "result_query_count": 7, "power_begin": "x", "num_errors": 0}
    assert loadgen_log.summary(log) == {"query_count": 7}


def test_latencies_are_in_the_order_of_arrival(tmp_path):
    entry = '"args":{"sample_seq":%d,"query_seq":%d,"sample_idx":1,"issue_start_ns":%d,"complete_ns":%d}}'
    path = tmp_path / "mlperf_log_trace.json"
    path.write_text("\n".join([entry % (1, 1, 5, 200), entry % (0, 0, 3, 100)]))
    theirs, late = loadgen_log.latencies(tmp_path)
    assert (theirs.tolist(), late.tolist()) == ([100, 200], [3, 5])
    path.write_text(entry % (1, 1, 5, 200))
    with pytest.raises(RefusedError, match="does not hold every query once"):
        loadgen_log.latencies(tmp_path)


@pytest.mark.parametrize(
    ("ours", "theirs", "agrees"),
    [(50_000, 53_000, True), (50_000, 249_000, True), (50_000, 260_000, False), (10**7, 9 * 10**6, False), (10**8, 1.04 * 10**8, True),
     (10**8, 1.2 * 10**8, False)],
)  # fmt: skip
def test_clocks_agree_within_what_a_callback_costs(ours, theirs, agrees):
    assert loadgen_log.crosscheck(ours, theirs)["agrees"] is agrees
