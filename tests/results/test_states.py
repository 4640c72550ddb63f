"""Why something carries no number: typed where it is recorded, told from the words of earlier versions."""

import json

import pytest

from studylib.errors import InputError, Kind, Reason
from studylib.results import old_reasons
from studylib.results.records import write_sealed
from studylib.results.results import Results
from studylib.results.states import Status, failed, reason_of
from tests.recorded_results import EVALUATED, measurement, run_facts, trial

WORDS = {
    "crash: the process was killed by SIGKILL (often: out of memory)": Kind.CRASH,
    "batch 8: crash: the process was killed by SIGSEGV": Kind.CRASH,
    "timeout: no answer within 5 s; the process was killed": Kind.TIMEOUT,
    "out of memory: MemoryError: no": Kind.OUT_OF_MEMORY,
    "needs more than the declared 100 MB of memory: 120 MB at its peak": Kind.OUT_OF_MEMORY,
    "the phone refused sh: no": Kind.DEVICE,
    "a.tflite did not arrive on the phone as it was sent; is there space left under /data?": Kind.DEVICE,
    "the training process was killed by signal 9: it said nothing": Kind.INTERRUPTED,
    "parity: SQNR 3.0 dB against the source model; fp16 needs 40 dB": Kind.PARITY,
    "batch 4: samples are answered otherwise than one by one": Kind.BATCH,
    "ONNX Runtime stopped at the node 'x': a timeout was not the cause": Kind.ERROR,
}


@pytest.mark.parametrize(("words", "kind"), WORDS.items(), ids=str)
def test_reasons_of_earlier_versions_get_their_kind(tmp_path, words, kind):
    results, one = Results(tmp_path), trial()
    results.save_plan([one], run_facts(failures={"k": words}, causes={"k": {"reason": words, "at": "2026"}}), [])
    record = EVALUATED | {"status": "failed", "reason": words, "sqnr": 3.0}
    write_sealed(results.raw / one.evaluation_id / "evaluation.json", record)  # as an earlier version wrote it
    assert results.state(one).reason == Reason(kind, words)
    assert results.failures()["k"].kind is kind
    assert results.causes()["k"]["kind"] is kind


def test_a_kind_that_is_on_record_counts_whatever_the_words_say(tmp_path):
    """The words of a new record decide nothing."""
    results, one = Results(tmp_path), trial()
    results.save_plan([one], run_facts(), [])
    results.record(measurement(one, status="failed", **failed(Reason(Kind.TIMEOUT, "crash: so it says"))))
    assert results.state(one).reason.kind is Kind.TIMEOUT


def test_what_was_disturbed_says_so(tmp_path):
    results, one = Results(tmp_path), trial()
    results.save_plan([one], run_facts(), [])
    results.record(measurement(one, status="invalid", reason="the clock fell"))
    state = results.state(one)
    assert (state.status, state.reason.kind, str(state)) == (Status.INVALID, Kind.DISTURBED, "invalid: the clock fell")


def test_a_reason_tells_its_remedy(tmp_path):
    results, one = Results(tmp_path), trial()
    results.save_plan([one], run_facts(), [])
    reason = results.state(one).reason
    assert (reason.kind, reason.remedy) == (Kind.PENDING, "run `make study` again to go on")
    assert str(reason) == "not measured yet; run `make study` again to go on"


@pytest.mark.parametrize("kind", Kind, ids=str)
def test_what_may_pass_is_tried_again(kind):
    assert Reason(kind, "x").may_pass == (kind in (Kind.CRASH, Kind.TIMEOUT, Kind.OUT_OF_MEMORY, Kind.DEVICE))


def test_failures_on_disk_carry_their_kind(tmp_path):
    results = Results(tmp_path)
    facts = failed(Reason(Kind.REFUSED, "no translation"))
    results.save_plan([trial(artifact_key="k")], run_facts(failures={"k": facts}), [])
    assert json.loads((tmp_path / "run.json").read_text())["failures"] == {"k": {"reason": "no translation", "kind": "refused"}}
    assert results.state(results.plan()[0]).reason == Reason(Kind.REFUSED, "no translation")


def test_a_record_without_a_reason_has_none():
    assert reason_of({"status": "ok", "reason": "", "kind": ""}) is None
    assert old_reasons.typed({"status": "ok", "reason": ""}) == {"status": "ok", "reason": ""}


def test_an_unknown_kind_is_told_from_the_words():
    assert old_reasons.typed({"status": "failed", "reason": "timeout: x", "kind": "nonsense"})["kind"] is Kind.TIMEOUT


@pytest.mark.parametrize("facts", [{"kind": "refused"}, 3, None], ids=str)
def test_a_broken_failure_in_run_json_is_refused_in_words(tmp_path, facts):
    results = Results(tmp_path)
    results.save_plan([trial(artifact_key="k")], run_facts(failures={"k": facts}), [])
    with pytest.raises(InputError, match=r"run\.json cannot be read \(a failure has no reason"):
        results.state(results.plan()[0])
