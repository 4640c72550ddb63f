"""Plan a study, run its steps, keep its results. Every step may be called again: what is done is not repeated."""

import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

from studylib import hardware, params
from studylib.artifact import Artifact, Store, output_error, remove_leftovers
from studylib.errors import ArtifactError, InputError
from studylib.executors import LocalExecutor
from studylib.measure import Bench, make_artifacts
from studylib.params import StudyParams
from studylib.recipes import RECIPES, chain
from studylib.results import Results, Trial
from studylib.runtimes import RUNTIMES, split_name
from studylib.scenarios import scenario_for
from studylib.worker import die_with_parent, now
from studylib.zoo import MODELS
from studylib.zoo.sources import Sources

# Sources whose change makes a measurement another one.
_HARNESS = ("worker.py", "measure.py", "scenarios.py", "quality.py", "executors/local.py", "runtimes", "zoo/base.py")
_PACKAGES = (
    "tensorflow", "keras", "ai-edge-litert", "onnxruntime", "onnx", "tf2onnx", "numpy", "scipy", "pandas", "papermill", "nbval",
    "jupyterlab", "seaborn", "tensorflow-model-optimization", "tf-keras",
)  # fmt: skip


@dataclass(frozen=True)
class Study:
    """One hardware set, one effort, on this host. Make one with `open_study`."""

    params: StudyParams
    host: hardware.Host
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
    def mismatches(self) -> list[str]:
        """Why this is a rehearsal; empty when the host is the declared hardware."""
        return hardware.mismatches(self.params.hardware, self.host)

    @property
    def native(self) -> bool:
        return not self.mismatches

    @property
    def threads(self) -> int:
        """What the hardware set declares, never more than this host grants."""
        return min(self.params.hardware.threads or self.host.threads, self.host.threads)

    @cached_property
    def trials(self) -> list[Trial]:
        """The plan: every combination of model, runtime, recipe and batch size, skipped ones with their reason."""
        choice, trials = self.params.choice, []
        for model in choice.models:
            for batch_size in choice.batch_sizes:
                of_model = [self._trial(model, runtime, recipe, batch_size) for runtime in choice.runtimes for recipe in choice.recipes]
                trials += of_model
                # The A/A control repeats a fast float trial: there a given noise is largest in proportion.
                floats = [trial for trial in of_model if trial.recipe == "fp32" and not trial.reason]
                if floats and batch_size == min(choice.batch_sizes):
                    trials.append(replace(floats[-1], control=True))
        return trials

    @property
    def made(self) -> list[Trial]:
        """Trials that are not skipped and whose artifact could be made."""
        failures = self._known_failures()
        return [trial for trial in self.trials if not trial.reason and trial.artifact_key not in failures]

    @property
    def same(self) -> list[Trial]:
        """Trials whose artifact passed the parity gate: those that are timed."""
        return [trial for trial in self.made if (self.results.evaluation(trial.evaluation_id) or {}).get("status") == "ok"]

    # --- steps -------------------------------------------------------------------------------------------------------

    def convert(self) -> None:
        """Make the float artifact of every model and format, the samples and the reference outputs."""
        self._make([target for target in self._targets if target.get("recipe", "fp32") == "fp32"])

    def compress(self) -> None:
        """Make every artifact of the plan."""
        self._make(self._targets)

    def evaluate(self, recipes: tuple[str, ...] | None = None) -> None:
        """Measure quality and parity of the artifacts (of ``recipes`` only, if given)."""
        self.compress() if recipes is None else self.convert()
        self.bench.evaluate([t for t in self.made if recipes is None or t.recipe in recipes])
        self.save()

    def measure(self, force: bool = False) -> None:
        """Time every trial that passed the parity gate. ``force`` begins a new campaign and tries again what failed."""
        if force:
            self._save_plan(failures={})
            self.results.forget_failed_evaluations()
        self.evaluate()
        campaign = self.results.newest_campaign() + 1 if force else None
        repetitions = self.bench.measure(self.same, campaign)
        if not repetitions:
            self.write(self.nothing_to_measure())
        self.save()

    def save(self) -> None:
        """Write plan, run facts and the results table."""
        self._save_plan()
        self.results.save_table()

    def is_complete(self) -> bool:
        """Whether every artifact is there and intact and every trial is measured. Says what is corrupted."""
        try:
            planned = [trial.id for trial in self.results.plan()] == [trial.id for trial in self.trials]
        except InputError:
            return False
        known = self._known_failures()
        present = [target["key"] in known or self._is_present(target["key"]) for target in self._targets]
        evaluated = all(self.results.evaluation(trial.evaluation_id) for trial in self.made)
        return planned and all(present) and evaluated and not any(self.bench.waiting(self.same))

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

    @cached_property
    def bench(self) -> Bench:
        choice = self.params.choice
        return Bench(
            results=self.results,
            execute=self.executor.run,
            locate=lambda key: self.artifact(key).path,
            samples={model: self._sources(model).samples_key("test", self._test_samples(model)) for model in choice.models},
            references={model: self._sources(model).reference_key(self._test_samples(model)) for model in choice.models},
            settings=self.params.settings,
            seed=choice.seed,
            host_id=self.host.id,
            max_steal=choice.max_steal,
            memory_bytes=self.params.hardware.memory_bytes,
            write=self.write,
        )

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

    @cached_property
    def _targets(self) -> list[dict]:
        """What to make, in the order of need: sources, samples, references, then the plan's artifacts."""
        choice, targets = self.params.choice, []
        calibration = self.params.settings.calibration_samples
        for model in choice.models:
            sources, n = self._sources(model), self._test_samples(model)
            common = {"model": model, "seed": choice.seed, "calibration": calibration, "needs": []}
            source, test, train = sources.model_key, sources.samples_key("test", n), sources.samples_key("train", calibration)
            reference = sources.reference_key(n)
            targets += [
                common | {"kind": "source", "key": source, "label": f"{model}, trained model"},
                common | {"kind": "samples", "split": "test", "n": n, "key": test, "label": f"{model}, test samples"},
                common | {"kind": "samples", "split": "train", "n": calibration, "key": train, "label": f"{model}, train samples"},
                common | {"kind": "reference", "n": n, "key": reference, "needs": [source, test], "label": f"{model}, reference outputs"},
            ]
            wanted = {trial.artifact_key: trial for trial in self.trials if trial.model == model and not trial.reason}
            for key, trial in sorted(wanted.items(), key=lambda item: item[1].recipe != "fp32"):
                needs = [source, test, train, reference, *self._chain_keys(model, chain(trial.recipe, trial.format))[:-1]]
                facts = {"kind": "recipe", "recipe": trial.recipe, "format": trial.format, "key": key, "needs": needs}
                targets.append(common | facts | {"label": f"{model} {trial.recipe} {trial.format}"})
        return targets

    def _make(self, targets: list[dict]) -> None:
        remove_leftovers(self.store.folder)
        failures = make_artifacts(
            targets,
            self._known_failures(),
            self.store.folder,
            self.executor.run,
            self._is_present,
            self.params.settings.timeout_s,
            self.write,
        )
        self._save_plan(failures)

    def _is_present(self, key: str) -> bool:
        found = self.store.get(key)
        if found is not None:
            self._artifacts[key] = found
        return found is not None

    def _known_failures(self) -> dict[str, str]:
        try:
            return self.results.failures()
        except InputError:
            return {}

    def _trial(self, model: str, runtime_name: str, recipe: str, batch_size: int) -> Trial:
        name, provider = split_name(runtime_name)
        runtime = RUNTIMES[name]
        recipes, reason = chain(recipe, runtime.format), runtime.why_not(provider, self.host)
        if not recipes:
            reason = f"recipe {recipe} does not exist for {runtime.format}, which {name} runs"
        artifact_key = "" if reason else self._chain_keys(model, recipes)[-1]
        version = "" if reason else runtime.version
        facts = (artifact_key, name, version, provider, self.threads, self._conditions)
        return Trial(
            model=model,
            weights=MODELS[model].weights,
            recipe=recipe,
            format=runtime.format,
            runtime=name,
            runtime_version=version,
            provider=provider,
            threads=self.threads,
            scenario=scenario_for(batch_size),
            batch_size=batch_size,
            artifact_key=artifact_key,
            evaluation_id="" if reason else "evaluation-" + _hash(facts)[:16],
            conditions=self._conditions,
            reason=reason,
        )

    def _chain_keys(self, model: str, recipes: list) -> list[str]:
        """The keys of what a chain of recipes makes, in turn."""
        sources, keys = self._sources(model), []
        calibration = sources.samples_key("train", self.params.settings.calibration_samples)
        for recipe in recipes:
            keys.append(recipe.key(keys[-1] if keys else sources.model_key, calibration))
        return keys

    def _sources(self, model: str) -> Sources:
        return Sources(MODELS[model], self.params.choice.seed)

    def _test_samples(self, model: str) -> int:
        return min(MODELS[model].test_samples, self.params.settings.eval_samples)

    @cached_property
    def _conditions(self) -> str:
        """Hash of what changes measurements or their meaning and is not named in a trial."""
        declared = self.params.hardware
        limits = (self.native, declared.memory_bytes, self.params.choice.max_steal)
        software = (platform.python_version(), importlib.metadata.version("numpy"), sources_hash(_HARNESS))
        return _hash((self.host.id, limits, asdict(self.params.settings), software))[:16]

    def _save_plan(self, failures: dict[str, str] | None = None) -> None:
        failures = self._known_failures() if failures is None else failures
        keys = {target["key"] for target in self._targets} - failures.keys()
        made = [self.artifact(key).to_json() for key in keys if key in self._artifacts or self._is_present(key)]
        self.results.save_plan(self.trials, self._run_facts(failures), sorted(made, key=lambda facts: facts["key"]))

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
            "parameters": self.params.model_dump(mode="json") | {"settings": asdict(self.params.settings)},
            "failures": failures,
            "git": git_state(),
            "python": platform.python_version(),
            "packages": package_versions(),
            "updated_at": now(),
        }


def open_study(hardware_set: str, effort: str = "quick", *, write: Callable[[str], None] = print, **choice) -> Study:
    """A study of ``params/<hardware_set>.yaml`` on this host, its parameters checked. Runs nothing, writes nothing.

    ``choice``: fields of `studylib.params.Choice` that replace the file's (models, recipes, runtimes, batch_sizes, seed).
    """
    if os.environ.get("STUDYLIB_HEADLESS"):
        die_with_parent()  # otherwise a kernel whose study was killed would go on measuring beside the next one
    resolved = params.resolve(hardware_set, effort, **choice)
    providers = {name: runtime.providers for name, runtime in RUNTIMES.items()}
    params.check_names(resolved, MODELS, RECIPES, providers)
    return Study(resolved, hardware.probe(), params.outputs_root() / resolved.hardware.name, write)


def sources_hash(names: tuple[str, ...]) -> str:
    """Hash of files and folders of studylib, by name and content."""
    base, digest = Path(__file__).parent, hashlib.sha256()
    for name in names:
        files = sorted((base / name).rglob("*.py")) if (base / name).is_dir() else [base / name]
        for file in files:
            digest.update(file.relative_to(base).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def git_state() -> dict:
    """Commit and whether tracked files differ from it; empty outside a checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(params.root()), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "modified": bool(git("status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return {}


def package_versions() -> dict[str, str]:
    """Versions of the packages that decide results."""
    installed = {}
    for name in _PACKAGES:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed


def _hash(facts) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
