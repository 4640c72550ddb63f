"""One thread for the fastest of each runtime: who gets it, in which rounds it is measured, and what it changes."""

import os
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from studylib import stats
from studylib.build.jobs import EvaluateJob
from studylib.errors import Kind
from studylib.machine.disturbance_limits import Limits
from studylib.machine.hardware import probe
from studylib.measure.rounds import Bench
from studylib.results.results import Results
from studylib.stats import Verdict
from studylib.study.further_rounds import FurtherRounds
from studylib.study.one_thread import OneThread
from studylib.verdicts import compare
from studylib.verdicts.findings import Findings
from studylib.verdicts.winners import smallest_batch
from tests.in_process import study_of, timed_shortly
from tests.measure.test_cohorts import Together
from tests.recorded_results import EVALUATED, run_facts, trial
from tests.scripted_jobs import origin
from tests.study.test_further_rounds import SETTINGS, Noise

ROUNDS = SETTINGS.repetitions
SLOW = trial(runtime="tensorflow", format="saved_model", artifact_key="slow", evaluation_id="evaluation-slow")
ONE, OTHER = (trial(recipe=name, artifact_key=name, evaluation_id=f"evaluation-{name}") for name in ("fp32", "fp16"))
LITE = trial(runtime="litert", format="tflite", artifact_key="lite", evaluation_id="evaluation-lite")
TRIALS = [SLOW, ONE, OTHER, LITE, replace(ONE, control=True)]
LEVELS = {"slow": 20.0, "fp32": 1.0, "fp16": 1.3, "lite": 1.5, "slow alone": 20.0, "fp32 alone": 0.8, "fp16 alone": 1.3, "lite alone": 9.0}
SAME = EVALUATED | {"n": 1000, "sqnr": 60.0, "agreeing": [True] * 1000, "correct": [True] * 1000}


def alone(usual):
    return replace(usual, threads=1, sweep="threads", evaluation_id=f"{usual.evaluation_id}-alone")


class ByThreads(Together):
    """A job with one thread is another script's: ``fp32 alone``. ``evaluated``: what an evaluation finds; ``ends``: after which cohort."""

    evaluated, ends = SAME, None

    def _holding(self, jobs, timeout_s):
        if self.ends is not None and len(self.cohorts) >= self.ends:
            raise KeyboardInterrupt
        return super()._holding([_named(job) for job in jobs], timeout_s)

    def _answer(self, job, timeout_s, on_line):
        return dict(self.evaluated) if isinstance(job, EvaluateJob) else super()._answer(_named(job), timeout_s, on_line)


def _named(job):
    return replace(job, artifact=f"{job.artifact} alone") if job.threads == 1 else job


@pytest.fixture
def study(tmp_path):
    """Function: a plan and its bench after the planned rounds."""

    def make(native: bool = True, spread: float = 0.002, **levels) -> tuple[SimpleNamespace, Bench]:
        results, executor = Results(tmp_path / "cpu"), ByThreads(Noise(LEVELS | levels, spread))
        run = run_facts(native)
        run["parameters"]["settings"] |= {"repetitions": ROUNDS, "further_s": 30.0}
        results.save_plan(TRIALS, run, [])
        for one in TRIALS:
            results.record_evaluation(one.evaluation_id, SAME)
        bench = Bench(
            results=results, executor=executor, origins={"mnist_cnn": origin()}, settings=SETTINGS, seed=7, host_id="h", limits=Limits(),
            write=lambda line: None,
        )  # fmt: skip
        bench.measure(TRIALS)
        plan = SimpleNamespace(trials=TRIALS, threads=2, chosen=None, params=SimpleNamespace(choice=SimpleNamespace(all_threads=False)))
        usual = {(one.where, one.recipe): one for one in TRIALS if not one.control}
        plan.planned = lambda model, where, recipe, batch, **point: alone(usual[where, recipe])
        executor.cohorts.clear()
        return plan, bench

    return make


def taken(plan, bench) -> OneThread:
    """The step after it was taken, its trials in the plan of the results, as a study writes it."""
    step = OneThread(plan, bench)
    step.take()
    run = bench.results.run()
    bench.results.save_plan([*plan.trials, *step.trials], run, [])
    return step


def rounds_of(bench, one) -> list[int]:
    return sorted(measurement.repetition for measurement in bench.results.measurements(one.id))


def test_the_fastest_of_each_runtime_is_looked_at_and_what_is_near_is_measured_beside_all_threads(study):
    plan, bench = study()
    assert not OneThread(plan, bench).is_over()
    step = taken(plan, bench)
    assert step.is_over()
    assert [one.id for one in step.trials] == [alone(ONE).id, alone(LITE).id]
    quick, far = step.trials
    assert quick.reason == ""
    assert re.fullmatch(r"left out: a first look found 11\d samples/s with one thread, 66\d with 2", far.reason)
    later = list(range(ROUNDS, 2 * ROUNDS))
    assert rounds_of(bench, alone(ONE)) == later
    assert rounds_of(bench, ONE) == rounds_of(bench, SLOW) == rounds_of(bench, LITE) == [*range(ROUNDS), *later]
    assert rounds_of(bench, OTHER) == list(range(ROUNDS))
    assert {tuple(sorted(cohort)) for cohort in bench.executor.cohorts} == {("fp32", "fp32 alone", "lite", "slow")}


def test_it_wins_where_it_is_faster_and_nobody_had_looked_before(study):
    plan, bench = study()
    taken(plan, bench)
    (winner,) = smallest_batch(Findings.of(bench.results))
    assert winner.variant.trial.label == "onnxruntime fp32 1 thread"
    found = compare.speed_up(ONE, alone(ONE), bench.results)
    assert (found.verdict, found.comparison.level, found.comparison.n) == (Verdict.FASTER, stats.LEVEL, ROUNDS)
    assert compare.speed_up(SLOW, ONE, bench.results).comparison.n == 2 * ROUNDS
    assert winner.against.comparable
    assert FurtherRounds(bench, 30.0).is_over()


def test_what_ties_with_the_fastest_is_measured_beside_it_again_and_what_it_left_behind_is_no_tie(study):
    """fp16 shares no round with the winner when it is slower than what the winner is compared with."""
    plan, bench = study()
    taken(plan, bench)
    (winner,) = smallest_batch(Findings.of(bench.results))
    assert not compare.speed_up(OTHER, winner.variant.trial, bench.results).comparable
    assert (winner.ties, winner.apart) == ((), ())


def test_ties_of_the_planned_rounds_take_part(study):
    plan, bench = study(spread=0.1, fp16=0.95)
    taken(plan, bench)
    assert rounds_of(bench, OTHER) == list(range(2 * ROUNDS))


@pytest.mark.parametrize("changes", [{"threads": 1}, {"chosen": (ONE,)}, {"all_threads": True}, {"native": False}])
def test_nothing_is_chosen_where_there_is_nothing_to_choose_or_nobody_is_named(study, changes):
    plan, bench = study(native=changes.get("native", True))
    plan.threads, plan.chosen = changes.get("threads", 2), changes.get("chosen")
    plan.params.choice.all_threads = changes.get("all_threads", False)
    step = OneThread(plan, bench)
    assert step.is_over()
    assert step.trials == []


def test_what_a_sweep_measures_with_one_thread_is_not_measured_twice(study):
    plan, bench = study()
    plan.trials = [*TRIALS, alone(ONE)]
    assert [one.label for one in taken(plan, bench).trials] == ["litert fp32 1 thread"]


def test_an_answer_that_is_another_with_one_thread_is_not_timed(study):
    plan, bench = study()
    bench.executor.evaluated = {"status": "failed", "reason": "planted", "kind": Kind.ERROR}
    step = taken(plan, bench)
    assert step.is_over()
    assert rounds_of(bench, alone(ONE)) == []
    assert "planted" in str(bench.results.state(step.trials[0]))


def test_interrupted_it_goes_on_and_repeats_nothing(study):
    plan, bench = study()
    bench.executor.ends = 2
    with pytest.raises(KeyboardInterrupt):
        OneThread(plan, bench).take()
    bench.executor.ends = None
    assert not OneThread(plan, bench).is_over()
    assert rounds_of(bench, alone(ONE)) == [ROUNDS, ROUNDS + 1]
    asked = len(bench.executor.alone)
    assert taken(plan, bench).is_over()
    assert len(bench.executor.cohorts) == ROUNDS
    assert len(bench.executor.alone) == asked


def test_a_new_campaign_chooses_anew(study):
    plan, bench = study()
    taken(plan, bench)
    bench.executor.script.level |= {"fp32": 3.0}
    bench.measure(TRIALS, 2)
    step = OneThread(plan, bench)
    assert not step.is_over()
    assert [one.label for one in taken(plan, bench).trials] == ["onnxruntime fp16 1 thread", "litert fp32 1 thread"]


def test_less_of_the_same_study_chooses_for_itself_and_the_whole_one_nothing_anew(study):
    plan, bench = study()
    whole = [one.id for one in taken(plan, bench).trials]
    plan.trials = [SLOW, OTHER]
    assert [one.label for one in taken(plan, bench).trials] == ["onnxruntime fp16 1 thread"]
    plan.trials = TRIALS
    bench.results.save_plan(TRIALS, bench.results.run(), [])
    step = OneThread(plan, bench)
    assert step.is_over()
    assert [one.id for one in step.trials] == whole


@pytest.mark.skipif(probe().threads < 2, reason="there is one thread anyhow")
def test_a_real_study_has_it_in_its_plan_measured_or_left_out(mnist, tmp_path):
    """On what the smoke study made; and a second run does nothing."""
    choice = {"runtimes": ("onnxruntime",), "recipes": ("fp32",), "batch_sizes": (1,), "sweeps": (), "all_threads": False}
    lines = []
    study = replace(study_of(Path(os.environ["STUDYLIB_OUTPUTS"]), "mnist_cnn", **choice), folder=tmp_path / "cpu", write=lines.append)
    with timed_shortly():
        study.measure(matrix=False)
        (one,) = [trial for trial in study.results.plan() if trial.sweep == "threads"]
        state, count = study.results.state(one), len(study.results.measurements(one.id))
        assert (count, state.status) in ((5, "ok"), (0, "skipped"))
        assert count or one.reason.startswith("left out: a first look found")
        study.measure(matrix=False)
    assert any("Nothing to measure" in line for line in lines)
    assert len(study.results.measurements(one.id)) == count


def test_after_further_rounds_it_has_rounds_of_its_own(study):
    """First with all threads only, as a smoke study is; what had further rounds stays judged as looked at."""
    plan, bench = study(spread=0.1, fp16=0.95)
    FurtherRounds(bench, 1000.0).take()
    last = max(rounds_of(bench, ONE))
    assert last >= ROUNDS
    taken(plan, bench)
    assert rounds_of(bench, alone(ONE)) == rounds_of(bench, ONE)[-ROUNDS:] == list(range(last + 1, last + 1 + ROUNDS))
    assert compare.speed_up(ONE, alone(ONE), bench.results).comparison.level == stats.LEVEL
    assert compare.speed_up(ONE, OTHER, bench.results).comparison.level == stats.LATER_LEVEL


def test_how_much_it_takes_at_most_is_known_before(study):
    plan, bench = study()
    plan.mismatches = []
    step = OneThread(plan, bench)
    assert step.most == (4 + 3) * ROUNDS  # every usual trial again, and one with one thread for each of three runtimes
    plan.mismatches = ["another machine"]
    assert step.most == 0


def test_further_rounds_begin_after_them_and_are_a_second_look(study):
    plan, bench = study(**{"fp32 alone": 0.98})
    bench.executor.script.spread = 0.1
    taken(plan, bench)
    FurtherRounds(bench, 1000.0).take()
    assert max(rounds_of(bench, alone(ONE))) >= 2 * ROUNDS
    found = compare.speed_up(ONE, alone(ONE), bench.results)
    assert found.comparison.level == stats.LATER_LEVEL
