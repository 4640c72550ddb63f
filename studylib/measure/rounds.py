"""Time trials that passed the parity gate: interleaved rounds of fresh processes."""

import math
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from studylib.build.jobs import FindRateJob, MeasureJob
from studylib.errors import Kind, Reason, TrialError
from studylib.machine import memory_limit
from studylib.machine.clock import is_tried_again, now
from studylib.machine.disturbance_limits import Limits, why_invalid
from studylib.measure.cohorts import Waiting, cohort_results, cohorts_of, rounds_of, told
from studylib.measure.evaluating import Evaluator
from studylib.measure.within_memory import run_within
from studylib.progress import Progress
from studylib.results.records import Measurement, Trial
from studylib.results.states import failed, reason_of
from studylib.scenarios import Load, RunLength, scenario_for
from studylib.scenarios.trouble import why_doubted, why_failed

# Attempts at one repetition that something disturbed.
_ATTEMPTS = 3
# The queries of a short look at a trial that may not be worth more: the fewest that carry a median.
_LOOKED = 11
# The queries of an offline repetition: throughput needs few, and they are long.
_OFFLINE_VALUES = 11
# How many times as long a further round is.
_LONGER = 2
# Share of a job's time that the search for a rate may take.
_SEARCH_SHARE = 0.5


@dataclass(frozen=True, kw_only=True)
class Bench(Evaluator):
    """Where and how trials are measured. ``limits``: what a repetition may suffer.

    ``memory_bytes``: what the declared hardware has; a trial that needs more fails here too. ``target_qps`` (None: searched for)
    and ``latency_bound_ns`` are of the server scenario.
    """

    seed: int
    host_id: str
    limits: Limits
    memory_bytes: int | None = None
    target_qps: float | None = None
    latency_bound_ns: int = 100_000_000

    def glance(self, trial: Trial) -> dict:
        """A short look at a trial in a process of its own: samples per second by the median, or why it failed."""
        # How fast a server answers one query after the other: its rate is searched for when it is measured.
        scenario = scenario_for(trial.batch_size) if trial.scenario == "server" else trial.scenario
        load = Load(scenario, trial.batch_size, RunLength(_LOOKED, 0.0, self.settings.max_duration_s), **self._stream(trial))
        job = MeasureJob(**self.opened(trial), load=load)
        begun = time.monotonic()
        self.check([trial])
        if unlike := self.results.why_unlike(trial):
            return failed(unlike) | {"seconds": time.monotonic() - begun}
        try:
            found = run_within(self.memory_bytes, self.executor, job, self.settings.timeout_s)
        except TrialError as error:
            return {"reason": str(error), "kind": error.kind, "seconds": time.monotonic() - begun}
        seconds, median = time.monotonic() - begun, statistics.median(found["values_ns"])
        if broken := self._why_broken(found):
            return failed(broken) | {"seconds": seconds}
        return {"samples_per_s": 1e9 * trial.batch_size / median, "n": len(found["values_ns"]), "seconds": seconds}

    def measure(self, trials: list[Trial], campaign: int | None = None, rounds: range | None = None) -> int:
        """Measure what is not measured yet and return how many repetitions that was. ``rounds``: which, instead of the first ones.

        ``campaign`` None goes on with what is there; a number begins or continues that campaign.
        A trial that fails is not tried again in this campaign. A disturbed repetition is, while the budget of the whole run
        lasts; what stays invalid then is said.
        """
        self.check([one.trial for one in self.waiting(trials, campaign, rounds)])
        waiting = list(self.waiting([trial for trial in trials if not self.results.why_unlike(trial)], campaign, rounds))
        self._take(waiting, self._repeats_left(trials, waiting[0].campaign) if waiting else 0)
        return len(waiting)

    def further(self, trials: list[Trial], rounds: range, until: float) -> None:
        """Measure more ``rounds`` of what is measured, in its newest campaign; none is begun after ``until`` (`time.monotonic`).

        Few take part, so each is asked for longer: on a restless machine that tells more than another start.
        """
        campaign = max(attempt.campaign for trial in trials for attempt in self.results.attempts(trial.id))
        every = rounds_of(trials, rounds, self.seed)
        waiting = [Waiting(trial, campaign, number, 0) for number, trial in every]
        longer = replace(self, settings=replace(self.settings, min_duration_s=_LONGER * self.settings.min_duration_s))
        longer._take(waiting, math.ceil(self.limits.repeated_share * len(waiting)), until)

    def _take(self, waiting: list[Waiting], repeats: int, until: float = math.inf) -> None:
        """Measure all that waits, with at most ``repeats`` attempts more at what was disturbed; no cohort is begun after ``until``."""
        lost = 0
        session = now()
        cohorts = cohorts_of(waiting) if self.executor.takes_turns else [[one] for one in waiting]
        progress = Progress("repetition", list(map(len, cohorts)), self.write)
        broken, apart = set(), set()
        for cohort in cohorts:
            if time.monotonic() >= until:
                break
            progress.begin(told(cohort))
            left, disturbed = [one for one in cohort if one.trial.id not in broken], []
            while left and (repeats > 0 or not any(one.attempt for one in left)):
                repeats -= sum(one.attempt > 0 for one in left)
                found = self._measured(left, session, apart)
                for measurement in found:
                    self.results.record(measurement)
                    broken |= {measurement.trial_id} if measurement.status == "failed" else set()
                disturbed = [one for one, measurement in zip(left, found, strict=True) if measurement.status == "invalid"]
                left = [replace(one, attempt=one.attempt + 1) for one in disturbed if one.attempt + 1 < _ATTEMPTS]
            lost += len(disturbed)
            progress.end()
        if lost:
            why = "the budget of repeats is used up" if repeats <= 0 else "they were disturbed every time"
            self.write(f"repetitions that stay invalid: {lost}; {why}.")

    def waiting(self, trials: list[Trial], campaign: int | None = None, rounds: range | None = None) -> Iterator[Waiting]:
        """All that is still to be measured, in interleaved rounds (the first ones, or ``rounds``), each with its next attempt.

        Without ``campaign``, the newest one that any of the trials has is completed for all of them. Disturbed repetitions wait
        only as far as the run's budget of repeats goes.
        """
        attempts = {trial.id: self.results.attempts(trial.id) for trial in trials}
        target = campaign or max((a.campaign for found in attempts.values() for a in found), default=1)
        repeats = self._repeats_left(trials, target)
        for repetition, trial in rounds_of(trials, rounds or range(self.settings.repetitions), self.seed):
            found = [attempt for attempt in attempts[trial.id] if attempt.campaign == target]
            here = [attempt for attempt in found if attempt.repetition == repetition]
            finished = any(attempt.status == "ok" for attempt in here) or len(here) >= _ATTEMPTS
            broken = any(attempt.status == "failed" and not is_tried_again(reason_of(attempt), attempt.ended_at) for attempt in found)
            if not finished and not broken and (not here or repeats > 0):
                repeats -= bool(here)
                yield Waiting(trial, target, repetition, len(here))

    def _repeats_left(self, trials: list[Trial], campaign: int) -> int:
        """How many attempts more at disturbed repetitions the budget of this run allows."""
        allowed = math.ceil(self.limits.repeated_share * len(trials) * self.settings.repetitions)
        made = [attempt for trial in trials for attempt in self.results.attempts(trial.id)]
        return allowed - sum(attempt.campaign == campaign and attempt.attempt > 0 for attempt in made)

    def _measured(self, cohort: list[Waiting], session: str, apart: set[tuple[str, int]]) -> list[Measurement]:
        """One repetition of each; several take turns. Where one of those was disturbed, none of them counts: they saw the same.

        ``apart``: model and batch size of what memory does not hold at once.
        """
        started_at, (first, *_) = now(), cohort
        panel = first.trial.model, first.trial.batch_size
        if len(cohort) == 1 or panel in apart:
            return [self._measured_alone(one, session) for one in cohort]
        jobs = [replace(self._job(one), memory_limit_bytes=self.memory_bytes) for one in cohort]
        seed = f"{self.seed}-{first.campaign}-{first.repetition}"
        found = cohort_results(self.executor, jobs, self.settings.timeout_s, seed)
        if found is None:
            apart.add(panel)
            self.write(f"memory does not hold {told(cohort)} at once: they are measured one after the other")
            return [self._measured_alone(one, session) for one in cohort]
        # What fails under a limit of memory is tried without it, to tell why.
        again = {place for place, one in enumerate(found) if isinstance(one, TrialError) and self.memory_bytes is not None}
        measurements = [
            self._measured_alone(one, session) if place in again else self._judged(one, session, started_at, result, f"{started_at} {seed}")
            for place, (one, result) in enumerate(zip(cohort, found, strict=True))
        ]
        if any(one.status == "invalid" and one.cohort for one in measurements):
            beside = {"status": "invalid", "reason": "something else that took turns with it was disturbed", "kind": Kind.DISTURBED}
            return [replace(one, **beside) if one.status == "ok" and one.cohort else one for one in measurements]
        return measurements

    def _measured_alone(self, one: Waiting, session: str) -> Measurement:
        started_at = now()
        try:
            found = run_within(self.memory_bytes, self.executor, self._job(one), self.settings.timeout_s)
        except TrialError as error:
            found = error
        return self._judged(one, session, started_at, found)

    def _job(self, one: Waiting) -> MeasureJob:
        return MeasureJob(**self.opened(one.trial), **self._asked(one.trial, one.repetition, self._rate(one.trial, one.campaign)))

    def _judged(self, one: Waiting, session: str, started_at: str, found: dict | TrialError, cohort: str = "") -> Measurement:
        """The record of a repetition, whose result is ``found`` or why there is none."""
        identity = {"trial_id": one.trial.id, "campaign": one.campaign, "repetition": one.repetition, "attempt": one.attempt}
        identity |= {"host_id": self.host_id, "session": session, "cohort": cohort}
        if isinstance(found, TrialError):
            ended = {"started_at": started_at, "ended_at": now()}
            return Measurement(**identity, **ended, status="failed", reason=str(found), kind=found.kind)
        if broken := self._why_broken(found):
            return Measurement(**identity, **found, status="failed", **failed(broken))
        reason = why_invalid(found["disturbances"], self.limits) or why_doubted(found.get("scenario_facts", {}))
        status, kind = ("invalid", Kind.DISTURBED) if reason else ("ok", "")
        return Measurement(**identity, **found, status=status, reason=reason, kind=kind)

    def _why_broken(self, found: dict) -> Reason | None:
        """Why what a process measured is no measurement of this trial."""
        if words := why_failed(found.get("scenario_facts", {})):
            return Reason(Kind.ERROR, words)
        too_large = memory_limit.why_too_large(found, self.memory_bytes)
        return Reason(Kind.OUT_OF_MEMORY, too_large) if too_large else None

    def _asked(self, trial: Trial, repetition: int, target_qps: float | None) -> dict:
        """The part of a job that says how queries come. All trials of a round see the same arrivals."""
        settings = self.settings
        values = _OFFLINE_VALUES if trial.scenario == "offline" else settings.min_values
        length = RunLength(values, settings.min_duration_s, settings.max_duration_s)
        more = {"seed": self.seed + 100 * repetition, "target_qps": target_qps, "latency_bound_ns": self.latency_bound_ns}
        load = Load(trial.scenario, trial.batch_size, length, **more, **self._stream(trial))
        return {"load": load, "driver": trial.driver, "warmup_s": settings.warmup_s}

    def _stream(self, trial: Trial) -> dict:
        """What a stream needs: the outputs that go back in as inputs, and how long a chunk lasts."""
        return self.origins[trial.model].stream or {}

    def _rate(self, trial: Trial, campaign: int) -> float | None:
        """The server scenario's queries per second: the user's, or what a search found, once in a campaign. Raises `TrialError`."""
        if trial.scenario != "server" or self.target_qps:
            return self.target_qps
        found = self.results.rate(trial.id, campaign)
        if found is None:
            limit_s = _SEARCH_SHARE * self.settings.timeout_s
            job = FindRateJob(**self.opened(trial), **self._asked(trial, 0, None), limit_s=limit_s)
            found = self.executor.run(job, self.settings.timeout_s)
            self.results.record_rate(trial.id, campaign, found)
        return found["qps"]
