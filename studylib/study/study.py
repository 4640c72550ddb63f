"""Plan a study, run its steps, keep its results. Every step may be called again: what is done is not repeated."""

import html
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from studylib.artifacts.store import Artifact, Store
from studylib.errors import InputError
from studylib.executors import Executor, LocalExecutor, PhoneExecutor
from studylib.machine import hardware
from studylib.machine.disturbance_limits import Limits
from studylib.measure.rounds import Bench
from studylib.models.own import named
from studylib.models.zoo import Samples
from studylib.params.paths import outputs_root
from studylib.params.sets import StudyParams
from studylib.results.records import PLAIN, SERVING, Trial
from studylib.results.results import Results
from studylib.study import before_timing, standstill
from studylib.study.further_rounds import FurtherRounds
from studylib.study.halving import Halving
from studylib.study.narrowing import Narrowing
from studylib.study.one_thread import OneThread
from studylib.study.plan import Plan
from studylib.study.run_facts import nothing_to_measure, run_facts
from studylib.study.stock import Stock


@dataclass(frozen=True, repr=False)
class Study:
    """One hardware set, one effort, on this host. Make one with `studylib.open_study`.

    ``given_executor`` runs its jobs in place of the usual one: a fresh process each, or the phone that the plan is for.
    """

    plan: Plan
    folder: Path
    write: Callable[[str], None] = print
    given_executor: Executor | None = None

    def __repr__(self) -> str:
        """What it is in one line, without looking at any result."""
        skipped = sum(bool(trial.reason) for trial in self.trials)
        kind = "native" if self.native else f"rehearsal of {self.params.hardware.title}"
        count = f"{len(self.trials)} trials of {', '.join(self.plan.models)}, {skipped} skipped"
        return f"<Study {self.params.hardware.name}, effort {self.params.effort}: {count}; {kind}; in {self.folder}>"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self)[1:-1])}</p>"

    # --- what is to be done ------------------------------------------------------------------------------------------

    @cached_property
    def results(self) -> Results:
        return Results(self.folder)

    @cached_property
    def stock(self) -> Stock:
        """The artifacts of this study."""
        return Stock(self.plan, self.results, self.store, self.executor, self.write)

    @cached_property
    def store(self) -> Store:
        """Artifacts are shared by all hardware sets of one outputs folder."""
        return Store(outputs_root() / ".artifacts")

    @property
    def params(self) -> StudyParams:
        return self.plan.params

    @property
    def host(self) -> hardware.Host:
        return self.plan.host

    @property
    def mismatches(self) -> list[str]:
        """Why this is a rehearsal; empty when the host is the declared hardware."""
        return self.plan.mismatches

    @property
    def native(self) -> bool:
        return not self.mismatches

    @property
    def threads(self) -> int:
        return self.plan.threads

    @property
    def trials(self) -> list[Trial]:
        """The plan: every combination of model, runtime, recipe and batch size, skipped ones with their reason."""
        return self.plan.trials

    @property
    def made(self) -> list[Trial]:
        """Trials that are not skipped and whose artifact could be made."""
        failures = self.stock.failures()
        return [trial for trial in self.trials if not trial.reason and trial.artifact_key not in failures]

    @property
    def converted(self) -> list[Trial]:
        """What opens every cell of the matrix of formats that could be made."""
        failures = self.stock.failures()
        return [cell.trial for cell in self.plan.conversions if cell.trial and not any(key in failures for key in cell.keys)]

    @property
    def same(self) -> list[Trial]:
        """Trials whose artifact passed the parity gate."""
        return [trial for trial in self.made if self.results.is_same(trial)]

    @property
    def timed(self) -> list[Trial]:
        """Trials that passed the parity gate, also in batches, and that neither a sweep was cut short before nor a search gave up."""
        left_out = self.narrowing.left_out(self.same)
        return [trial for trial in self.same if trial.id not in left_out and not self.results.why_unlike(trial)]

    # --- steps -------------------------------------------------------------------------------------------------------

    def convert(self, matrix: bool = True) -> None:
        """Make every float artifact of the plan and, with ``matrix``, of the matrix of formats; samples, reference outputs."""
        floats = [target for target in self.plan.targets if target.recipe == PLAIN]
        self.save_plan(self.stock.make([target for target in floats if matrix or not target.matrix]))

    def make(self, model: str, format: str) -> Artifact:
        """The float artifact of one model in one format, and nothing that it does not need. Raises `ArtifactError`."""
        name = named(self.plan.models[model])
        ours = [target for target in self.plan.targets if target.model == name]
        wanted = next(t for t in ours if t.kind == "recipe" and t.recipe == PLAIN and t.steps[-1][2] == format)
        self.save_plan(self.stock.make([target for target in ours if target.kind == "source" or target is wanted]))
        return self.artifact(wanted.key)

    def compress(self, matrix: bool = True) -> None:
        """Make every artifact of the plan; without ``matrix`` not those that only the matrix of formats needs."""
        self.save_plan(self.stock.make([target for target in self.plan.targets if matrix or not target.matrix]))

    def evaluate(self, recipes: tuple[str, ...] | None = None, matrix: bool = True, served: bool = False) -> None:
        """Measure quality and parity of the artifacts (of ``recipes`` only, if given), with ``matrix`` of every conversion.

        ``served``: also as servers answer.
        """
        self.compress(matrix) if recipes is None else self.convert(matrix)
        converted = self.converted if matrix and (recipes is None or "fp32" in recipes) else []
        made = [trial for trial in self.made if served or trial.sweep != SERVING]
        self.bench.evaluate([trial for trial in made if recipes is None or trial.recipe in recipes] + converted)
        self.save()

    def measure(self, force: bool = False, smallest: bool = False, matrix: bool = True, served: bool = False) -> None:
        """Time every trial that passed the parity gate; with ``smallest`` those alone that are compared at the smallest batch.

        ``force`` begins a new campaign and tries again what failed. ``matrix``, ``served``: as in `evaluate`.
        """
        if force:
            self.save_plan(causes={})
            self.results.forget_failures()
        self.evaluate(matrix=matrix, served=served)
        campaign = self.results.newest_campaign() + 1 if force else None
        wanted = [trial for trial in self.same if served or trial.sweep != SERVING]
        chosen = {trial.id for trial in wanted if not smallest or self.is_smallest(trial)}
        self.narrowing.look([trial for trial in self.same if trial.id in chosen])
        timed = [trial for trial in self.timed if trial.id in chosen]
        if any(self.bench.waiting(timed, campaign)):
            before_timing.look(self, again=force)
        measured = self.bench.measure(timed, campaign)
        if served:
            standstill.look(self, again=force)
        if not self.decide() and not measured:
            self.write(nothing_to_measure(self.results))
        self.save()

    def is_smallest(self, trial: Trial) -> bool:
        """Whether a trial belongs to the comparison at the smallest batch, points of sweeps too: all of them take turns."""
        return trial.usual and trial.batch_size == min(self.params.choice.batch_sizes)

    def is_plain(self, trial: Trial) -> bool:
        """Whether it is one of those with everything as usual: no point of a sweep."""
        return self.is_smallest(trial) and not trial.sweep

    def save(self) -> None:
        """Write plan, run facts and the results table."""
        self.save_plan()
        self.results.save_table()
        if not self.params.choice.assignment:
            self.stock.save_assignments(self.folder / "adaptive")

    def save_plan(self, causes: dict[str, dict] | None = None) -> None:
        """Write what is planned, what is made, and how this run is; ``causes`` of failures instead of those known before."""
        planned, known = {target.key for target in self.plan.targets}, self.stock.causes() if causes is None else causes
        # A plan of chosen trials needs only part of what was made before them: what failed then is still known to fail.
        causes = {key: cause for key, cause in known.items() if key in planned or self.plan.chosen is not None}
        failures = self.stock.told(causes)
        made, described = self.stock.described(failures)
        left_out = self.narrowing.left_out(self.same)
        left_out = {trial.id: left_out[trial.id] for trial in self.same if trial.id in left_out and not self.results.why_unlike(trial)}
        trials = [replace(trial, reason=left_out.get(trial.id, trial.reason)) for trial in self.trials] + self.one_thread.trials
        self.results.save_plan(trials, run_facts(self.plan, self.limits, failures, causes), made, self.plan.conversions, described)

    def is_complete(self) -> bool:
        """Whether every artifact is there and intact and every trial is measured. Says what is corrupted."""
        try:
            planned = [trial.id for trial in self.results.plan()] == [trial.id for trial in self.trials + self.one_thread.trials]
        except InputError:
            return False
        present = self.stock.is_complete()  # looks at every artifact, so that all that is corrupted is said
        evaluated = all(self.results.is_evaluated(trial) for trial in [*self.made, *self.converted])
        return (
            planned
            and present
            and evaluated
            and not any(self.bench.waiting(self.timed))
            and self.narrowing.is_over(self.same)
            and all(step.is_over() for step in self.later)
        )

    # --- inside ------------------------------------------------------------------------------------------------------

    @cached_property
    def executor(self) -> Executor:
        if self.given_executor is not None:
            return self.given_executor
        if self.plan.phone is None:
            return LocalExecutor(self.threads, self.store, self.plan.given)
        local = LocalExecutor(min(self.threads, hardware.granted_threads()), self.store, self.plan.given)
        return PhoneExecutor(self.plan.phone, local)

    @property
    def limits(self) -> Limits:
        """What a repetition may suffer and still count."""
        return Limits(steal_share=self.params.choice.max_steal)

    @cached_property
    def narrowing(self) -> Narrowing:
        """What is worth measuring in full."""
        choice = self.params.choice
        halving = Halving(self.bench, choice.max_accuracy_loss) if choice.search else None
        return Narrowing(self.bench, halving, choice.least_useful)

    @property
    def one_thread(self) -> OneThread:
        """What the fastest are measured with besides all threads."""
        return OneThread(self.plan, self.bench)

    @property
    def later(self) -> tuple[OneThread, FurtherRounds]:
        """What is measured after the planned rounds: the fastest with one thread, and what the planned rounds do not decide."""
        wished = self.params.choice.further_s
        return self.one_thread, FurtherRounds(self.bench, self.params.settings.further_s if wished is None else wished)

    def decide(self) -> bool:
        """Measure what each later step asks for, given all that was measured before it; whether there was anything."""
        taken = False
        for step in self.later:
            self.save_plan()
            if not step.is_over():
                step.take()
                taken = True
        return taken

    @cached_property
    def bench(self) -> Bench:
        choice = self.params.choice
        return Bench(
            results=self.results,
            executor=self.executor,
            origins=self.plan.origins,
            settings=self.params.settings,
            seed=choice.seed,
            host_id=self.host.id,
            limits=self.limits,
            # A phone has its own memory: nothing needs to be held to what is declared.
            memory_bytes=None if self.plan.phone else self.params.hardware.memory_bytes,
            target_qps=choice.target_qps,
            latency_bound_ns=round(1e6 * choice.latency_bound_ms),
            write=self.write,
        )

    def samples(self, model: str) -> Samples:
        """The test samples of a model, by the name that tables show."""
        return Samples.load(self.artifact(self.plan.origins[model].samples).path)

    def artifact(self, key: str) -> Artifact:
        """An artifact of this study by its key, its hash checked once in this process."""
        return self.stock.get(key)
