"""Further rounds: who gets them, when they end, and what they change."""

import random
from dataclasses import replace

import pytest

from studylib import stats
from studylib.machine.disturbance_limits import Limits
from studylib.measure.rounds import Bench
from studylib.params.efforts import EFFORTS
from studylib.report.by_name import tables
from studylib.results.results import Results
from studylib.stats import Verdict
from studylib.study.further_rounds import FurtherRounds
from studylib.verdicts import compare
from studylib.verdicts.findings import Findings
from studylib.verdicts.winners import smallest_batch
from tests.measure.test_cohorts import Together
from tests.recorded_results import EVALUATED, run_facts, trial
from tests.scripted_jobs import origin

SETTINGS = replace(EFFORTS["smoke"], min_values=20, min_duration_s=0.055, max_duration_s=1000.0)
SLOW = trial(runtime="tensorflow", format="saved_model", artifact_key="slow", evaluation_id="evaluation-slow")
ONE, OTHER = (trial(recipe=name, artifact_key=name, evaluation_id=f"evaluation-{name}") for name in ("fp32", "fp16"))
TWIN = replace(ONE, control=True)
TRIALS = [SLOW, ONE, OTHER, TWIN]


class Noise:
    """The latencies of each artifact's processes: a factor, drawn anew for every cohort, that an artifact and its twin share."""

    def __init__(self, level: dict[str, float], spread: float):
        self.level, self.spread, self.rng, self.factor = level, spread, random.Random(3), {}

    def __call__(self, artifact: str, number: int) -> int:
        if number == 0:
            self.factor[artifact] = self.rng.lognormvariate(0, self.spread)
        return round(1_000_000 * self.level[artifact] * self.factor[artifact])


@pytest.fixture
def study(tmp_path):
    """Function: a study's bench after its planned rounds, of the given levels and spread."""

    def make(levels: dict[str, float], spread: float, native: bool = True) -> Bench:
        results, executor = Results(tmp_path / "cpu"), Together(Noise({"slow": 20.0} | levels, spread))
        run = run_facts(native)
        run["parameters"]["settings"] |= {"repetitions": SETTINGS.repetitions, "further_s": SETTINGS.further_s}
        results.save_plan(TRIALS, run, [])
        for one in TRIALS:
            results.record_evaluation(
                one.evaluation_id, EVALUATED | {"n": 1000, "sqnr": 60.0, "agreeing": [True] * 1000, "correct": [True] * 1000}
            )
        bench = Bench(
            results=results, executor=executor, origins={"mnist_cnn": origin()}, settings=SETTINGS, seed=7, host_id="h", limits=Limits(),
            write=lambda line: None,
        )  # fmt: skip
        bench.measure(TRIALS)
        return bench

    return make


def _counts(bench: Bench) -> list[int]:
    return [len(bench.results.measurements(one.id)) for one in TRIALS]


def test_what_is_decided_gets_none(study):
    bench = study({"fp32": 1.0, "fp16": 1.3}, 0.002)
    further = FurtherRounds(bench, 30.0)
    assert further.is_over()
    further.take()
    assert _counts(bench) == [5, 5, 5, 5]


@pytest.mark.parametrize(("level", "goes_on"), [(1.3, False), (1.05, True)])
def test_a_control_gets_none_but_beside_a_rival_that_it_leaves_open(study, monkeypatch, level, goes_on):
    """It decides nothing where every rival is told apart, however wide it reads."""
    real = compare.speed_up
    wide = stats.Comparison(1.0, 0.9, 1.1, stats.LEVEL, 5, Verdict.CANNOT_TELL)
    monkeypatch.setattr(compare, "speed_up", lambda *pair: replace(real(*pair), comparison=wide) if pair[1].control else real(*pair))
    bench = study({"fp32": 1.0, "fp16": level}, 0.002)
    FurtherRounds(bench, 30.0).take()
    slow, one, other, twin = _counts(bench)
    assert slow == 5
    assert one == other == twin
    assert (twin > 5) is goes_on


def test_what_is_known_to_be_equally_fast_gets_none(study):
    assert FurtherRounds(study({"fp32": 1.0, "fp16": 1.001}, 0.002), 30.0).is_over()


def test_rivals_that_noise_hides_get_them_until_they_are_told_apart_and_nobody_else_does(study):
    bench = study({"fp32": 1.0, "fp16": 0.9}, 0.1)
    assert compare.speed_up(ONE, OTHER, bench.results).verdict is Verdict.CANNOT_TELL
    FurtherRounds(bench, 30.0).take()
    assert _counts(bench) == [5, 15, 15, 5]
    found = compare.speed_up(ONE, OTHER, bench.results)
    assert (found.verdict, found.comparison.level, found.comparison.n) == (Verdict.FASTER, stats.LATER_LEVEL, 15)
    assert compare.speed_up(SLOW, OTHER, bench.results).comparison.level == stats.LEVEL
    assert FurtherRounds(bench, 30.0).is_over()
    table = tables.further_rounds(bench.results)
    (told,) = table.itertuples()
    assert (told.rounds, told.planned, told[-1]) == (15, 5, "a decision")


def test_their_time_ends_them_and_they_do_not_begin_again(study, monkeypatch):
    bench = study({"fp32": 1.0, "fp16": 1.0}, 0.2)
    assert not FurtherRounds(bench, 30.0).is_over()
    ticks = iter(range(0, 10**6, 4))
    monkeypatch.setattr("studylib.study.further_rounds.time.monotonic", lambda: next(ticks))
    monkeypatch.setattr("studylib.measure.rounds.time.monotonic", lambda: next(ticks))
    FurtherRounds(bench, 30.0).take()
    counts = _counts(bench)
    assert counts[0] == 5
    assert 5 < counts[1] < 15
    assert set(tables.further_rounds(bench.results)["ended by"]) == {"their time"}
    again = FurtherRounds(bench, 30.0)
    assert again.is_over()
    again.take()
    assert _counts(bench) == counts


def test_what_cannot_be_told_apart_ends_with_the_last_look(study):
    bench = study({"fp32": 1.0, "fp16": 1.0}, 0.4)
    FurtherRounds(bench, 1000.0).take()
    assert _counts(bench) == [5, 30, 30, 5]
    assert set(tables.further_rounds(bench.results)["ended by"]) == {"the last look"}
    assert FurtherRounds(bench, 1000.0).is_over()


def test_none_are_asked_for_without_time_or_in_a_rehearsal(study):
    assert FurtherRounds(study({"fp32": 1.0, "fp16": 1.0}, 0.4), 0.0).is_over()


def test_a_rehearsal_names_nobody_and_needs_none(study):
    assert FurtherRounds(study({"fp32": 1.0, "fp16": 1.0}, 0.4, native=False), 30.0).is_over()


def test_a_new_campaign_begins_anew(study):
    bench = study({"fp32": 1.0, "fp16": 1.0}, 0.4)
    FurtherRounds(bench, 1000.0).take()
    bench.measure(TRIALS, 2)
    assert _counts(bench) == [5, 5, 5, 5]
    assert not FurtherRounds(bench, 1000.0).is_over()


def test_what_further_rounds_find_faster_wins_although_an_hour_made_it_look_slower(study):
    """The planned rounds read fp16 slower, by noise; the further ones were taken when all was twice as slow, and read it faster."""
    bench = study({"fp32": 1.0, "fp16": 0.97}, 0.1)
    assert winner_of(bench).label == ONE.label
    planned = {one.id: Findings.of(bench.results).typical_ns(one) for one in TRIALS}
    bench.executor.script.level |= {"fp32": 2.0, "fp16": 1.6}
    FurtherRounds(bench, 1000.0).take()
    assert compare.speed_up(ONE, OTHER, bench.results).verdict is Verdict.FASTER
    assert winner_of(bench).label == OTHER.label
    assert {one.id: Findings.of(bench.results).typical_ns(one) for one in TRIALS} == planned


def winner_of(bench: Bench):
    (found,) = smallest_batch(Findings.of(bench.results))
    return found.variant.trial
