"""Runs LiteRT's jobs on a phone, each in a fresh process of LiteRT's own tool, and all other jobs on this machine."""

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from uuid import uuid4

from studylib.artifacts.store import content_hash
from studylib.build.executor import Executor, OnLine, unheard
from studylib.build.jobs import CheckJob, EvaluateJob, Job, JudgeBatchJob, JudgeJob, LocateJob, MeasureJob, PackJob, SessionJob
from studylib.errors import CancelledError, InputError, Kind, TrialError
from studylib.executors.local import LocalExecutor, job_folder
from studylib.executors.phone import benchmark_model
from studylib.executors.phone.adb import FOLDER
from studylib.executors.phone.benchmark_model import Query
from studylib.executors.phone.phone import RUNTIME, Phone, disturbances
from studylib.machine.clock import now
from studylib.scenarios import Facts

# Samples whose answers are held against the source model: each costs a process on the phone.
_JUDGED = 20
# How long a phone may take to come back, as after a restart.
_RETURN_S = 90.0
# Answers of each process apart: two computers may reach one phone.
_FILES, _ANSWERS = f"{FOLDER}/files", f"{FOLDER}/answers-{uuid4().hex[:12]}"


class PhoneExecutor(Executor):
    """Has ``measure``, ``evaluate`` and ``check`` of LiteRT files done by ``phone``, everything else by ``local``.

    A repetition is one process of the tool, and its one value is the mean of the tool's queries: it tells no single times.
    What the tool reads is made here in a process of its own, and pushed once, named by its hash.
    """

    def __init__(self, phone: Phone, local: LocalExecutor):
        super().__init__()
        self.phone, self.local = phone, local
        self._present: set[str] | None = None
        self._packed: dict[tuple, list[Query]] = {}
        self._on_line: OnLine = unheard

    def shut_down(self) -> None:
        super().shut_down()
        self.local.shut_down()

    def _answer(self, job: Job, timeout_s: float, on_line: OnLine) -> dict:
        """As `Executor.run`; raises `InputError` too, when the phone stays away."""
        on_phone = {MeasureJob: self._measure, EvaluateJob: self._evaluate, CheckJob: self._check}.get(type(job))
        if on_phone is None or job.runtime != RUNTIME:
            found = self.local.run(job, timeout_s, on_line)
            # The search for the layer that differs cannot look into the phone.
            looked = isinstance(job, LocateJob) and job.runtime == RUNTIME
            return found | {"text": f"on this computer: {found['text']}"} if looked else found
        deadline = time.monotonic() + timeout_s
        self.phone.adb.resume()
        self._on_line = on_line

        def left_s() -> float:
            if self._is_cancelled:
                raise CancelledError
            return max(0.0, deadline - time.monotonic())

        try:
            return on_phone(job, left_s)
        except TrialError:
            # A phone that a trial made restart comes back, and that trial has failed; one that was unplugged has measured nothing wrong.
            why = "" if self._is_cancelled else self.phone.adb.why_gone(_RETURN_S)
            if not why:
                raise
            raise InputError(
                f"the phone that is measured is not reached any more: {why}. What was measured is kept; then run the same command again."
            ) from None

    def _end(self) -> None:
        self.local.cancel()
        self.phone.adb.interrupt()

    def _measure(self, job: MeasureJob, left_s: Callable[[], float]) -> dict:
        """One repetition, with all that the tool tells of it; what it cannot know is absent."""
        (query,) = self._queries(job, 1, job.load.batch_size, left_s)
        started_at, before = now(), self.phone.thermal(left_s())
        lines = self._ran(job, query, benchmark_model.timing(job), left_s)
        ended_at, after = now(), self.phone.thermal(left_s())
        placement, elsewhere = benchmark_model.placed(job.provider, lines)
        if elsewhere:
            raise TrialError(elsewhere)
        told = benchmark_model.parsed(lines)
        facts = Facts(
            driver="benchmark_model",
            samples_per_query=job.load.batch_size,
            driver_reason="LoadGen does not reach into a phone" if job.driver == "loadgen" else "",
            values_are=f"means of {told.count} queries",
            summary=told.summary,
        )
        return {
            "started_at": started_at,
            "ended_at": ended_at,
            "values_ns": [told.mean_ns],
            "warmup_ns": [told.warmup_ns],
            "cold_start_ns": {"load": told.load_ns, "first_inference": told.first_ns},
            "memory_bytes": {} if told.added_bytes is None else {"rss_added": told.added_bytes},
            "placement": placement,
            "disturbances": disturbances(before, after),
            "energy": {"absent": "no meter is read over adb"},
            "scenario_facts": asdict(facts),
        }

    def _evaluate(self, job: EvaluateJob, left_s: Callable[[], float]) -> dict:
        """Parity of the first samples, answered on the phone and judged here as every other artifact is."""
        queries = self._queries(job, _JUDGED, 1, left_s)
        self._asked(["sh", "-c", f"rm -rf {_ANSWERS} && mkdir -p {_ANSWERS}"], left_s)
        seen = []
        with job_folder() as folder:
            for number, query in enumerate(queries):
                answer = f"{_ANSWERS}/{number}"
                lines = self._ran(job, query, benchmark_model.answering(answer), left_s)
                seen.append(benchmark_model.placed(job.provider, lines))
                self.phone.adb.pull(answer, Path(folder) / str(number), left_s())
            self._asked(["rm", "-rf", _ANSWERS], left_s)
            placement, elsewhere = next((one for one in seen if one[1]), seen[0])
            versions = {"reference": job.reference, "version": job.version, "criteria": job.criteria}
            ran = {"n": len(queries), "placement": placement, "elsewhere": elsewhere}
            judge = JudgeJob(artifact=job.artifact, samples=job.samples, threads=job.threads, **versions, **ran)
            return self.local.run_beside(folder, judge, left_s())

    def _check(self, job: CheckJob, left_s: Callable[[], float]) -> dict:
        """One batch of each of the job's ``sizes`` and a few of its samples alone, answered on the phone and compared here."""
        found = [self._checked(job, size, left_s) for size in job.sizes]
        return {"batches": found}

    def _checked(self, job: CheckJob, size: int, left_s: Callable[[], float]) -> dict:
        (batch,) = self._queries(job, 1, size, left_s)
        singles = self._queries(job, _JUDGED, 1, left_s)
        places = tuple(sorted({min(place, len(singles) - 1) for place in (0, 1, size - 1)}))
        asked = {"batch": batch} | {str(place): singles[place] for place in places}
        self._asked(["sh", "-c", f"rm -rf {_ANSWERS} && mkdir -p {_ANSWERS}"], left_s)
        with job_folder() as folder:
            for name, query in asked.items():
                self._ran(job, query, benchmark_model.answering(f"{_ANSWERS}/{name}"), left_s)
                self.phone.adb.pull(f"{_ANSWERS}/{name}", Path(folder) / name, left_s())
            self._asked(["rm", "-rf", _ANSWERS], left_s)
            facts = {"precision": job.precision, "size": size, "places": places, "threads": job.threads}
            return self.local.run_beside(folder, JudgeBatchJob(artifact=job.artifact, samples=job.samples, **facts), left_s())

    def _ran(self, job: SessionJob, query: Query, flags: list[str], left_s: Callable[[], float]) -> list[str]:
        """What one process of the tool says."""
        if self.phone.why_no_tool:
            raise TrialError(self.phone.why_no_tool)
        artifact = self._place(self.local.store.checked(job.artifact).path, left_s)
        tool = self._place(self.phone.tool, left_s, runs=True) if self.phone.tool else self.phone.tool_path
        words = benchmark_model.command(tool, artifact, query, job, flags)
        return list(benchmark_model.checked(*self.phone.adb.shell(words, left_s(), self._on_line)))

    def _queries(self, job: SessionJob, n: int, size: int, left_s: Callable[[], float]) -> list[Query]:
        """The first ``n`` queries of ``size`` of the job's samples on the phone, as the tool reads them."""
        key = job.artifact, job.samples, n, size
        if key not in self._packed:
            pack = PackJob(artifact=job.artifact, samples=job.samples, n=n, batch_size=size, threads=1)
            with job_folder() as folder:
                found = self.local.run_beside(folder, pack, left_s())
                self._packed[key] = [
                    Query(found["shapes"], [self._place(Path(folder) / name, left_s) for name in names]) for names in found["queries"]
                ]
        return self._packed[key]

    def _place(self, path: Path, left_s: Callable[[], float], runs: bool = False) -> str:
        """Where a file lies on the phone, under its hash; pushed when it is not there, and read back."""
        digest = content_hash(path)
        remote = f"{_FILES}/{digest}"
        if digest not in self._known(left_s):
            self.phone.adb.push(path, remote, left_s())
            told = self._asked(["sha256sum", remote], left_s)
            if not told or told[-1].split(" ")[0] != digest:
                raise TrialError(
                    f"{path.name} did not arrive on the phone as it was sent; is there space left under {FOLDER}?", Kind.DEVICE
                )
            if runs:
                self._asked(["chmod", "755", remote], left_s)
            self._known(left_s).add(digest)
        return remote

    def _known(self, left_s: Callable[[], float]) -> set[str]:
        """The hashes of the files on the phone that are what their name says."""
        if self._present is None:
            # Runnable all of them: a session that was cut off may not have said so of its tool.
            look = f"mkdir -p {_FILES} && cd {_FILES} && (chmod 755 * 2>/dev/null; sha256sum * 2>/dev/null); true"
            lines = self._asked(["sh", "-c", look], left_s)
            pairs = [line.split() for line in lines]
            self._present = {pair[0] for pair in pairs if len(pair) == 2 and pair[0] == pair[1]}
        return self._present

    def _asked(self, words: list[str], left_s: Callable[[], float]) -> list[str]:
        status, lines = self.phone.adb.shell(words, left_s())
        if status:
            raise TrialError(f"the phone refused {words[0]}: {lines[-1].strip() if lines else status}", Kind.DEVICE)
        return lines
