import json
from dataclasses import replace

import pytest

from studylib.build.driving import make_artifacts
from studylib.build.executor import Executor
from studylib.build.jobs import BuildJob, Target
from studylib.build.site import Site
from studylib.errors import CancelledError, Kind, Reason, StudyError, TrialError
from studylib.executors import LocalExecutor
from studylib.machine.disturbance_limits import Limits
from studylib.measure import worker
from studylib.measure.cohorts import rounds_of
from studylib.measure.rounds import Bench
from studylib.params.efforts import EFFORTS
from studylib.results.results import Results
from tests.recorded_results import trial
from tests.scripted_jobs import origin, scripted

SETTINGS = replace(EFFORTS["smoke"], repetitions=3, min_values=20, min_duration_s=0, warmup_s=0, timeout_s=10.0)


class FakeExecutor(Executor):
    """Answers every job at once and remembers it; ``steal`` gives the share stolen from each job in turn."""

    def __init__(self, steal=(), fail=(), stopped_after=None):
        super().__init__()
        self.jobs, self.steal, self.fail, self.stopped_after = [], list(steal), fail, stopped_after

    def _end(self):
        """Nothing runs between two answers."""

    def _answer(self, job, timeout_s, on_line):
        if len(self.jobs) == self.stopped_after:
            raise KeyboardInterrupt
        self.jobs.append(job)
        if job.artifact in self.fail:
            raise TrialError("crash: the process was killed by SIGSEGV", Kind.CRASH)
        stolen = self.steal.pop(0) if self.steal else 0.0
        memory = dict.fromkeys(("rss_before", "rss_after_load", "rss_after_first", "rss_peak", "vms_peak"), 100)
        return {
            "values_ns": [len(self.jobs)], "warmup_ns": [], "started_at": worker.now(), "ended_at": worker.now(), "placement": "CPU",
            "cold_start_ns": {"load": 1, "first_inference": 1, "total": 1}, "memory_bytes": memory, "disturbances": {"steal_share": stolen},
        }  # fmt: skip


@pytest.fixture
def bench(tmp_path):
    def make(executor, **changes):
        facts = {
            "results": Results(tmp_path / "results"), "executor": executor,
            "origins": {"mnist_cnn": origin()}, "settings": SETTINGS, "seed": 7,
            "host_id": "h", "limits": Limits(), "write": lambda line: None,
        }  # fmt: skip
        return Bench(**facts | changes)

    return make


TRIALS = [trial(artifact_key=key) for key in "abcd"]


def test_every_round_holds_every_trial_once_in_a_seeded_order():
    order = list(rounds_of(TRIALS, range(6), 7))
    assert order == list(rounds_of(TRIALS[::-1], range(6), 7))
    assert order != list(rounds_of(TRIALS, range(6), 8))
    by_round = [[t.id for number, t in order if number == repetition] for repetition in range(6)]
    assert all(sorted(ids) == sorted(t.id for t in TRIALS) for ids in by_round)
    assert len({tuple(ids) for ids in by_round}) > 1


def test_every_repetition_is_recorded_and_nothing_is_repeated(bench):
    execute = FakeExecutor()
    assert bench(execute).measure(TRIALS) == 12
    assert len(execute.jobs) == 12
    assert bench(execute).measure(TRIALS) == 0
    assert len(execute.jobs) == 12


def test_an_interrupted_study_goes_on_where_it_stopped(bench):
    with pytest.raises(KeyboardInterrupt):
        bench(FakeExecutor(stopped_after=5)).measure(TRIALS)
    execute = FakeExecutor()
    assert bench(execute).measure(TRIALS) == 7
    assert len(execute.jobs) == 7


def test_force_measures_again_and_an_interrupted_force_is_completed(bench):
    execute = FakeExecutor()
    bench(execute).measure(TRIALS)
    bench(execute).measure(TRIALS[:1], campaign=2)
    assert bench(execute).measure(TRIALS) == 9
    assert bench(execute).measure(TRIALS) == 0
    assert {m.campaign for t in TRIALS for m in bench(execute).results.measurements(t.id)} == {2}


def test_a_failing_trial_costs_that_trial_alone_and_is_tried_once(bench):
    execute = FakeExecutor(fail="b")
    bench(execute).measure(TRIALS)
    results = bench(execute).results
    assert [len(results.measurements(t.id)) for t in TRIALS] == [3, 0, 3, 3]
    assert sum(job.artifact == "b" for job in execute.jobs) == 1
    assert [a.reason for a in results.attempts(TRIALS[1].id)] == ["crash: the process was killed by SIGSEGV"]
    assert bench(execute).measure(TRIALS) == 0


def test_a_disturbed_repetition_is_kept_as_invalid_and_measured_again(bench):
    execute = FakeExecutor(steal=[0.5, 0.0])
    bench(execute).measure(TRIALS[:1])
    attempts = bench(execute).results.attempts(TRIALS[0].id)
    assert [(a.repetition, a.attempt, a.status) for a in attempts] == [(0, 0, "invalid"), (0, 1, "ok"), (1, 0, "ok"), (2, 0, "ok")]
    assert attempts[0].reason.startswith("disturbed: other virtual machines took 50% of the processor time; the limit is 20% (measure at")


def test_a_machine_that_is_always_disturbed_uses_up_its_budget_and_ends(bench):
    """Three repetitions, half of which may be repeated: two attempts more for the whole run; then it is said and not tried again."""
    execute, lines = FakeExecutor(steal=[0.9] * 100), []
    noisy = bench(execute, write=lines.append)
    noisy.measure(TRIALS[:1])
    assert len(execute.jobs) == 3 + 2
    assert lines[-1] == "repetitions that stay invalid: 3; the budget of repeats is used up."
    assert list(noisy.waiting(TRIALS[:1])) == []
    assert noisy.measure(TRIALS[:1]) == 0
    assert noisy.results.measurements(TRIALS[0].id) == []


def test_one_repetition_is_tried_three_times_at_most(bench):
    execute, lines = FakeExecutor(steal=[0.9, 0.9, 0.9]), []
    patient = bench(execute, limits=Limits(repeated_share=1.0), write=lines.append)
    patient.measure(TRIALS[:1])
    assert [(a.repetition, a.status) for a in patient.results.attempts(TRIALS[0].id)] == [(0, "invalid")] * 3 + [(1, "ok"), (2, "ok")]
    assert lines[-1] == "repetitions that stay invalid: 1; they were disturbed every time."
    assert list(patient.waiting(TRIALS[:1])) == []


def test_a_run_that_was_stopped_goes_on_with_what_is_left_of_its_budget(bench):
    with pytest.raises(KeyboardInterrupt):
        bench(FakeExecutor(steal=[0.9] * 9, stopped_after=2)).measure(TRIALS[:1])
    execute = FakeExecutor(steal=[0.9] * 100)
    again = bench(execute)
    # One of two repeats was made: the disturbed repetition waits for its third attempt, the others for their first.
    assert [(one.repetition, one.attempt) for one in again.waiting(TRIALS[:1])] == [(0, 2), (1, 0), (2, 0)]
    again.measure(TRIALS[:1])
    assert len(execute.jobs) == 3
    assert list(again.waiting(TRIALS[:1])) == []


def test_a_new_campaign_has_a_budget_of_its_own(bench):
    bench(FakeExecutor(steal=[0.9] * 100)).measure(TRIALS[:1])
    execute = FakeExecutor(steal=[0.9, 0.0, 0.9, 0.0])
    bench(execute).measure(TRIALS[:1], campaign=2)
    assert len(bench(execute).results.measurements(TRIALS[0].id)) == 3


def test_what_does_not_fit_the_declared_memory_fails_here_too(bench):
    small = bench(FakeExecutor(), memory_bytes=99)
    small.measure(TRIALS[:1])
    assert small.results.attempts(TRIALS[0].id)[0].reason.startswith("needs more than the declared 0 MB of memory: 0 MB at its peak")
    roomy = bench(FakeExecutor(), memory_bytes=100)
    roomy.measure(TRIALS[1:2])
    assert len(roomy.results.measurements(TRIALS[1].id)) == 3


@pytest.mark.slow
def test_crash_hang_and_out_of_memory_each_cost_one_trial(bench, recording, shelf):
    """Four trials in real processes: three die in their own way, the fourth is measured in every repetition."""
    paths = {name: recording(name, events={"4": name})[0] for name in ("abort", "hang", "exhaust")}
    paths["healthy"], samples = recording("healthy", values_ns=[11])
    trials = {name: trial(runtime="replay", format="replay", artifact_key=shelf.put(path).key) for name, path in paths.items()}
    real = bench(LocalExecutor(1, shelf), origins={"mnist_cnn": origin(samples=shelf.put(samples).key)})
    real.measure(list(trials.values()))
    reasons = {name: [a.reason for a in real.results.attempts(t.id)] for name, t in trials.items()}
    assert reasons["healthy"] == ["", "", ""]
    assert [reasons[name][0].split(":")[0] for name in ("abort", "hang", "exhaust")] == ["crash", "timeout", "out of memory"]
    assert all(len(reasons[name]) == 1 for name in ("abort", "hang", "exhaust"))


def test_an_evaluation_that_crashes_is_a_reason_and_is_not_repeated(bench):
    execute = FakeExecutor(fail="a")
    bench(execute).evaluate(TRIALS[:1])
    bench(execute).evaluate(TRIALS[:1])
    assert len(execute.jobs) == 1
    assert bench(execute).results.evaluation(TRIALS[0].evaluation_id)["reason"].startswith("crash")


def _targets(*keys):
    return [Target(kind="recipe", key=key, label=key, model="m", seed=1) for key in keys]


def _build(keys, script, known=None):
    """Make artifacts with a build process that follows ``script``: key to a reason, ``"kill"`` or None."""
    runs = []

    def execute(job, timeout_s, on_line):
        runs.append([target.key for target in job.targets])
        for key in runs[-1]:
            on_line(json.dumps({"begun": key}))
            if script.get(key) == "kill":
                raise TrialError("crash: the process was killed by SIGSEGV", Kind.CRASH)
            on_line(json.dumps({"ended": key, "reason": script.get(key), "kind": "refused"}))
        if script.get("exit") == "kill":
            raise TrialError("crash at exit")
        return {}

    known = {key: Reason(Kind.REFUSED, words) for key, words in (known or {}).items()}
    failures = make_artifacts(_targets(*keys), known, scripted(execute), lambda key: False, 10, lambda line: None)
    return {key: (reason.kind, reason.text) for key, reason in failures.items()}, runs


def test_a_conversion_that_kills_its_process_costs_that_artifact_alone():
    failures, runs = _build("abc", {"b": "kill"})
    assert failures == {"b": ("crash", "crash: the process was killed by SIGSEGV")}
    assert runs == [["a", "b", "c"], ["c"]]


def test_a_reason_survives_the_death_of_the_process_that_told_it():
    failures, _ = _build("abc", {"a": "no translation", "b": "kill"})
    assert failures == {"a": ("refused", "no translation"), "b": ("crash", "crash: the process was killed by SIGSEGV")}


def test_a_crash_after_everything_ended_costs_nothing():
    assert _build("ab", {"exit": "kill"}) == ({}, [["a", "b"]])


def test_what_is_known_to_fail_is_not_tried_and_stays_known():
    assert _build("ab", {}, known={"a": "no translation"}) == ({"a": ("refused", "no translation")}, [["b"]])


def test_what_is_present_is_not_made():
    def execute(*_):
        raise AssertionError("nothing should be made")

    assert make_artifacts(_targets("a"), {}, scripted(execute), lambda key: True, 10) == {}


def test_a_worker_that_cannot_start_stops_the_study():
    def execute(*_):
        raise TrialError("error: No module named studylib")

    with pytest.raises(StudyError, match="artifacts could not be made: error: No module named studylib"):
        make_artifacts(_targets("a"), {}, scripted(execute), lambda key: False, 10, lambda line: None)


def test_what_needs_a_failed_artifact_is_not_tried(tmp_path, capsys):
    target = Target(kind="recipe", key="b", label="b", model="none", seed=1, needs=("a",))
    worker.build(BuildJob(targets=(target,), failed={"a": "no translation"}), Site(store=str(tmp_path)))
    assert capsys.readouterr().out.splitlines()[-1] == '{"ended": "b", "reason": "no translation", "kind": "refused"}'


def test_what_was_cancelled_is_not_tried_again_in_another_way(bench):
    """Neither without its batches, nor one size at a time, nor without the limit of memory: whoever ended a job wants none of these."""
    asked = []

    def cancelled(job, timeout_s, on_line):
        asked.append(job.kind)
        raise CancelledError

    made, one = bench(scripted(cancelled), memory_bytes=10**9), TRIALS[0]
    several = replace(one, scenario="server", batch_size=4)
    for kind, begin in {
        "evaluate": lambda: made.evaluate([several]), "check": lambda: made.check([several]),
        "measure": lambda: made.measure([one]), "build": lambda: make_artifacts(_targets("a"), {}, made.executor, lambda key: False, 1.0),
    }.items():  # fmt: skip
        asked.clear()
        with pytest.raises(CancelledError):
            begin()
        assert asked == [kind]
    with pytest.raises(CancelledError):
        made.glance(one)
    assert made.results.attempts(one.id) == [] and made.results.evaluation(one.evaluation_id) is None
