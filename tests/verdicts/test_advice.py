"""What to set, advised from results that were recorded for the test."""

import re
from dataclasses import FrozenInstanceError, replace

import pytest

import studylib as sl
from studylib.errors import InputError, UnknownNameError
from studylib.verdicts.winners import winners
from tests.recorded_results import measurement, run_facts, trial

RIGHT = [True] * 1000
LABELS = {"n": 1000, "agreeing": RIGHT}


def _answers(wrong: int) -> dict:
    """An evaluation of a thousand samples: enough to rule out a loss of a point."""
    return {"evaluation": LABELS | {"correct": [False] * wrong + [True] * (1000 - wrong)}}


def _of(ns: int, wrong: int = 0, sqnr: float = 90.0):
    return (ns, {}, 0, sqnr, _answers(wrong))


def _advice(results, **limits):
    (advice,) = sl.advise(results, **limits)
    return advice


@pytest.fixture
def three(variants):
    """fp32 in 400 µs and 4000 bytes, fp16 in 300 µs and 2000 bytes, int8 in 200 µs and 1333 bytes with 30 of 1000 answers lost."""
    return variants({"fp32": _of(400_000), "fp16": _of(300_000), "static_wi8_ai8": _of(200_000, wrong=30)})


def test_the_name_is_the_function_whatever_was_imported_before(three):
    import studylib.verdicts.advice  # noqa: F401

    assert callable(sl.advise)
    assert sl.advise(three)[0].configuration.recipe == "fp16"


def test_the_fastest_that_keeps_the_budget_is_advised_with_all_that_is_to_be_set(three):
    chosen = _advice(three).configuration
    assert (chosen.model, chosen.runtime, chosen.provider, chosen.recipe, chosen.threads, chosen.batch_size, chosen.options) == (
        "mnist_cnn", "onnxruntime", "cpu", "fp16", 2, 1, "",
    )  # fmt: skip
    assert chosen.words == "onnxruntime, provider cpu, recipe fp16, 2 threads, batch 1, the runtime's defaults"
    with pytest.raises(FrozenInstanceError):
        chosen.recipe = "fp32"


def test_runners_up_say_why_they_stand_behind(three):
    slower, lossy = _advice(three).runners_up
    assert slower.configuration.recipe == "fp32"
    assert re.fullmatch(r"slower: takes 1\.3\dx \[1\.\d\d, 1\.\d\d\] the time \(n 8 rounds\); file 2\.00 times larger", slower.reason)
    assert lossy.configuration.recipe == "static_wi8_ai8"
    assert lossy.reason.startswith(
        "out, lost 3.0 points of accuracy (n 1000), up to 4.1 within the interval: 3.1 points over the 1 allowed; faster:"
    )


def test_a_budget_is_held_against_the_unfavourable_end(variants):
    """Eight of a thousand lost are within a point as measured, and may be more than one."""
    results = variants({"fp32": _of(400_000), "static_wi8_ai8": _of(200_000, wrong=8)})
    assert winners(results)[0].variant.trial.recipe == "fp32"
    advice = _advice(results)
    assert advice.configuration.recipe == "fp32"
    assert "up to 1.4 within the interval: 0.4 points over the 1 allowed" in advice.runners_up[0].reason
    assert advice.notes[-1].startswith("Faster, and not known to keep the budget: onnxruntime static_wi8_ai8 (lost 0.8 points of accuracy")
    assert _advice(results, max_accuracy_loss=0.02).configuration.recipe == "static_wi8_ai8"


def test_without_independent_samples_what_was_measured_counts(variants):
    dependent = {"evaluation": LABELS | {"correct": [False] * 8 + [True] * 992, "independent": False}}
    results = variants({"fp32": _of(400_000), "static_wi8_ai8": (200_000, {}, 0, 40.0, dependent)})
    assert _advice(results).configuration.recipe == "static_wi8_ai8"


@pytest.mark.parametrize(("sqnr", "advised"), [(20.0, "static_wi8_ai8"), (19.9, "fp32")])
def test_random_weights_are_held_to_fidelity(variants, sqnr, advised):
    results = variants({"fp32": _of(400_000), "static_wi8_ai8": _of(200_000, wrong=500, sqnr=sqnr)}, weights="random")
    advice = _advice(results)
    assert advice.configuration.recipe == advised
    if advised == "fp32":
        assert "SQNR 19.9 dB (n 1000): 0.1 dB short of 20 dB" in advice.runners_up[0].reason


def test_ties_are_said_and_the_planted_gain_within_the_noise_is_none(variants):
    rows = {"fp32": _of(400_000), "fp16": _of(390_000)}
    reason = _advice(variants(rows, control=370_000)).runners_up[0].reason
    assert reason.startswith("not distinguishable: within this run's noise [0.9")
    assert _advice(variants(rows, control=370_000)).notes[0].endswith("not distinguishable from onnxruntime fp32.")


@pytest.mark.parametrize(("most", "recipe"), [(2500, "fp16"), (1500, None), (4000, "fp16")])
def test_a_limit_on_size_is_exact(three, most, recipe):
    advice = _advice(three, size_bytes=most)
    assert (advice.configuration and advice.configuration.recipe) == recipe


def test_a_limit_on_latency_holds_for_slow_queries_and_the_upper_end(variants):
    """The median keeps it, the p95 does not: values spread by two in a hundred."""
    results = variants({"fp32": _of(400_000)})
    reading = results.table().set_index("metric").loc["latency_p95"]
    assert reading.ci_low < reading.value < reading.ci_high
    assert _advice(results, latency_ns=reading.ci_high * 1.001).configuration.recipe == "fp32"
    between = _advice(results, latency_ns=(reading.value + reading.ci_high) / 2)
    assert between.configuration is None
    assert between.unmet[0].reason.startswith("nearest of those that keep the other limits is onnxruntime fp32, p95 0.4")
    assert "1.00 times the limit at the interval's upper end" in between.unmet[0].reason


def test_what_cannot_be_met_is_named_with_the_nearest_and_by_how_much(three):
    advice = _advice(three, size_bytes=1000)
    assert advice.configuration is None
    (unmet,) = advice.unmet
    assert unmet.limit == "file of at most 0.001 MB"
    assert unmet.nearest.recipe == "fp16"
    assert unmet.reason == "nearest of those that keep the other limits is onnxruntime fp16, file 0.00200 MB: 2.00 times the limit"
    assert "nothing can be advised, since none of the 3 configurations that were timed keeps every limit" in str(advice)


def test_limits_that_only_exclude_each_other_are_both_named(three):
    """The small file loses too much, and what loses little is larger."""
    size, accuracy = sorted(_advice(three, size_bytes=1500).unmet, key=lambda unmet: unmet.limit, reverse=True)
    assert "of those that keep the other limits is onnxruntime fp16, file 0.00200 MB: 1.33 times the limit" in size.reason
    assert accuracy.nearest.recipe == "static_wi8_ai8"
    assert accuracy.reason.endswith("3.1 points over the 1 allowed")


def test_memory_is_held_to_its_limit(three):
    assert _advice(three, rss_bytes=41e6).configuration.recipe == "fp16"
    (unmet,) = _advice(three, rss_bytes=20e6).unmet
    assert "peak resident memory 40.0 [40.0, 40.0] MB: 2.00 times the limit" in unmet.reason


@pytest.mark.parametrize("status", ["failed", "invalid"])
def test_what_failed_or_is_invalid_is_never_advised(three, status):
    best = trial(recipe="dynamic_wi8_afp32", artifact_key="f" * 64, evaluation_id="evaluation-0")
    for repetition in range(8):
        three.record(measurement(best, repetition, [1000] * 200, status=status, reason="it was so"))
    three.save_plan([*three.plan(), best], run_facts(), list(three.artifacts().values()))
    advice = _advice(three)
    assert advice.configuration.recipe == "fp16"
    assert "dynamic" not in str(advice)


def test_a_rehearsal_is_said_first_and_advises_nothing(recorded):
    advice = _advice(recorded(native=False), max_accuracy_loss=0.05)
    first = (
        "REHEARSAL of Test machine on a test host (the architecture is x86_64, not aarch64): speed there is not known, and nothing is "
        "advised. Fit to measure: a trial against itself reads 1.00x ["
    )
    assert str(advice).startswith(first)
    assert advice._repr_markdown_().startswith("**REHEARSAL of Test machine on a test host (the architecture")
    assert (advice.configuration, advice.projects, advice.runners_up, advice.why) == (None, (), (), ())
    assert advice.headline == "mnist_cnn: nothing can be advised, since this is a rehearsal of Test machine, whose speed is not known."
    ran, smallest, elsewhere = advice.known
    assert ran == "2 of 3 configurations ran here and passed parity; 1 did not, and the report gives each reason"
    assert smallest == (
        "the smallest file that keeps the budget is that of onnxruntime fp32, 1.00 kB; lost 0.0 points of accuracy (n 1000), up to 0.3 "
        "within the interval"
    )
    assert "another processor" in elsewhere


def test_an_unfinished_study_gives_no_interval_to_hold_a_limit_against(recorded):
    advice = _advice(recorded(rounds=1), max_accuracy_loss=0.05, latency_ns=1e9)
    assert "INCOMPLETE: 3 of 4 trials" in str(advice)
    assert advice.configuration is None
    assert "too few repetitions for an interval, which a limit is held against" in str(advice)


def test_empty_results_say_what_kept_them_empty(recorded):
    advice = _advice(recorded(rounds=0))
    assert advice.configuration is None
    assert advice.headline == (
        "mnist_cnn: nothing can be advised, since nothing was timed (pending: not measured yet; run `make study` again to go on; "
        "skipped: no such recipe here)."
    )


def test_one_runtime_alone_is_advised_and_has_no_runner_up(variants):
    advice = _advice(variants({"fp32": _of(400_000)}))
    assert advice.configuration.recipe == "fp32"
    assert advice.why[0] == "It is the only one that keeps every limit"
    assert advice.runners_up == ()


def test_without_a_float_version_the_loss_is_not_known_and_nothing_is_advised(variants):
    advice = _advice(variants({"static_wi8_ai8": _of(200_000)}))
    assert advice.configuration is None
    assert advice.unmet[0].reason == ("nearest is onnxruntime static_wi8_ai8, its fidelity is not known: fp32 was not evaluated beside it")


def test_projects_are_generated_from_the_rows(three):
    projects = {project.counts: project for project in _advice(three, max_accuracy_loss=0.05).projects}
    assert projects["the time of one answer"].choice == "onnxruntime static_wi8_ai8"
    assert projects["the size of the file"].choice == "onnxruntime static_wi8_ai8"
    assert projects["the size of the file"].because == "it is the fastest, file 1.33 kB, which is also the least"
    assert projects["fidelity"].choice == "onnxruntime fp16"  # faster than fp32, and as right
    assert projects["fidelity"].because.startswith("lost 0.0 points of accuracy (n 1000)")
    memory = projects["memory"]
    assert memory.choice == "onnxruntime static_wi8_ai8"
    assert memory.because == "it is the fastest, peak memory 40.0 [40.0, 40.0] MB, which is also the least"
    kept = {project.counts: project.choice for project in _advice(three).projects}
    assert kept["the size of the file"] == "onnxruntime fp16"


def _needing(results, number: int, peak_bytes: int, spread: float = 0.0):
    """The same results in which a trial's processes peak at so many bytes, each repetition by ``spread`` more than the one before."""
    one = results.plan()[number]
    for repetition in results.measurements(one.id):
        peak = int(peak_bytes * (1 + spread * repetition.repetition))
        results.record(replace(repetition, memory_bytes=repetition.memory_bytes | {"rss_peak": peak}))
    return results


def _memory(results):
    return next(project for project in _advice(results).projects if project.counts == "memory")


def test_what_saves_next_to_nothing_and_is_forty_times_slower_is_not_chosen(variants):
    """As seen: 0.5 of 67.5 MB, for forty times the time."""
    rows = {"fp32": _of(400_000), "fp16": _of(16_000_000)}
    memory = _memory(_needing(_needing(variants(rows), 0, 67_500_000), 1, 67_000_000))
    assert memory.choice == "onnxruntime fp32"
    assert memory.because == (
        "it is the fastest, peak memory 67.5 [67.5, 67.5] MB; the least is 67.0 [67.0, 67.0] MB, onnxruntime fp16 (\N{MINUS SIGN}0.7 %): "
        "less than 10 % saved"
    )


def test_a_gain_worth_naming_stands_beside_what_it_costs(variants):
    rows = {"fp32": _of(400_000), "fp16": _of(520_000)}
    memory = _memory(_needing(_needing(variants(rows), 0, 67_500_000), 1, 40_000_000))
    assert memory.choice == "onnxruntime fp16"
    assert re.fullmatch(
        r"peak memory 40\.0 \[40\.0, 40\.0\] MB instead of 67\.5 \[67\.5, 67\.5\] MB of onnxruntime fp32 \(\N{MINUS SIGN}41 %, n 8\), "
        r"takes 1\.[23]\dx \[1\.\d\d, 1\.\d\d\] the time \(n 8 rounds\)",
        memory.because,
    )


def test_a_gain_that_may_be_chance_is_none(variants):
    """A fifth less in the mean, and the intervals meet."""
    rows = {"fp32": _of(400_000), "fp16": _of(520_000)}
    memory = _memory(_needing(_needing(variants(rows), 0, 50_000_000, 0.2), 1, 40_000_000, 0.2))
    assert memory.choice == "onnxruntime fp32"
    assert memory.because.endswith(": the two intervals overlap")


def test_the_first_screen_reads_what_is_advised_against_the_baseline_with_n(three):
    headline, numbers, out = _advice(three).first
    assert headline == "mnist_cnn: use onnxruntime, provider cpu, recipe fp16, 2 threads, batch 1, the runtime's defaults."
    assert re.fullmatch(
        r"Median 0\.3\d\d \[0\.\d+, 0\.\d+\] ms \(n 1600\); 1\.3\dx \[1\.\d+, 1\.\d+\], faster, against onnxruntime fp32 "
        r"\(n 8 rounds\); lost 0\.0 points of accuracy \(n 1000\), up to 0\.3 within the interval\.",
        numbers,
    )
    assert out.startswith("Faster, and not known to keep the budget: onnxruntime static_wi8_ai8 (lost 3.0 points")


def test_too_few_samples_are_named_with_how_many_would_do(variants):
    few = {"evaluation": {"correct": [True] * 100}}
    advice = _advice(variants({"fp32": (400_000, {}, 0, 90.0, few), "fp16": (200_000, {}, 0, 90.0, few)}))
    assert advice.configuration.recipe == "fp32"
    assert advice.notes[-1] == (
        "Faster, and not known to keep the budget: onnxruntime fp16 (lost 0.0 points of accuracy (n 100), up to 2.7 within the interval: "
        "1.7 points over the 1 allowed; at least 276 samples are needed to tell)."
    )


# What an evaluation lacks where there is nothing to compare.
_NUMBERS = ("n", "finite", "sqnr", "cosine", "output_mse", "max_abs_error", "max_rel_error", "agreeing", "correct")


def test_outputs_that_cannot_be_compared_never_keep_a_budget(variants):
    """The float version may be named for its speed where nothing else can be, and says that its fidelity is not known."""
    unlike = {"evaluation": {"comparable": False, "why_not_comparable": "the number of outputs varies"}, "without": _NUMBERS}
    rows = {"fp32": (400_000, {}, 0, 90.0, unlike), "static_wi8_ai8": (200_000, {}, 0, 90.0, unlike)}
    results = variants(rows)
    advice = _advice(results)
    assert advice.configuration.recipe == winners(results)[0].variant.trial.recipe == "fp32"
    assert "the baseline itself" in advice.notes[0]
    assert "its fidelity is not known: the number of outputs varies" in advice.why[-1]
    assert "its fidelity is not known: the number of outputs varies" in advice.runners_up[0].reason


def test_work_in_bulk_may_choose_another_batch(three):
    large = replace(three.plan()[1], batch_size=8, scenario="offline")
    for repetition in range(8):
        three.record(measurement(large, repetition, [800_000] * 200))
    three.save_plan([*three.plan(), large], run_facts(), list(three.artifacts().values()))
    advice = _advice(three)
    bulk = next(project for project in advice.projects if project.counts == "throughput")
    assert bulk.choice == "onnxruntime fp16 x8"
    assert bulk.because.startswith("10,000 [10,000, 10,000] samples/s, n 1600")
    assert advice.configuration.batch_size == 1
    assert not [one for one in advice.runners_up if one.configuration.batch_size == 8]


def test_a_model_by_name_and_one_that_is_not_there(three):
    assert len(sl.advise(three, model="mnist_cnn")) == 1
    with pytest.raises(UnknownNameError, match=r"Unknown model of these results 'mnist_cn'\. Known: mnist_cnn\. Did you mean"):
        sl.advise(three, model="mnist_cn")


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"max_accuracy_loss": 1.5}, r"max_accuracy_loss is 1\.5; it must be a share between 0 and 1"),
        ({"max_accuracy_loss": -0.1}, r"max_accuracy_loss is -0\.1"),
        ({"max_accuracy_loss": float("nan")}, "max_accuracy_loss is nan"),
        ({"max_accuracy_loss": "1"}, "max_accuracy_loss is '1'"),
        ({"latency_ns": 0}, "latency_ns is 0; it must be a positive number, or None for no limit"),
        ({"latency_ns": float("inf")}, "latency_ns is inf"),
        ({"rss_bytes": -1}, "rss_bytes is -1"),
        ({"size_bytes": "1 MB"}, "size_bytes is '1 MB'"),
        ({"size_bytes": True}, "size_bytes is True"),
    ],
)
def test_what_is_no_limit_is_refused(three, limits, words):
    with pytest.raises(InputError, match=words):
        sl.advise(three, **limits)


def test_results_must_be_results():
    with pytest.raises(InputError, match=r"advise was given a str; give it results, such as sl\.read_results\('cpu'\)"):
        sl.advise("cpu")


def test_names_cannot_become_markup(variants):
    text = _advice(variants({"fp32": _of(400_000)}, model="<b>[x](y)`z`"))._repr_markdown_()
    assert "<b>" not in text
    assert "[x](y)" not in text.replace("\\[x](y)", "")
