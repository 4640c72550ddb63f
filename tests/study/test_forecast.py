"""What a study tells of itself before it runs: counts, times, disk, and what is alike in one line."""

import shutil
from dataclasses import replace

from studylib.study.forecast import Forecast, forecast, grouped, skipped
from studylib.study.opening import open_study
from tests.recorded_results import measurement, trial


def test_trials_that_share_all_but_recipe_and_settings_stand_in_one_line():
    trials = [trial(recipe="fp32"), trial(recipe="fp16"), trial(recipe="fp32", control=True), trial(recipe="fp16", threads=1)]
    assert grouped(trials) == {
        "mnist_cnn onnxruntime, single_stream, 2 threads": ["fp32", "fp16", "fp32 (A/A)"],
        "mnist_cnn onnxruntime, single_stream, 1 thread": ["fp16"],
    }


def test_reasons_that_differ_in_the_recipe_alone_stand_in_one_line():
    reason = "recipe {} does not exist for saved_model"
    trials = [trial(recipe=name, reason=reason.format(name)) for name in ("fp16", "static_wi8_ai8")]
    one = trial(recipe="qat_wi8_ai8", reason=reason.format("wi8_ai8"))
    other = trial(reason="there is no GPU")
    assert skipped([*trials, one, other, trial()]) == {
        reason.format("…"): [f"mnist_cnn onnxruntime {name}" for name in ("fp16", "static_wi8_ai8", "qat_wi8_ai8")],
        "there is no GPU": ["mnist_cnn onnxruntime fp32"],
    }
    assert list(skipped(trials[:1])) == [trials[0].reason]


def test_it_counts_what_is_there_and_what_is_not(tmp_path, monkeypatch):
    monkeypatch.setenv("STUDYLIB_OUTPUTS", str(tmp_path))
    study = open_study("cpu", "smoke", models=("handmade",), runtimes=("onnxruntime",), recipes=("fp32",), sweeps=())
    before = forecast(study)
    assert (before.trials, before.rounds, before.waiting) == (2, 5, 10)  # one is the A/A control
    assert (before.present, before.present_bytes) == (0, 0)
    assert before.artifacts == len({target.key for target in study.plan.targets}) > 3
    assert 0 < before.least_s < before.most_s
    assert before.free_bytes <= shutil.disk_usage(tmp_path).total
    for repetition in range(3):
        study.results.record(measurement(study.trials[0], repetition))
    assert forecast(study).waiting == 7
    assert forecast(study).least_s < before.least_s


def test_it_is_told_in_three_lines_and_no_time_where_nothing_is_left():
    some = Forecast(2, 8, 13, 9.0, 140.0, 7, 3, 2_500_000, 10**10)
    assert some.lines == [
        "to measure: 2 trials x 8 rounds, 16 repetitions, 3 of them measured already",
        "time: measuring takes 9 s to 2 min 20 s, depending on how fast the models are; making what is missing comes before it",
        "disk: 7 artifacts, 3 are made (2.50 MB); 10.0 GB are free",
    ]
    assert replace(some, artifacts=3).lines[1].endswith("depending on how fast the models are")
    assert not any(line.startswith("time") for line in Forecast(2, 8, 0, 0, 0, 7, 7, 1, 1).lines)
