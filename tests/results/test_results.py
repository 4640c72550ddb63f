import hashlib
import json
import math
from dataclasses import replace

import pytest

from studylib.errors import InputError
from studylib.results.long_table import COLUMNS
from studylib.results.records import read_sealed, write_sealed
from studylib.results.results import Results
from tests.outputs import status_of
from tests.recorded_results import measurement, run_facts, trial


def test_a_measurement_is_read_back_as_it_was_recorded(tmp_path):
    results, of = Results(tmp_path), trial()
    recorded = measurement(of, 0, [1, 2, 3])
    results.record(recorded)
    assert results.measurements(of.id) == [recorded]


def test_a_damaged_record_is_ignored_and_said(tmp_path, caplog):
    results, of = Results(tmp_path), trial()
    results.record(measurement(of, 0))
    results.record(measurement(of, 1))
    path = tmp_path / "raw" / of.id / "c0001-r000-a0.json"
    path.write_text(path.read_text().replace("100000", "100001", 1))
    assert [m.repetition for m in results.measurements(of.id)] == [1]
    assert "is damaged; it is ignored and measured again" in caplog.text


def test_only_the_newest_campaign_counts_and_the_old_one_is_kept(tmp_path):
    results, of = Results(tmp_path), trial()
    results.record(measurement(of, 0, [1], campaign=1))
    results.record(measurement(of, 0, [2], campaign=2))
    assert [m.values_ns for m in results.measurements(of.id)] == [(2,)]
    assert results.newest_campaign() == 2
    assert len(list((tmp_path / "raw" / of.id).iterdir())) == 2


def test_disturbed_repetitions_do_not_count(tmp_path):
    results, of = Results(tmp_path), trial()
    results.record(measurement(of, 0, status="invalid", reason="disturbed"))
    results.record(measurement(of, 0, attempt=1))
    assert [m.attempt for m in results.measurements(of.id)] == [1]


def test_trials_differ_in_their_id_by_everything_but_the_reason():
    assert trial().id == trial(reason="x").id
    assert len({trial().id, trial(threads=1).id, trial(control=True).id, trial(conditions="d").id, trial(artifact_key="z").id}) == 5


def test_status_says_in_words_why_a_trial_has_no_numbers(tmp_path):
    results = Results(tmp_path)
    of, skipped, unmade = trial(), trial(reason="no GPU"), trial(artifact_key="f" * 64)
    results.save_plan([of, skipped, unmade], run_facts(failures={"f" * 64: "converter failed"}), [])
    assert status_of(results, skipped) == ("skipped", "no GPU")
    assert status_of(results, unmade) == ("failed", "converter failed")
    assert status_of(results, of)[0] == "pending"
    results.record(measurement(of, 0, status="invalid", reason="disturbed"))
    assert status_of(results, of) == ("invalid", "disturbed")
    results.record(measurement(of, 1))
    assert status_of(results, of) == ("ok", "")
    results.record(measurement(of, 2, status="failed", reason="crash"))
    assert status_of(results, of) == ("failed", "crash")


def test_an_artifact_out_of_parity_is_a_failed_row(recorded):
    results = recorded()
    results.record_evaluation("evaluation-fast", {"status": "failed", "reason": "parity: SQNR 0.0 dB"})
    table = results.table()
    failed = table[(table.runtime == "onnxruntime") & (table.status == "failed")]
    assert set(failed.reason) == {"parity: SQNR 0.0 dB"}
    assert "latency_p50" not in set(failed.metric)


def test_the_table_has_the_schema_and_every_trial(recorded):
    results = recorded()
    table = results.save_table()
    assert tuple(table.columns) == COLUMNS
    assert set(table.trial_id) == {of.id for of in results.plan()}
    assert set(table[table.status == "skipped"].reason) == {"no such recipe here"}
    assert (results.folder / "results.parquet").stat().st_size > 1000


def test_the_table_is_computed_from_raw_values(recorded):
    results = recorded()
    table = results.table()
    of = results.plan()[1]
    # Repetitions of equal length weigh the same, so this is the plain percentile of all values.
    values = sorted(v for m in results.measurements(of.id) for v in m.values_ns)
    row = table[(table.trial_id == of.id) & (table.metric == "latency_p50")].iloc[0]
    assert row.value == values[math.ceil(len(values) / 2) - 1]
    assert row.ci_low <= row.value <= row.ci_high
    assert (row.n, row.unit, row.level) == (1600, "ns", 0.95)
    throughput = table[(table.trial_id == of.id) & (table.metric == "throughput")].iloc[0]
    assert throughput.value == pytest.approx(1e9 * len(values) / sum(values))


def test_a_percentile_without_enough_values_is_absent(tmp_path):
    results, of = Results(tmp_path), trial()
    results.save_plan([of], run_facts(), [])
    results.record(measurement(of, 0, [5] * 100))
    metrics = set(results.table().metric)
    assert {"latency_p50", "latency_p90"} <= metrics
    assert not {"latency_p95", "latency_p99"} & metrics


def test_random_weights_never_get_an_accuracy(recorded):
    assert "top1_accuracy" in set(recorded(weights="trained").table().metric)
    table = recorded(weights="random").table()
    assert "top1_accuracy" not in set(table.metric)
    assert "agreement" in set(table.metric)


def test_dependent_samples_carry_no_interval(recorded):
    results = recorded()
    results.record_evaluation("evaluation-fast", results.evaluation("evaluation-fast") | {"independent": False})
    table = results.table()
    rows = table[(table.runtime == "onnxruntime") & (table.metric == "agreement")]
    assert rows.ci_low.isna().all()
    assert (rows.n == 1000).all()


def test_a_plan_of_another_version_says_what_to_do(tmp_path):
    (tmp_path / "plan.json").write_text('[{"modle": "x"}]')
    with pytest.raises(
        InputError, match=r"was written by another version of studylib, and cannot be carried over \(unknown: modle; missing: artifact_key"
    ):
        Results(tmp_path).plan()


def test_results_of_an_earlier_version_are_read(recorded):
    """As they lay before forms were numbered: trials without later fields, their records under the names of that time."""
    results = recorded()
    before, content = results.plan(), json.loads((results.folder / "plan.json").read_text())
    later = ("driver", "source", "id")
    old = [{name: value for name, value in facts.items() if name not in later} for facts in content]
    names = []
    for facts, one in zip(old, before, strict=True):
        named = {name: value for name, value in facts.items() if name != "reason"}
        names.append(hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()[:16])
        if (results.raw / one.id).exists():
            (results.raw / one.id).rename(results.raw / names[-1])
            for record in (results.raw / names[-1]).glob("c*.json"):
                write_sealed(record, read_sealed(record) | {"trial_id": names[-1]})
    (results.folder / "plan.json").write_text(json.dumps(old))
    run = json.loads((results.folder / "run.json").read_text())
    (results.folder / "run.json").write_text(json.dumps({name: value for name, value in run.items() if name != "form"}))
    again = Results(results.folder)
    assert again.plan() == before
    assert [trial.id for trial in again.plan()] == names
    counts = [len(again.measurements(trial.id)) for trial in again.plan()]
    assert counts == [len(results.measurements(name)) for name in names]
    assert max(counts) > 0
    again.save_plan(again.plan(), run, [])  # kept in today's form, the records stay where they are
    assert [trial.id for trial in Results(results.folder).plan()] == names
    assert replace(again.plan()[0], threads=7).id not in names


@pytest.mark.parametrize("name", ["../../elsewhere", "/tmp", "0" * 15, 7, "0" * 16 + "\n"])
def test_a_name_in_a_plan_is_no_path(recorded, name):
    results = recorded()
    content = json.loads((results.folder / "plan.json").read_text())
    (results.folder / "plan.json").write_text(json.dumps([content[0] | {"id": name}, *content[1:]]))
    with pytest.raises(InputError, match="must be 16 hexadecimal digits"):
        Results(results.folder).plan()


def test_results_of_a_later_version_are_refused_in_words(recorded):
    results = recorded()
    run = json.loads((results.folder / "run.json").read_text())
    (results.folder / "run.json").write_text(json.dumps(run | {"form": 99}))
    with pytest.raises(InputError, match=r"was written by a newer studylib \(form 99; this one reads up to 2\)"):
        Results(results.folder).run()


def test_reading_where_nothing_ran_says_what_to_do(tmp_path):
    with pytest.raises(InputError, match=r"no study ran here yet\. Run `make study HW=jetson` first"):
        Results(tmp_path / "jetson").plan()


def test_an_unreadable_plan_says_what_to_do(tmp_path):
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        Results(tmp_path).plan()


def test_failed_evaluations_can_be_forgotten_and_passed_ones_stay(recorded):
    results = recorded()
    results.record_evaluation("evaluation-fast", {"status": "failed", "reason": "crash"})
    results.forget_failures()
    assert results.evaluation("evaluation-fast") is None
    assert results.evaluation("evaluation-slow")["status"] == "ok"


@pytest.mark.parametrize(
    "change",
    [
        {"newfield": 1}, {"values_ns": None}, {"values_ns": []}, {"values_ns": [0, 1]}, {"values_ns": ["a"]}, {"values_ns": [-5]},
        {"memory_bytes": {}}, {"memory_bytes": None}, {"cold_start_ns": {}}, {"started_at": "junk"},
    ],
    ids=str,
)  # fmt: skip
def test_a_sealed_record_of_another_shape_is_ignored_and_said(tmp_path, caplog, change):
    from studylib.results.records import write_sealed

    results, of = Results(tmp_path), trial()
    results.record(measurement(of, 0))
    record = json.loads((tmp_path / "raw" / of.id / "c0001-r000-a0.json").read_text())["record"]
    write_sealed(tmp_path / "raw" / of.id / "c0001-r001-a0.json", record | {"repetition": 1} | change)
    assert [m.repetition for m in results.measurements(of.id)] == [0]
    assert "is damaged" in caplog.text


@pytest.mark.parametrize(
    "change", [{"n": None}, {"sqnr": None}, {"agreeing": [True]}, {"status": "fine"}, {"reason": None}, {"output_mse": "a"}], ids=str
)
def test_an_evaluation_of_another_shape_is_ignored(recorded, change):
    results = recorded()
    results.record_evaluation("evaluation-fast", results.evaluation("evaluation-fast") | change)
    assert results.evaluation("evaluation-fast") is None


@pytest.mark.parametrize("name", ["plan.json", "run.json", "artifacts.json"])
@pytest.mark.parametrize("content", ["", "null", "5", "[1]", "{}", '"s"', "[" * 100_000])
def test_stored_files_of_another_shape_are_refused_in_words(recorded, name, content):
    results = recorded()
    (results.folder / name).write_text(content)
    with pytest.raises(InputError, match=r"cannot be read|another version"):
        results.plan(), results.run(), results.artifacts()
