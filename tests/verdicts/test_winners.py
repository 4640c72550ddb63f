"""Who wins, by how much and how sure, on results that were recorded for the test."""

from dataclasses import replace

import numpy as np
import pytest

from studylib import stats
from studylib.report.by_name import tables
from studylib.results.results import Results
from studylib.verdicts import winners
from studylib.verdicts.losses import Lost
from studylib.verdicts.pareto import front
from studylib.verdicts.variants import every_name as every_variant
from tests.recorded_results import measurement, run_facts, trial


def _of(ns: int, right: int, sqnr: float) -> tuple:
    """A variant with so many of a hundred answers right, of a thousand samples: enough to rule out a loss of a point."""
    answers = {"n": 1000, "agreeing": [True] * 1000, "correct": [True] * (10 * right) + [False] * (1000 - 10 * right)}
    return ns, {}, right, sqnr, {"evaluation": answers}


FP32, STATIC = _of(400_000, 95, 90.0), _of(200_000, 95, 40.0)


def _latency(results, **options):
    return next(row for row in tables.winners(results, **options).to_dict("records") if row["for"] == "latency")


def test_the_fastest_within_the_budget_wins_over_tensorflow(recorded):
    row = _latency(recorded())
    assert (row["winner"], row["baseline"], row["rounds"]) == ("onnxruntime fp32", "tensorflow fp32", 8)
    assert row["over the baseline"].startswith(("2.0", "1.9"))
    assert row["over the baseline"].endswith("], faster")
    assert row["hardware"] == "cpu (native)"
    assert row["lost"] == "0.0 points of accuracy (n 1000), up to 0.3 within the interval"


def test_a_rehearsal_has_no_winner(recorded):
    row = _latency(recorded(native=False))
    assert row["hardware"] == "cpu (REHEARSAL)"
    assert row["winner"] == "none: this is a rehearsal of Test machine, whose speed is not known"
    assert winners.geometric_mean(recorded(native=False)) is None


def test_a_hundred_samples_cannot_tell_a_loss_of_one_point(recorded):
    """Nothing was lost, and up to 2.7 points may have been: the baseline, which is compared with itself, stays."""
    row = _latency(recorded(n=100))
    assert (row["winner"], row["over the baseline"]) == ("tensorflow fp32", "the baseline itself")
    assert row["faster, but over the budget"] == ("onnxruntime fp32 (lost 0.0 points of accuracy (n 100), up to 2.7 within the interval)")
    assert _latency(recorded(n=276))["winner"] == "onnxruntime fp32"


def test_a_planted_winner_that_lost_too_much_is_named_and_does_not_win(variants):
    """Fastest of all, and wrong in fifteen of a hundred answers."""
    wrong = _of(100_000, 80, 40.0)
    row = _latency(variants({"fp32": FP32, "static_wi8_ai8": wrong, "fp16": _of(300_000, 95, 60.0)}))
    assert row["winner"] == "onnxruntime fp16"
    assert row["faster, but over the budget"] == (
        "onnxruntime static_wi8_ai8 (lost 15.0 points of accuracy (n 1000), up to 17.2 within the interval)"
    )


def test_the_budget_decides(variants):
    results = variants({"fp32": FP32, "static_wi8_ai8": _of(200_000, 92, 40.0)})
    assert _latency(results)["winner"] == "onnxruntime fp32"
    assert _latency(results)["over the baseline"] == "the baseline itself"
    assert _latency(results, max_accuracy_loss=0.045)["winner"] == "onnxruntime static_wi8_ai8"


def _unlabelled(ns: int, sure_right: int, unsure_right: int) -> tuple:
    """300 answers without labels, the source model sure of 100 of them; so many of each agree with it."""
    agreeing = [True] * sure_right + [False] * (100 - sure_right) + [True] * unsure_right + [False] * (200 - unsure_right)
    answers = {"n": 300, "agreeing": agreeing, "confidence": [0.9] * 100 + [0.3] * 200, "independent": False}
    return ns, {}, 0, 30.0, {"evaluation": answers, "without": ("correct",)}


def test_without_labels_the_budget_counts_what_the_source_model_is_sure_of(variants):
    """A hundred answers of which it is not sure differ, and none of those it is sure of: that is no loss. Two of those are."""
    rows = {"fp32": _unlabelled(400_000, 100, 200), "static_wi8_ai8": _unlabelled(200_000, 100, 100), "int4": _unlabelled(100_000, 98, 200)}
    results = variants(rows)
    row = _latency(results)
    assert row["winner"] == "onnxruntime static_wi8_ai8"
    assert row["lost"] == "0.0 points of agreement where the source model is sure (n 100 of 300)"
    assert row["faster, but over the budget"] == (
        "onnxruntime int4 (lost 2.0 points of agreement where the source model is sure (n 100 of 300))"
    )
    table = tables.quality(results).set_index("recipe")
    assert table.loc["static_wi8_ai8", "source above 0.5: agreement_%"] == "100.0 (n 100)"
    assert table.loc["static_wi8_ai8", "below"] == "50.0 (n 200)"
    shown = tables.techniques(results).set_index("recipe").quality
    assert shown["static_wi8_ai8"] == "agreement where the source model is sure 100.0 %"
    assert front(every_variant(results)) == {one.id for one in results.plan() if one.recipe != "fp32"}


@pytest.mark.parametrize(("sqnr", "wins"), [(25.0, "static_wi8_ai8"), (15.0, "fp32")])
def test_random_weights_are_held_to_fidelity(variants, sqnr, wins):
    results = variants({"fp32": FP32, "static_wi8_ai8": _of(200_000, 95, sqnr)}, weights="random")
    assert _latency(results)["winner"] == f"onnxruntime {wins}"


def test_ties_are_listed_and_a_gain_within_the_noise_is_none(variants):
    rows = {"fp32": FP32, "fp16": _of(385_000, 95, 60.0), "static_wi8_ai8": _of(386_000, 95, 40.0)}
    row = _latency(variants(rows))
    assert row["not distinguishable from it"] in ("onnxruntime static_wi8_ai8", "onnxruntime fp16")
    row = _latency(variants(rows, control=370_000))
    assert set(row["not distinguishable from it"].split(", ")) >= {"onnxruntime fp32"}
    assert "cannot tell: within this run's noise" in row["over the baseline"]


@pytest.mark.parametrize("status", ["failed", "invalid"])
def test_what_failed_or_was_disturbed_never_wins(recorded, status):
    results = recorded()
    best = trial(recipe="static_wi8_ai8", artifact_key="c" * 64, evaluation_id="evaluation-fast")
    for repetition in range(8):
        results.record(measurement(best, repetition, [1000] * 200, status=status, reason="it was so"))
    results.save_plan([*results.plan(), best], run_facts(), list(results.artifacts().values()))
    assert _latency(results)["winner"] == "onnxruntime fp32"


def test_throughput_compares_samples_of_any_batch(tmp_path):
    results = Results(tmp_path)
    slow, fast = (trial(runtime=name, format="x", evaluation_id="e") for name in ("tensorflow", "litert"))
    plan = [slow, fast, *(replace(one, batch_size=8, scenario="offline") for one in (slow, fast))]
    results.save_plan(plan, run_facts(), [])
    results.record_evaluation("e", _evaluated())
    # For one sample: TensorFlow 400 and 50 µs, LiteRT 100 and 75 µs.
    for one, ns in zip(plan, (400_000, 100_000, 400_000, 600_000), strict=True):
        for repetition in range(8):
            results.record(measurement(one, repetition, [ns] * 200))
    latency, larger, throughput = tables.winners(results).to_dict("records")
    assert [row["for"] for row in (latency, larger, throughput)] == ["latency", "latency, batch 8", "throughput"]
    assert (larger["winner"], larger["baseline"]) == ("tensorflow fp32 x8", "tensorflow fp32 x8")
    assert (latency["winner"], latency["baseline"], latency["over the baseline"]) == (
        "litert fp32", "tensorflow fp32", "4.00x [4.00, 4.00], faster",
    )  # fmt: skip
    assert (throughput["winner"], throughput["over the baseline"]) == ("tensorflow fp32 x8", "the baseline itself")
    results.save_plan([slow, fast, plan[3]], run_facts(), [])
    *_, throughput = tables.winners(results).to_dict("records")
    assert (throughput["winner"], throughput["baseline"]) == ("litert fp32 x8", "tensorflow fp32")
    assert throughput["over the baseline"] == "5.33x [5.33, 5.33], faster"


def test_without_any_number_the_row_says_why(recorded):
    row = _latency(recorded(rounds=0))
    assert row["winner"] == (
        "none: nothing was timed (pending: not measured yet; run `make study` again to go on; skipped: no such recipe here)"
    )
    assert winners.geometric_mean(recorded(rounds=0)) is None


def test_without_a_float_version_nothing_is_known_of_the_loss(variants):
    row = _latency(variants({"static_wi8_ai8": STATIC}))
    assert row["winner"].startswith("none: nothing within the budget; the fastest, onnxruntime static_wi8_ai8: its fidelity is not known")


def test_without_tensorflow_the_first_float_is_the_baseline_and_is_named(variants):
    results = variants({"fp32": FP32, "static_wi8_ai8": STATIC})
    row = _latency(results)
    assert row["baseline"] == "onnxruntime fp32"
    assert "mnist_cnn over onnxruntime fp32" in winners.geometric_mean(results).words


def _evaluated() -> dict:
    return {
        "n": 1000, "finite": True, "output_mse": 1e-9, "sqnr": 90.0, "max_abs_error": 1e-4, "max_rel_error": 1e-4, "cosine": 1.0,
        "data": "real", "agreeing": [True] * 1000, "correct": [True] * 1000, "independent": True, "status": "ok", "reason": "",
        "placement": "CPU",
    }  # fmt: skip


def _study(folder, rivals: dict[str, list[float]], rng, rounds=8, noise=0.05) -> Results:
    """Models by name with the true speed-ups of their rivals over TensorFlow, each round noisy."""
    results, plan = Results(folder), []
    for model, factors in rivals.items():
        base = trial(model=model, runtime="tensorflow", format="saved_model", evaluation_id="e")
        ours = [trial(model=model, recipe=f"r{number}", evaluation_id="e") for number in range(len(factors))]
        plan += [base, *ours]
        for one, factor in zip([base, *ours], [1.0, *factors], strict=True):
            for repetition in range(rounds):
                # Raw files are what everything is computed from; one value a repetition is enough for its median.
                results.record(measurement(one, repetition, [int(1e8 / factor * rng.lognormal(0, noise))]))
    results.record_evaluation("e", _evaluated())
    results.save_plan(plan, run_facts(), [])
    return results


def test_times_under_load_do_not_compete(variants):
    results = variants({"fp32": FP32})
    load = replace(results.plan()[0], scenario="server")
    for repetition in range(8):
        results.record(measurement(load, repetition, [1000] * 200))
    results.save_plan([*results.plan(), load], run_facts(), list(results.artifacts().values()))
    assert _latency(results)["winner"] == "onnxruntime fp32"
    results.save_plan([load], run_facts(), list(results.artifacts().values()))
    assert _latency(results)["winner"].startswith("none: nothing was timed one query after the other")


def test_the_geometric_mean_is_that_of_the_ratios(tmp_path):
    results = _study(tmp_path, {"a": [2.0], "b": [4.0], "c": [1.0 / 3]}, np.random.default_rng(0), noise=1e-6)
    found = winners.geometric_mean(results)
    assert found.estimate.value == pytest.approx((2 * 4 * 1) ** (1 / 3), rel=1e-4)  # what loses leaves the baseline, at 1
    assert found.estimate.n == 24
    assert found.words.startswith("2.00x [2.00, 2.00], geometric mean over 3 models, n 24 rounds (a, b, c over tensorflow fp32)")


def test_a_model_without_a_winner_is_left_out_by_name(tmp_path):
    results = _study(tmp_path, {"a": [2.0]}, np.random.default_rng(0), noise=1e-6)
    results.save_plan([*results.plan(), trial(model="b", reason="no GPU")], run_facts(), [])
    assert winners.geometric_mean(results).words.endswith("; b is left out: nothing was timed (skipped: no GPU)")


def test_too_few_rounds_give_no_interval(tmp_path):
    found = winners.geometric_mean(_study(tmp_path, {"a": [2.0], "b": [3.0]}, np.random.default_rng(0), rounds=3))
    assert found.estimate.low is None
    assert "(no interval: fewer than 4 rounds)" in found.words


def test_the_interval_of_planted_ratios_covers_and_can_fail():
    """Three models with true ratios 2, 3 and 5 and noises of 2, 5 and 10 %: the interval holds the geometric mean, not another number."""
    rng, truth, covered, wrong = np.random.default_rng(7), np.log([2, 3, 5]).mean(), 0, 0
    for _ in range(400):
        groups = [np.log(ratio) + rng.normal(0, noise, 8) for ratio, noise in ((2, 0.02), (3, 0.05), (5, 0.1))]
        found = stats.combined_means(groups, [1 / 3] * 3)
        covered += found.low <= truth <= found.high
        wrong += found.low <= truth + np.log(1.1) <= found.high
    assert 0.92 <= covered / 400 <= 0.985
    assert wrong / 400 < 0.5


def _readings(rounds=8, noise=0.05, studies=400):
    """Three models with six equal rivals at twice the baseline: mean log ratio and coverage, plain and chosen by other rounds."""
    rng, found = np.random.default_rng(11), {"plain": [], "chosen by others": []}
    for _ in range(studies):
        rivals = np.log(2) + rng.normal(0, noise, (3, 6, rounds)) + rng.normal(0, noise, (3, 1, rounds))
        ranked = [model[np.argsort(-model.mean(axis=1))] for model in rivals]
        picks = {"plain": [model[0] for model in ranked], "chosen by others": [winners.chosen_by_the_others(model) for model in ranked]}
        for name, logs in picks.items():
            mean = stats.combined_means(logs, [1 / 3] * 3)
            found[name].append((mean.value, mean.low <= np.log(2) <= mean.high))
    return {name: np.mean(values, axis=0) for name, values in found.items()}


def test_the_best_of_equals_is_not_flattered():
    """The plain ratio of the fastest of six equals reads two percent high and its interval misses the truth."""
    found = _readings()
    value, covered = found["chosen by others"]
    assert abs(value - np.log(2)) < 0.005
    assert covered >= 0.87
    value, covered = found["plain"]
    assert value - np.log(2) > 0.015
    assert covered < 0.8


def test_a_clear_winner_is_chosen_in_every_round():
    clear = np.array([[2.0, 2.1, 1.9, 2.0, 2.2], [1.0, 1.1, 0.9, 1.0, 1.2]])
    assert winners.chosen_by_the_others(clear).tolist() == clear[0].tolist()
    assert winners.chosen_by_the_others(clear[:1]).tolist() == clear[0].tolist()


def test_the_geometric_mean_of_ties_is_the_one_chosen_by_other_rounds(tmp_path):
    """Two equals that take turns: each is best in rounds where the other is read."""
    results = _study(tmp_path, {"a": [2.0, 2.0]}, np.random.default_rng(0), noise=1e-6)
    for number, one in enumerate(results.plan()[1:]):
        for repetition in range(8):
            ns = 5e7 * (0.9 if (repetition % 4 < 2) == bool(number) else 1.1)
            results.record(measurement(one, repetition, [int(ns)]))
    found, (one, _) = winners.geometric_mean(results).estimate, winners.winners(results)
    assert len(one.ties) == 1
    assert one.against.comparison.ratio == pytest.approx(2 / (0.9 * 1.1) ** 0.5, rel=1e-3)
    assert found.value == pytest.approx(2 / 1.1, rel=1e-3)  # always the one that the other rounds liked, and never in luck


def test_groups_of_a_combined_mean_need_a_weight_each():
    with pytest.raises(ValueError, match="1 groups and 2 weights"):
        stats.combined_means([np.ones(8)], [1, 2])
    assert stats.combined_means([np.ones(8), np.full(8, 3.0)], [0.5, 0.5]) == stats.Estimate(2.0, 2.0, 2.0, 0.95, 16)


def test_samples_that_the_source_is_unsure_of_are_counted_in_how_many_are_needed():
    """368 answers of which none is lost keep one point; of three samples the source model is sure of one."""
    assert Lost("agreeing", 0.0, 100, worst=0.036).samples_needed(0.01) == 368
    assert Lost("agreeing", 0.0, 100, worst=0.036, among=300).samples_needed(0.01) == 3 * 368
