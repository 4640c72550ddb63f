"""Memory and energy of recorded results: numbers with interval and n, and absent where a record has none."""

from studylib.report.by_name import tables
from studylib.results import standing
from tests.recorded_results import measurement

MB = 10**6


def _rerecord(results, of, change):
    for one in results.measurements(of.id):
        results.record(measurement(of, one.repetition, one.values_ns, **change(one.repetition)))


def test_memory_step_by_step_with_interval_and_what_the_model_added(recorded):
    results = recorded()
    fast = results.plan()[1]
    steps = {"before": 60, "after_load": 80, "after_first": 100, "peak": 120}

    def change(repetition):
        rss = {f"rss_{moment}": (size + repetition) * MB for moment, size in steps.items()}
        return {"memory_bytes": rss | {name.replace("rss", "vms"): 5 * size for name, size in rss.items()}}

    _rerecord(results, fast, change)
    row = tables.memory(results).set_index("runtime").loc["onnxruntime"]
    mean, low, high = (float(part.strip("[],")) for part in row["RSS after first"].split())
    assert low < mean < high
    assert mean == 103.5 or row["RSS after first"].startswith("104 ")
    # What the model added is the same in every repetition: 100 - 60.
    assert row["RSS, model added"] == "40.0 [40.0, 40.0]"
    assert row["VMS, model added"] == "200 [200, 200]"
    assert row["VMS peak"].startswith("618 [")
    assert (row["n"], row["arena"]) == (8, "onnxruntime does not tell")


def test_the_gpus_memory_stands_beside_where_one_told_it(recorded):
    results = recorded()
    assert "GPU memory" not in tables.memory(results)
    base = results.measurements(results.plan()[1].id)[0].memory_bytes
    _rerecord(results, results.plan()[1], lambda repetition: {"memory_bytes": base | {"gpu_memory": 500 * MB}})
    table = tables.memory(results)
    assert sorted(table["GPU memory"]) == ["", "500 [500, 500]"]


def test_records_without_the_newer_steps_stay_readable(recorded):
    """The fixture's records are older ones: they tell of VMS its peak alone."""
    results = recorded()
    row = tables.memory(results).iloc[0]
    assert row["RSS, model added"] == "20.0 [20.0, 20.0]"
    assert (row["VMS before"], row["VMS, model added"], row["VMS peak"]) == ("–", "–", "100 [100, 100]")
    metrics = set(results.table().metric)
    assert {"rss_before", "rss_model", "vms_peak"} <= metrics
    assert not {"vms_before", "vms_model", "energy"} & metrics


def test_energy_of_a_query_is_what_was_metered_over_its_values(recorded):
    results = recorded()
    slow, fast = results.plan()[:2]
    how = {"kind": "measured", "how": "RAPL counters"}
    _rerecord(results, fast, lambda repetition: {"energy": how | {"joules": {"package-0": 0.3, "dram": 0.1}}})
    _rerecord(results, slow, lambda repetition: {"energy": {"absent": "no RAPL counters are here"}})
    table = tables.energy(results).set_index("runtime")
    measured = table.loc["onnxruntime"]
    assert measured["mJ per query"].startswith("2.00 [")  # 0.4 J over 200 values
    assert (measured["label"], measured["n"], measured["how"]) == ("measured", 8, "RAPL counters")
    absent = table.loc["tensorflow"]
    assert (absent["mJ per query"], absent["label"], absent["how"]) == ("–", "absent", "no RAPL counters are here")
    energies = results.table().query("metric == 'energy'")
    assert list(energies.unit) == ["J/query"]
    assert energies.value.iloc[0] == 0.002


def test_a_trial_that_was_metered_only_in_part_has_no_energy(recorded):
    results = recorded()
    fast = results.plan()[1]
    results.record(measurement(fast, 0, energy={"joules": {"package-0": 1.0}, "kind": "measured", "how": "RAPL"}))
    row = tables.energy(results).set_index("runtime").loc["onnxruntime"]
    assert (row["mJ per query"], row["label"], row["how"]) == ("–", "absent", "recorded before energy was read")


def test_a_repetition_that_stayed_invalid_is_not_waited_for(recorded):
    results = recorded()
    assert standing.incomplete(results) == ""
    fast = results.plan()[1]
    (results.raw / fast.id / "c0001-r003-a0.json").unlink()
    assert standing.incomplete(results).startswith("INCOMPLETE: 1 of 4")
    results.record(measurement(fast, 3, status="invalid", reason="disturbed"))
    assert standing.incomplete(results) == ""
