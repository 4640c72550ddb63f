"""Plan a study, run its steps, keep its results. Every step may be called again: what is done is not repeated."""

import contextlib
import json
import os
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

from studylib import hardware, params, peaks, sweeps
from studylib.artifact import Artifact, Store, output_error, remove_leftovers, write_bytes
from studylib.errors import ArtifactError, InputError
from studylib.executors import LocalExecutor
from studylib.fitness import Advice, fitness
from studylib.halving import Search
from studylib.limits import Limits
from studylib.measure import Bench, make_artifacts
from studylib.own import facts_of
from studylib.plan import Plan
from studylib.provenance import git_state, package_versions
from studylib.recipes import split_recipe
from studylib.recipes.retrained import KILLED
from studylib.records import Trial
from studylib.results import Results
from studylib.worker import now


@dataclass(frozen=True)
class Study:
    """One hardware set, one effort, on this host. Make one with `studylib.open_study`."""

    plan: Plan
    folder: Path
    write: Callable[[str], None] = print

    # --- what is to be done ------------------------------------------------------------------------------------------

    @cached_property
    def results(self) -> Results:
        return Results(self.folder)

    @cached_property
    def store(self) -> Store:
        """Artifacts are shared by all hardware sets of one outputs folder."""
        return Store(params.outputs_root() / ".artifacts")

    @property
    def params(self) -> params.StudyParams:
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
        failures = self._known_failures()
        return [trial for trial in self.trials if not trial.reason and trial.artifact_key not in failures]

    @property
    def converted(self) -> list[Trial]:
        """What opens every cell of the matrix of formats that could be made."""
        failures = self._known_failures()
        return [cell.trial for cell in self.plan.conversions if cell.trial and not any(key in failures for key in cell.keys)]

    @property
    def same(self) -> list[Trial]:
        """Trials whose artifact passed the parity gate."""
        return [trial for trial in self.made if (self.results.evaluation(trial.evaluation_id) or {}).get("status") == "ok"]

    @property
    def timed(self) -> list[Trial]:
        """Trials that passed the parity gate, and that neither a sweep was cut short before nor a search gave up."""
        left_out = self._left_out
        return [trial for trial in self.same if trial.id not in left_out]

    @property
    def _left_out(self) -> dict[str, str]:
        """Trials that are not worth measuring, with the reason."""
        return self.bench.cuts(self.same) | (self._search.left_out(self.same) if self.params.choice.search else {})

    @cached_property
    def _search(self) -> Search:
        return Search(self.bench, self.params.choice.max_accuracy_loss)

    # --- steps -------------------------------------------------------------------------------------------------------

    def convert(self, matrix: bool = True) -> None:
        """Make every float artifact of the plan and, with ``matrix``, of the matrix of formats; samples, reference outputs."""
        floats = [target for target in self.plan.targets if target.get("recipe", "fp32") == "fp32"]
        self._make([target for target in floats if matrix or not target["matrix"]])

    def make(self, model: str, format: str) -> Artifact:
        """The float artifact of one model in one format, and nothing that it does not need. Raises `ArtifactError`."""
        ours = [target for target in self.plan.targets if target["model"] == facts_of(self.plan.models[model])]
        wanted = next(t for t in ours if t["kind"] == "recipe" and t["recipe"] == "fp32" and t["steps"][-1][2] == format)
        self._make([target for target in ours if target["kind"] == "source" or target is wanted])
        return self.artifact(wanted["key"])

    def compress(self, matrix: bool = True) -> None:
        """Make every artifact of the plan; without ``matrix`` not those that only the matrix of formats needs."""
        self._make([target for target in self.plan.targets if matrix or not target["matrix"]])

    def evaluate(self, recipes: tuple[str, ...] | None = None, matrix: bool = True) -> None:
        """Measure quality and parity of the artifacts (of ``recipes`` only, if given), with ``matrix`` of every conversion."""
        self.compress(matrix) if recipes is None else self.convert(matrix)
        converted = self.converted if matrix and (recipes is None or "fp32" in recipes) else []
        self.bench.evaluate([t for t in self.made if recipes is None or t.recipe in recipes] + converted)
        self.save()

    def measure(self, force: bool = False, smallest: bool = False, matrix: bool = True) -> None:
        """Time every trial that passed the parity gate, or those of the ``smallest`` batch size alone.

        ``force`` begins a new campaign and tries again what failed. ``matrix``: as in `evaluate`.
        """
        if force:
            self._save_plan(failures={})
            self.results.forget_failed_evaluations()
        self.evaluate(matrix=matrix)
        campaign = self.results.newest_campaign() + 1 if force else None
        least = min(self.params.choice.batch_sizes)
        self.bench.look([t for t in self.same if not smallest])
        if self.params.choice.search:
            self._search.narrow([t for t in self.same if not smallest or t.batch_size == least])
        chosen = [t for t in self.timed if not smallest or (t.batch_size == least and not t.sweep)]
        self._measure_peaks(chosen, campaign)
        if any(self.bench.waiting(chosen, campaign)):
            _ = self.fitness  # asked now, as it is when values are about to be taken
        repetitions = self.bench.measure(chosen, campaign)
        if not repetitions:
            self.write(self.nothing_to_measure())
        self.save()

    def save(self) -> None:
        """Write plan, run facts and the results table."""
        self._save_plan()
        self.results.save_table()
        self._save_assignments()

    def is_complete(self) -> bool:
        """Whether every artifact is there and intact and every trial is measured. Says what is corrupted."""
        try:
            planned = [trial.id for trial in self.results.plan()] == [trial.id for trial in self.trials]
        except InputError:
            return False
        known = self._final_failures()
        present = [target["key"] in known or self._is_present(target["key"]) for target in self.plan.targets]
        evaluated = all(self.results.evaluation(trial.evaluation_id) for trial in [*self.made, *self.converted])
        return planned and all(present) and evaluated and not any(self.bench.waiting(self.timed)) and self._is_looked_at

    @property
    def _is_looked_at(self) -> bool:
        """Whether every look was taken that a sweep or a search wants."""
        if self.params.choice.search and not self._search.is_over(self.same):
            return False
        cuts = self.bench.cuts(self.same)
        swept = [trial for group in sweeps.groups(self.same) for trial in group]
        return all(trial.id in cuts or self.results.look(trial.id) for trial in swept)

    def nothing_to_measure(self) -> str:
        """What to say of a study that had nothing left to measure: when its numbers were taken."""
        times = [m.ended_at for trial in self.trials for m in self.results.measurements(trial.id)]
        if not times:
            return "Nothing to measure: no trial of this plan can run here; each says why."
        newest = max(times)[:19].replace("T", " ")
        return f"Nothing to measure: every number was taken by {newest} UTC. FORCE=1 measures again."

    def check_writable(self) -> None:
        """Raise `OutputError` before any work when results cannot be written."""
        probe = self.folder / f".probe-{os.getpid()}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"\0" * 65536)
        except OSError as error:
            raise output_error(self.folder, error) from None
        finally:
            with contextlib.suppress(OSError):
                probe.unlink()

    # --- inside ------------------------------------------------------------------------------------------------------

    @cached_property
    def executor(self) -> LocalExecutor:
        return LocalExecutor(self.threads)

    @property
    def limits(self) -> Limits:
        """What a repetition may suffer and still count."""
        return Limits(steal_share=self.params.choice.max_steal)

    @cached_property
    def fitness(self) -> list[Advice]:
        """What speaks against measuring on this machine, as it is when this is first asked."""
        return fitness(self.host, self.threads)

    @cached_property
    def bench(self) -> Bench:
        choice = self.params.choice
        return Bench(
            results=self.results,
            execute=self.executor.run,
            locate=lambda key: self.artifact(key).path,
            origins=self.plan.origins,
            settings=self.params.settings,
            seed=choice.seed,
            host_id=self.host.id,
            limits=self.limits,
            memory_bytes=self.params.hardware.memory_bytes,
            target_qps=choice.target_qps,
            latency_bound_ns=round(1e6 * choice.latency_bound_ms),
            write=self.write,
        )

    def _measure_peaks(self, trials: list[Trial], campaign: int | None) -> None:
        """Before anything is timed, what this host can do at most with the study's threads; kept, and measured again with FORCE=1."""
        if any(self.bench.waiting(trials, campaign)):
            where, limit = params.outputs_root() / ".peaks", self.params.settings.timeout_s
            found = peaks.of_host(self.host.id, self.threads, where, self.executor.run, limit, self.write, again=campaign is not None)
            self.results.save_peaks({self.threads: found})

    @cached_property
    def _artifacts(self) -> dict[str, Artifact]:
        return {}

    def artifact(self, key: str) -> Artifact:
        """An artifact of this study by its key, its hash checked once in this process."""
        if key not in self._artifacts:
            found = self.store.get(key)
            if found is None:
                raise ArtifactError(f"artifact {key[:12]} is not in {self.store.folder}; run the conversion step first")
            self._artifacts[key] = found
        return self._artifacts[key]

    def _make(self, targets: list[dict]) -> None:
        remove_leftovers(self.store.folder)
        failures = make_artifacts(
            targets,
            self._final_failures(),
            self.store.folder,
            self.executor.run,
            self._is_present,
            self.params.settings.timeout_s,
            self.write,
        )
        for origin in self.plan.origins.values():
            # Without samples or reference outputs the source itself cannot be judged: its own rows say why.
            reason = next((failures[origin[name]] for name in ("source", "samples", "reference") if origin[name] in failures), None)
            if reason:
                failures[origin["source"]] = reason
            for base, version in origin["versions"].items():
                if version["reference"] in failures:
                    ours = [t["key"] for t in self.plan.targets if t["kind"] == "recipe" and split_recipe(t["recipe"])[0] == base]
                    failures |= dict.fromkeys(ours, failures[version["reference"]])
        self._save_plan(failures)

    def _is_present(self, key: str) -> bool:
        found = self.store.get(key)
        if found is not None:
            self._artifacts[key] = found
        return found is not None

    def _final_failures(self) -> dict[str, str]:
        """Known failures that another try would not mend: a training that was killed goes on from its last epoch."""
        return {key: reason for key, reason in self._known_failures().items() if not reason.startswith(KILLED)}

    def _known_failures(self) -> dict[str, str]:
        try:
            return self.results.failures()
        except InputError:
            return {}

    def _save_plan(self, failures: dict[str, str] | None = None) -> None:
        planned = {target["key"] for target in self.plan.targets}
        known = self._known_failures() if failures is None else failures
        failures = {key: reason for key, reason in known.items() if key in planned}
        keys = planned - failures.keys()
        packed = self._described("packed", failures)
        made = [self.artifact(key).to_json() | packed.get(key, {}) for key in keys if self.is_made(key)]
        made = sorted(made, key=lambda facts: facts["key"])
        described = {kind: self._described(kind, failures) for kind in ("inside", "search")}
        left_out = self._left_out
        trials = [replace(trial, reason=left_out.get(trial.id, trial.reason)) for trial in self.trials]
        self.results.save_plan(trials, self._run_facts(failures), made, self.plan.conversions, described)

    def _save_assignments(self) -> None:
        """Put what searches found where people find it: ``adaptive/<model>-<format>.json``, to be applied with ``ASSIGNMENT``."""
        if self.params.choice.assignment:
            return  # nothing was searched
        for target in self.plan.targets:
            if target["kind"] == "search" and target["key"] in self._artifacts:
                artifact = self.artifact(target["key"])
                content = (artifact.path / "assignment.json").read_bytes()
                write_bytes(self.folder / "adaptive" / f"{artifact.model}-{target['format']}.json", content)

    def _described(self, kind: str, failures: dict[str, str]) -> dict[str, dict]:
        """What is known of every artifact that was described in this way (inside, packed, search), by the artifact's key."""
        found = {}
        for target in self.plan.targets:
            if target["kind"] == kind and target["key"] not in failures and self.is_made(target["key"]):
                path = self.artifact(target["key"]).path
                content = path / f"{kind}.json" if path.is_dir() else path
                found[target["about"]] = json.loads(content.read_text(encoding="utf-8"))
        return found

    def is_made(self, key: str) -> bool:
        """Whether the artifact is in the store, intact; looked up once in this process."""
        return key in self._artifacts or self._is_present(key)

    def _fitness_facts(self) -> list[dict]:
        """What was said of the machine before values were taken: by this process, or by the one that took them."""
        if "fitness" in self.__dict__:
            return [asdict(advice) for advice in self.fitness]
        try:
            return self.results.run().get("fitness", [])
        except InputError:
            return []

    def _run_facts(self, failures: dict[str, str]) -> dict:
        return {
            "study": f"{self.params.hardware.name}-{self.params.effort}",
            "hardware": self.params.hardware.name,
            "title": self.params.hardware.title,
            "effort": self.params.effort,
            "command": self.params.command(),
            "native": self.native,
            "mismatches": self.mismatches,
            "threads": self.threads,
            "host": asdict(self.host) | {"description": self.host.describe()},
            "host_id": self.host.id,
            "fitness": self._fitness_facts(),
            "limits": asdict(self.limits),
            "parameters": self.params.model_dump(mode="json") | {"settings": asdict(self.params.settings)},
            "failures": failures,
            "git": git_state(),
            "python": platform.python_version(),
            "packages": package_versions(),
            "updated_at": now(),
        }
