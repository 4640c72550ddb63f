"""Machines side by side: compared where they can be, and why not where they cannot."""

import json

import numpy as np
import pytest

from studylib.errors import InputError
from studylib.report import machines
from studylib.results.results import Results
from tests.recorded_results import measurement, run_facts, trial


def _machine(outputs, name, factor=1.0, control=1.0, host="h", digest="d", rounds=8, threads=2, seed=1, noise=0.01, **facts):
    """A study of TensorFlow and ONNX Runtime (twice as fast) on a machine ``factor`` times slower than the first."""
    results, rng = Results(outputs / name), np.random.default_rng(sum(map(ord, name)))
    slow = trial(runtime="tensorflow", format="saved_model", artifact_key="b" * 64, threads=threads, evaluation_id="e")
    fast, twin = (trial(threads=threads, control=control_, evaluation_id="e") for control_ in (False, True))
    run = run_facts(hardware=name, host_id=host, **facts)
    run["parameters"] |= {"choice": {"max_accuracy_loss": 0.01, "seed": seed}}
    made = {"path": "m", "model": "mnist_cnn", "lineage": [], "precision": "fp32", "size_bytes": 1, "format": "x"}
    results.save_plan([slow, fast, twin], run, [made | {"key": key * 64, "sha256": digest * 64} for key in ("a", "b")])
    for of, ns in ((slow, 200_000), (fast, 100_000), (twin, 100_000 * control)):
        for repetition in range(rounds):
            results.record(measurement(of, repetition, (factor * ns * rng.lognormal(0, noise, 200)).astype(int).tolist()))
    right = {"n": 1000, "correct": [True] * 1000, "agreeing": [True] * 1000, "independent": True, "data": "real", "finite": True}
    fidelity = {"sqnr": 90.0, "output_mse": 0.0, "max_abs_error": 0.0, "max_rel_error": 0.0, "cosine": 1.0}
    results.record_evaluation("e", right | fidelity | {"status": "ok", "reason": "", "placement": "CPU"})
    return results


def _against(outputs) -> dict:
    return {row["trial"]: row for row in machines.against_first(outputs).to_dict("records")}


def test_a_machine_three_times_as_slow_is_slower_with_an_interval(tmp_path):
    _machine(tmp_path, "a")
    _machine(tmp_path, "b", factor=3.0, host="other")
    row = _against(tmp_path)["onnxruntime fp32"]
    assert (row["machine"], row["against"], row["n"], row["its n"]) == ("b (native)", "a (native)", 1600, 1600)
    assert row["ratio"].startswith("0.33")
    assert "[0.33" in row["ratio"]
    assert row["verdict"] == "slower"


def test_equal_machines_cannot_be_told_apart(tmp_path):
    _machine(tmp_path, "a")
    _machine(tmp_path, "b", factor=1.0, host="other")
    assert {row["verdict"].split(":")[0] for row in _against(tmp_path).values()} == {"cannot tell"}


def test_the_noise_of_either_machine_is_heeded(tmp_path):
    _machine(tmp_path, "a")
    _machine(tmp_path, "b", factor=1.05, control=1.1, host="other")
    assert _against(tmp_path)["onnxruntime fp32"]["verdict"].startswith("cannot tell: within the noise of one of them, up to 1.1")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"effort": "full"}, "not comparable: effort full here, smoke there"),
        ({"seed": 7}, "not comparable: seed 7 here, 1 there"),
        ({"digest": "e"}, "not comparable: another artifact: eeeeeeeeeeee here, dddddddddddd there"),
        ({"effort": "full", "seed": 7}, "not comparable: effort full here, smoke there; seed 7 here, 1 there"),
    ],
)
def test_what_is_not_comparable_is_refused_in_its_row(tmp_path, changes, reason):
    _machine(tmp_path, "a")
    _machine(tmp_path, "b", factor=3.0, host="other", **changes)
    for row in _against(tmp_path).values():
        assert (row["ratio"], row["verdict"]) == ("–", reason)
        assert row["p50_ms"] != "–"  # its own time is still shown


def test_two_hardware_sets_on_one_host_compare_settings(tmp_path):
    _machine(tmp_path, "a")
    _machine(tmp_path, "b", factor=2.0, native=False, threads=1)
    row = _against(tmp_path)["tensorflow fp32"]
    assert row["machine"] == "b (REHEARSAL)"
    assert row["verdict"] == "slower; 1 thread against 2; the same host: this compares settings, not hardware"


def test_a_native_machine_comes_first(tmp_path):
    _machine(tmp_path, "a", native=False)
    _machine(tmp_path, "b", host="other")
    assert [one.heading for one in machines.machines(tmp_path)] == ["b (native)", "a (REHEARSAL)"]


def test_too_few_repetitions_give_no_verdict(tmp_path):
    _machine(tmp_path, "a")
    _machine(tmp_path, "b", factor=3.0, host="other", rounds=3)
    row = _against(tmp_path)["onnxruntime fp32"]
    assert row["ratio"].endswith("x (no interval)")
    assert row["verdict"] == "cannot tell: fewer than 4 repetitions"


def test_the_page_shows_winners_ratios_counts_and_what_was_left_out(tmp_path):
    _machine(tmp_path, "a")
    _machine(tmp_path, "b", factor=3.0, host="other", native=False)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "plan.json").write_text("[]")
    _machine(tmp_path, "torn")
    (tmp_path / "torn" / "artifacts.json").write_text("[1")
    text = machines.write(tmp_path).read_text()
    assert "| mnist_cnn | a (native) | latency | onnxruntime fp32 |" in text
    assert "| mnist_cnn | b (REHEARSAL) | latency | none: this is a rehearsal of Test machine, whose speed is not known |" in text
    assert "], faster | 8 | tensorflow fp32 |" in text
    assert "| model | trial | a (native) p50_ms | b (REHEARSAL) p50_ms |" in text
    assert "(n 1600)" in text
    assert "Winners: 2.0" in text
    assert "**broken** is left out" in text
    assert "**torn** is left out" in text


def test_one_machine_alone_has_nobody_to_be_held_against(tmp_path):
    _machine(tmp_path, "a")
    assert machines.against_first(tmp_path).empty
    assert "None." in machines.write(tmp_path).read_text()


def test_a_study_that_measured_nothing_is_no_machine(tmp_path):
    _machine(tmp_path, "a")
    results = Results(tmp_path / "b")
    results.save_plan([trial()], run_facts(), [])
    assert [one.name for one in machines.machines(tmp_path)] == ["a"]
    assert json.loads((tmp_path / "b" / "plan.json").read_text())


def test_results_that_were_copied_are_told_by_what_is_stored_in_them(tmp_path):
    """A server's results in the folder of a board: no table says that the board took those times."""
    _machine(tmp_path, "cpu")
    _machine(tmp_path, "server", factor=3.0, host="other")
    (tmp_path / "server").rename(tmp_path / "jetson")
    text = machines.write(tmp_path).read_text()
    assert "| model | trial | cpu (native) p50_ms | server, stored as jetson (native) p50_ms |" in text
    assert _against(tmp_path)["onnxruntime fp32"]["machine"] == "server, stored as jetson (native)"
    assert "jetson (native)" not in text.replace("server, stored as jetson (native)", "")
    assert "- **server, stored as jetson**: Native: measured on a test host; 2 threads used;" in text
    assert "These are results of HW=server, stored as jetson." in text
    assert "stored as cpu" not in text


def test_what_is_damaged_in_copied_results_is_not_to_be_measured_here(tmp_path):
    _machine(tmp_path, "server")
    (tmp_path / "server").rename(tmp_path / "jetson")
    (tmp_path / "jetson" / "artifacts.json").write_text("[1")
    with pytest.raises(InputError, match=r"It holds results of HW=server: copy them again from where `make study HW=server` wrote them"):
        Results(tmp_path / "jetson").artifacts()
    (tmp_path / "jetson" / "run.json").unlink()
    with pytest.raises(InputError, match=r"no study ran here yet\. Run `make study HW=jetson` first"):
        Results(tmp_path / "jetson").run()


def test_a_path_lies_in_the_folder_of_its_study(tmp_path):
    from studylib.results import whose

    assert whose.named(tmp_path / "cpu" / "path", "cpu") == "cpu"
    assert whose.again(tmp_path / "cpu" / "path") == "Run `make path HW=cpu` again."
