"""Processes that take turns: who is in a cohort, in which order they are asked, and what a failure or a disturbance costs."""

import contextlib
import random
import time
from dataclasses import replace

import psutil
import pytest

from studylib.build.executor import Executor, Member
from studylib.build.jobs import MeasureJob
from studylib.errors import Kind, TrialError
from studylib.executors import LocalExecutor
from studylib.machine.clock import now
from studylib.machine.disturbance_limits import Limits
from studylib.measure.cohorts import Waiting, cohort_results, cohorts_of, take_turns
from studylib.measure.rounds import Bench
from studylib.params.efforts import EFFORTS
from studylib.results.results import Results
from studylib.scenarios import Load, RunLength
from studylib.verdicts import compare
from tests.recorded_results import trial
from tests.scripted_jobs import origin

SETTINGS = replace(EFFORTS["smoke"], repetitions=4, min_values=40, min_duration_s=0.1, warmup_s=0, timeout_s=10.0)
TRIALS = [trial(artifact_key=key) for key in "abcd"]


class Told(Member):
    """Answers each block at once, with a latency that a script gives by artifact and round; ``asked`` keeps the order of all."""

    def __init__(self, job: MeasureJob, script, asked: list, steal: float = 0.0):
        self.job, self.script, self.asked, self.steal, self.blocks, self.values = job, script, asked, steal, [], []

    def block(self, number: int) -> tuple[int, int]:
        self.asked.append((number, self.job.artifact))
        latency = self.script(self.job.artifact, number)
        if isinstance(latency, TrialError):
            raise latency
        self.values += [latency] * 10
        self.blocks.append((number, len(self.asked), 10))
        return len(self.values), latency

    def result(self) -> dict:
        memory = dict.fromkeys(("rss_before", "rss_after_load", "rss_after_first", "rss_peak", "vms_peak"), 100)
        return {
            "values_ns": self.values, "warmup_ns": [], "started_at": now(), "ended_at": now(), "placement": "CPU", "blocks": self.blocks,
            "cold_start_ns": {"load": 1, "first_inference": 1, "total": 1}, "memory_bytes": memory,
            "disturbances": {"steal_share": self.steal},
        }  # fmt: skip


class Together(Executor):
    """Holds scripted members; ``steal``: the share stolen in each cohort in turn. ``room``: how many memory holds."""

    takes_turns = True

    def __init__(self, script, steal=(), room=99):
        super().__init__()
        self.script, self.steal, self.room, self.cohorts, self.alone, self.asked = script, list(steal), room, [], [], []

    @contextlib.contextmanager
    def _holding(self, jobs, timeout_s):
        self.cohorts.append([job.artifact for job in jobs])
        stolen = self.steal.pop(0) if self.steal else 0.0
        members = [Told(job, self.script, self.asked, stolen) for job in jobs]
        yield [*members[: self.room], *[None] * (len(members) - self.room)]

    def _answer(self, job, timeout_s, on_line):
        self.alone.append(job)
        latency = self.script(job.artifact, 0)
        if isinstance(latency, TrialError):
            raise latency
        member = Told(job, self.script, [])
        member.values = [latency] * 10
        return member.result()

    def _end(self):
        """Nothing runs between two answers."""


@pytest.fixture
def bench(tmp_path):
    def make(executor, **changes):
        facts = {
            "results": Results(tmp_path / "results"), "executor": executor, "origins": {"mnist_cnn": origin()}, "settings": SETTINGS,
            "seed": 7, "host_id": "h", "limits": Limits(), "write": lambda line: None,
        }  # fmt: skip
        return Bench(**facts | changes)

    return make


def test_a_cohort_is_what_is_compared_and_computes_here():
    others = [
        replace(TRIALS[0], batch_size=8, scenario="offline"),
        replace(TRIALS[0], scenario="server"),
        replace(TRIALS[0], driver="loadgen"),
    ]
    others += [replace(TRIALS[0], provider="cuda"), replace(TRIALS[1], batch_size=8, scenario="offline"), replace(TRIALS[0], model="other")]
    waiting = [Waiting(one, 1, repetition, 0) for repetition in range(2) for one in [*TRIALS, *others]]
    sizes = [len(cohort) for cohort in cohorts_of(waiting)]
    assert sum(sizes) == len(waiting)
    assert sorted(sizes) == [1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 4, 4]
    assert all(len({(one.repetition, one.trial.model, one.trial.batch_size) for one in cohort}) == 1 for cohort in cohorts_of(waiting))


def test_each_is_asked_once_a_round_in_another_seeded_order(bench):
    one = Together(lambda artifact, number: 1000)
    bench(one).measure(TRIALS)
    assert len(one.cohorts) == SETTINGS.repetitions
    assert one.alone == []
    rounds: dict = {}
    for place, (number, artifact) in enumerate(one.asked):
        rounds.setdefault((place // (4 * 20), number), []).append(artifact)
    assert len(rounds) == 4 * 20  # 0.1 s in blocks of 5 ms
    assert all(sorted(order) == list("abcd") for order in rounds.values())
    assert len(set(map(tuple, rounds.values()))) > 10
    again = Together(lambda artifact, number: 1000)
    take_turns([Told(job, again.script, again.asked) for job in _jobs()], RunLength(40, 0.1, 5), "7-1-0")
    twice = list(again.asked)
    take_turns([Told(job, again.script, again.asked) for job in _jobs()], RunLength(40, 0.1, 5), "7-1-0")
    assert again.asked == twice * 2


def _jobs():
    load = Load("single_stream", 1, RunLength(40, 0.1, 5))
    return [MeasureJob(artifact=key, samples="s", runtime="replay", provider="cpu", threads=1, load=load) for key in "abcd"]


def test_what_slows_the_machine_for_a_while_slows_both_and_is_no_difference(bench):
    """A burst in a third of the rounds, and a drift over all of them: the ratio of neighbours stays what was planted."""
    factor = {"a": 1.0, "b": 1.25, "c": 1.0, "d": 1.0}

    def script(artifact, number):
        burst = 3.0 if 5 <= number <= 11 else 1.0
        return round(1_000_000 * factor[artifact] * burst * (1 + number / 20))

    bench(Together(script)).measure(TRIALS)
    results = bench(None).results
    found = compare.speed_up(TRIALS[1], TRIALS[0], results)
    assert found.comparison.n == SETTINGS.repetitions
    assert found.comparison.ratio == pytest.approx(1.25, abs=1e-3)
    assert results.measurements(TRIALS[0].id)[0].cohort == results.measurements(TRIALS[1].id)[0].cohort != ""


def test_slow_models_get_few_rounds_and_never_longer_than_their_time(monkeypatch):
    clock = iter(range(10_000))
    asked: list = []
    members = [Told(job, lambda artifact, number: 300_000_000, asked) for job in _jobs()]
    take_turns(members, RunLength(40, 0.5, 5), "seed")
    assert len(asked) // 4 == 11
    monkeypatch.setattr("studylib.measure.cohorts.time.monotonic", lambda: next(clock))
    asked.clear()
    take_turns([Told(job, lambda artifact, number: 300_000_000, asked) for job in _jobs()], RunLength(4000, 0.5, 2), "seed")
    assert len(asked) // 4 == 2 * 4 - 1


def test_a_member_that_ends_costs_itself_and_the_others_go_on(bench):
    crash = TrialError("crash: the process was killed by SIGSEGV", Kind.CRASH)
    one = Together(lambda artifact, number: crash if (artifact, number) == ("b", 3) else 1000)
    bench(one).measure(TRIALS)
    results = bench(one).results
    assert [len(results.measurements(t.id)) for t in TRIALS] == [4, 0, 4, 4]
    assert [a.reason for a in results.attempts(TRIALS[1].id)] == [str(crash)]
    assert [sorted(cohort) for cohort in one.cohorts] == [list("abcd"), *[list("acd")] * 3]
    assert all(len(m.blocks) == 20 for t in (TRIALS[0], TRIALS[2]) for m in results.measurements(t.id))


def test_a_disturbed_cohort_counts_for_none_of_them_and_is_measured_again(bench):
    one = Together(lambda artifact, number: 1000, steal=[0.5])
    bench(one).measure(TRIALS)
    attempts = bench(one).results.attempts(TRIALS[0].id)
    assert [(a.repetition, a.attempt, a.status) for a in attempts][:3] == [(0, 0, "invalid"), (0, 1, "ok"), (1, 0, "ok")]
    assert len(one.cohorts) == SETTINGS.repetitions + 1


def test_one_that_was_disturbed_takes_those_beside_it_along(bench, monkeypatch):
    one = Together(lambda artifact, number: 1000)
    told, once = Told.result, iter([True])

    def disturbed(member):
        stolen = 0.9 if member.job.artifact == "c" and next(once, False) else 0.0
        return told(member) | {"disturbances": {"steal_share": stolen}}

    monkeypatch.setattr(Told, "result", disturbed)
    bench(one).measure(TRIALS)
    first = {t.artifact_key: bench(one).results.attempts(t.id)[0] for t in TRIALS}
    assert {a.status for a in first.values()} == {"invalid"}
    assert first["c"].reason.startswith("disturbed: other virtual machines took 90%")
    assert first["a"].reason == "something else that took turns with it was disturbed"
    assert {len(bench(one).results.measurements(t.id)) for t in TRIALS} == {4}


def test_what_memory_does_not_hold_at_once_is_measured_one_after_the_other_and_said(bench):
    lines = []
    one = Together(lambda artifact, number: 1000, room=2)
    bench(one, write=lines.append).measure(TRIALS)
    assert len(one.alone) == 4 * SETTINGS.repetitions
    assert len(one.cohorts) == 1  # it is found out once
    assert [line for line in lines if line.startswith("memory does not hold mnist_cnn, batch 1, 4 in turn at once")]
    assert {m.cohort for t in TRIALS for m in bench(one).results.measurements(t.id)} == {""}
    assert compare.speed_up(TRIALS[0], TRIALS[1], bench(one).results).comparable


def test_what_fails_under_the_declared_memory_is_tried_without_it_to_tell_why(bench):
    one = Together(lambda artifact, number: TrialError("error: could not create a primitive") if artifact == "b" else 1000)
    bench(one, memory_bytes=10**9).measure(TRIALS)
    assert [(job.artifact, job.memory_limit_bytes) for job in one.alone] == [("b", 10**9), ("b", None)]
    assert [len(bench(one).results.measurements(t.id)) for t in TRIALS] == [4, 0, 4, 4]


def test_an_interrupted_cohort_is_measured_again_whole(bench):
    def script(artifact, number):
        if random.random() < 0.01:
            raise KeyboardInterrupt
        return 1000

    random.seed(3)
    with pytest.raises(KeyboardInterrupt):
        while True:
            bench(Together(script)).measure(TRIALS)
    results = bench(None).results
    done = {len(results.measurements(t.id)) for t in TRIALS}
    assert len(done) == 1
    rest = Together(lambda artifact, number: 1000)
    bench(rest).measure(TRIALS)
    assert len(rest.cohorts) == SETTINGS.repetitions - done.pop()


# --- real processes --------------------------------------------------------------------------------------------------


@pytest.fixture
def real(shelf, recording):
    """Function: the job of a recording with events."""
    load = Load("single_stream", 1, RunLength(5, 0.02, 5))

    def job(name: str, **content) -> MeasureJob:
        artifact, samples = (shelf.put(path).key for path in recording(name, values_ns=[2_000_000], **content))
        return MeasureJob(artifact=artifact, samples=samples, runtime="replay", provider="cpu", threads=1, load=load)

    return job


@pytest.mark.slow
def test_real_processes_sleep_while_another_is_asked(real, shelf):
    with LocalExecutor(1, shelf).together([real("one"), real("two")], 60) as members:
        processes = [psutil.Process(member.process.pid) for member in members]
        for number in range(3):
            assert [member.block(number) for member in members] == [(3 * (number + 1), 2_000_000)] * 2
            until = time.monotonic() + 5  # a busy machine takes a moment to stop them
            while {process.status() for process in processes} != {psutil.STATUS_STOPPED}:
                assert time.monotonic() < until
        spent = [process.cpu_times() for process in processes]
        assert [process.cpu_times() for process in processes] == spent
        found = [member.result() for member in members]
    assert [[(number, n) for number, _, n in one["blocks"]] for one in found] == [[(0, 3), (1, 3), (2, 3)]] * 2
    assert [len(one["values_ns"]) for one in found] == [9, 9]
    assert found[0]["blocks"][0][1] < found[1]["blocks"][0][1] < found[0]["blocks"][1][1]  # one clock for all
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


@pytest.mark.slow
def test_a_crash_a_hang_and_a_refusal_each_cost_that_process_alone(real, shelf):
    names = {"abort": "crash: ", "hang": "timeout: ", "raise": "the recording says: raise", "exhaust": "out of memory"}
    jobs = [real(name, events={"9": name}) for name in names] + [real("healthy")]
    found = cohort_results(LocalExecutor(1, shelf), jobs, 4.0, "seed")
    for words, one in zip(names.values(), found, strict=False):
        assert isinstance(one, TrialError)
        assert words in str(one), str(one)
    assert len(found[-1]["values_ns"]) == 3 * 11
    assert not psutil.Process().children(recursive=True)


@pytest.mark.slow
def test_a_process_that_cannot_open_its_model_costs_itself(real, shelf):
    broken = replace(real("fine"), runtime="onnxruntime")
    found = cohort_results(LocalExecutor(1, shelf), [broken, real("healthy")], 60.0, "seed")
    assert isinstance(found[0], TrialError)
    assert found[1]["values_ns"]


@pytest.mark.slow
def test_memory_that_is_not_there_is_found_before_the_next_process(real, shelf, monkeypatch):
    from studylib.executors import taking_turns

    monkeypatch.setattr(taking_turns, "free_bytes", lambda: 1000)
    with LocalExecutor(1, shelf).together([real("one"), real("two")], 60) as members:
        assert members[1] is None
    assert not psutil.Process().children(recursive=True)
