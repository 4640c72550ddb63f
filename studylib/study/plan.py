"""What a study will do, computed before anything runs: trials, the matrix of formats, and the artifacts they need."""

import platform
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from studylib.adaptive import Assignment
from studylib.artifacts.code import code_digest
from studylib.artifacts.software import digest
from studylib.artifacts.store import package_version
from studylib.build.jobs import Target
from studylib.build.origin import Origin
from studylib.build.targets import Hops, Making
from studylib.executors.local import LocalExecutor
from studylib.executors.phone.on_phone import PhoneExecutor
from studylib.executors.phone.phone import RUNTIME, Phone
from studylib.formats.inside.precision import FLOAT32
from studylib.machine import hardware
from studylib.measure import worker
from studylib.measure.rounds import Bench
from studylib.models.own import OwnModel, facts_of, named
from studylib.models.zoo import Model
from studylib.params.defaults import RANDOM_SQNR_DB
from studylib.params.sets import StudyParams
from studylib.params.study_options import ALL
from studylib.recipes import RECIPES, names, why_no_chain
from studylib.results.records import Conversion, Trial
from studylib.runtimes import Runtime, settings
from studylib.scenarios import SCENARIOS, USUAL_SCENARIOS, planned, scenario_for
from studylib.scenarios.loadgen import version as loadgen_version
from studylib.serving.served import runtime_named, split_name
from studylib.study import int8_sums, served_trials, sweeps
from studylib.study.refusals import why_already, why_no_stream, why_not_here
from studylib.study.sweeps import USUAL, Deviation

# Code whose change makes a measurement another one, beside that of its runtime and scenario.
_MEASURING = (worker.evaluate, worker.check, worker.find_rate, worker.measure, Bench, LocalExecutor)
# The same of what is measured on a phone: what runs there, and the jobs here that make its queries and read its answers.
_ON_PHONE = (PhoneExecutor, worker.pack, worker.judge, worker.judge_batch)
# What opens each format when a conversion is checked.
OPENERS = {"saved_model": "tensorflow", "serving": "tensorflow", "tflite": "litert", "onnx": "onnxruntime"}
OPENERS |= {name: name for name in ("openvino", "coreml")}
_SURE = ("cpu", "cuda")  # providers that compute in float32 whatever the graph
# Formats that models are deployed in: the columns of the matrix.
TARGETS = tuple(RECIPES["fp32"])
# Formats that something else can be made of.
_STARTING_POINTS = ("saved_model", "onnx", "tflite")


@dataclass(frozen=True)
class _Wanted:
    """What a trial is asked for; the rest of it follows."""

    model: str
    runtime: str
    provider: str
    recipe: str
    format: str
    batch_size: int = 1
    sweep: str = ""
    point: Deviation = USUAL


@dataclass(frozen=True)
class Plan:
    """Everything that follows from parameters, models and host. ``models``: by the name that tables show.

    ``chosen``: these trials instead of every combination. ``phone``: the attached one that ``host`` is, whose LiteRT is measured.
    """

    params: StudyParams
    host: hardware.Host
    models: dict[str, Model]
    chosen: tuple[Trial, ...] | None = None
    phone: Phone | None = None

    @property
    def mismatches(self) -> list[str]:
        """Why this is a rehearsal; empty when the host is the declared hardware."""
        return hardware.mismatches(self.params.hardware, self.host)

    @property
    def threads(self) -> int:
        """What the hardware set declares, never more than this host grants."""
        return min(self.params.hardware.threads or self.host.threads, self.host.threads)

    @cached_property
    def trials(self) -> list[Trial]:
        """Every combination of model, runtime, recipe and batch size, skipped ones with their reason."""
        if self.chosen is not None:
            return list(self.chosen)
        choice, trials = self.params.choice, []
        for model in self.models:
            for scenario, batch_size in planned(choice.scenarios, choice.batch_sizes):
                usual = scenario == scenario_for(batch_size)
                of_model = [
                    self.planned(model, runtime, recipe, batch_size, scenario=scenario)
                    for runtime in choice.runtimes
                    for recipe in self.recipes + int8_sums.more_recipes(runtime, self.recipes, self.models[model].precision, self.host)
                ]
                trials += of_model
                # The A/A control repeats a fast float trial: there a given noise is largest in proportion.
                # Other accelerators may refuse float32 or fall back, and the control with them.
                floats = [t for t in of_model if t.recipe == "fp32" and t.provider in _SURE and not t.reason]
                if floats and usual and batch_size == min(choice.batch_sizes):
                    trials.append(replace(floats[-1], control=True))
            trials += self._swept(model) + served_trials.trials(self, model)
        return trials

    def _swept(self, model: str) -> list[Trial]:
        """The points of all sweeps, of fp32 in every runtime that can run."""
        choice, least = self.params.choice, min(self.params.choice.batch_sizes)
        if "fp32" not in self.recipes:
            return []
        points = [
            (runtime, name, point)
            for name in sweeps.chosen(choice.sweeps)
            for runtime in choice.runtimes
            for point in sweeps.points(name, runtime_named(split_name(runtime)[0]), self.threads, choice.batch_sizes)
        ]
        found = [
            self.planned(model, runtime, "fp32", point.batch_size or least, sweep=name, point=point) for runtime, name, point in points
        ]
        # Why fp32 cannot run there is said by its usual trial already.
        return [trial for trial in found if not trial.reason]

    @cached_property
    def conversions(self) -> list[Conversion]:
        """The matrix of formats: from the model's own format and all it becomes, to every format."""
        return [
            self._conversion(name, source, target)
            for name, model in self.models.items()
            for source in dict.fromkeys((model.source_format, *_STARTING_POINTS))
            if why_no_chain("fp32", source, model.source_format) is None
            for target in TARGETS
            if target != source
        ]

    @cached_property
    def targets(self) -> list[Target]:
        """What to make, in the order of need: sources, samples, references, artifacts, and what is inside them."""
        return [target for name in self.models for target in self._makings[name].targets(self._wanted(name))]

    @cached_property
    def origins(self) -> dict[str, Origin]:
        """Of each model where it comes from and what its outputs mean."""
        return {name: self._makings[name].origin(self.recipes) for name in self.models}

    @property
    def given(self) -> dict[str, Any]:
        """What the user gave of models and an assignment, as jobs name it: where it lies and what was said of it."""
        found = {named(model): facts_of(model) for model in self.models.values() if isinstance(model, OwnModel)}
        return found | ({self._search["assignment"]: self.params.choice.assignment} if self.params.choice.assignment else {})

    @property
    def recipes(self) -> list[str]:
        """The recipes of the study; ``all`` stands for every one there is."""
        chosen = self.params.choice.recipes
        return list(dict.fromkeys(name for one in chosen for name in (names() if one == ALL else [one])))

    # --- inside ------------------------------------------------------------------------------------------------------

    def planned(
        self, model: str, runtime_name: str, recipe: str, batch_size: int, *, sweep: str = "", point: Deviation = USUAL, scenario: str = ""
    ) -> Trial:
        name, provider = split_name(runtime_name)
        runtime, origin = runtime_named(name), self.models[model].source_format
        reason = (
            why_no_chain(recipe, runtime.format, origin)
            or self._why_not(name, provider, scenario or scenario_for(batch_size), point)
            or self._why_no_search(recipe)
            or why_already(recipe, runtime.format, self.models[model])
            or why_not_here(recipe, name, self.models[model], self.params.choice.teach)
            or why_no_stream(scenario, self.models[model])
        )
        keys = [] if reason else self._keys(model, [(recipe, runtime.format)])
        wanted = _Wanted(model, name, provider, recipe, runtime.format, batch_size, sweep, point)
        trial = self._trial(wanted, keys, reason)
        return replace(trial, **self._driven(trial.conditions, scenario or scenario_for(batch_size)))

    def _why_not(self, runtime: str, provider: str, scenario: str = "single_stream", point: Deviation = USUAL) -> str | None:
        """Why a runtime cannot use a provider on this host, or on the phone, or None."""
        if self.phone is None:
            return runtime_named(runtime).why_not(provider, self.host)
        # Here its package makes the phone's queries and reads its answers.
        return self.phone.why_not(runtime, provider, scenario, point.settings) or runtime_named(runtime).why_not("cpu", self.host)

    def _why_no_search(self, recipe: str) -> str | None:
        """Why the layers of an adaptive recipe cannot be chosen for a phone, or None."""
        if self.phone is None or self.params.choice.assignment or not recipe.startswith("adaptive_"):
            return None
        return f"{recipe} is searched by times of this computer, not of the phone; give an ASSIGNMENT that was found elsewhere"

    def _version(self, runtime: str) -> str:
        return self.phone.version if self.phone and runtime == RUNTIME else runtime_named(runtime).version

    def _trial(self, wanted: "_Wanted", keys: list[str], reason: str | None = None) -> Trial:
        """The trial of what is ``wanted``, made of the last of the ``keys``; or skipped, with the ``reason``."""
        model, runtime, precision = wanted.model, runtime_named(wanted.runtime), self.models[wanted.model].precision
        settled = int8_sums.settings(runtime.name, wanted.provider, wanted.recipe, precision, self.host) | wanted.point.settings
        version = "" if reason else self._version(wanted.runtime)
        artifact = keys[-1] if keys else ""
        answering = {name: value for name, value in settled.items() if name in runtime.answering}
        threads = wanted.point.threads or self.threads  # other threads are held against the source for themselves
        conditions = self._conditions(wanted.runtime)
        facts = (artifact, self.origins[model].reference, wanted.runtime, version, wanted.provider, threads, conditions)
        facts += (settings.text(answering),) if answering else ()
        return Trial(
            model=model,
            weights=self.models[model].weights,
            recipe=wanted.recipe,
            format=wanted.format,
            runtime=wanted.runtime,
            runtime_version=version,
            provider=wanted.provider,
            threads=threads,
            scenario=scenario_for(wanted.batch_size),
            batch_size=wanted.batch_size,
            artifact_key=artifact,
            evaluation_id="" if reason else "evaluation-" + digest(facts)[:16],
            conditions=conditions,
            options=settings.text(settled),
            sweep=wanted.sweep,
            reason=reason,
            source="" if precision == FLOAT32 else precision,
        )

    def _driven(self, conditions: str, scenario: str) -> dict:
        """The fields of a trial that say how its queries come, with all that decides it among the conditions."""
        choice = self.params.choice
        usual = choice.driver == "loop" or (choice.driver == "auto" and scenario in USUAL_SCENARIOS)
        driver = "loop" if usual or not SCENARIOS[scenario].by_loadgen else "loadgen"
        more = [choice.target_qps, choice.latency_bound_ms] if scenario == "server" else []
        more += [loadgen_version()] if driver == "loadgen" else []
        code = code_digest(SCENARIOS[scenario].loop)
        return {"scenario": scenario, "driver": driver, "conditions": digest([conditions, code, more])[:16]}

    def _conversion(self, model: str, source: str, target: str) -> Conversion:
        reason = why_no_chain("fp32", target, source)
        if reason:
            return Conversion(model, source, target, reason=reason)
        before = self._keys(model, [("fp32", source)])
        keys = self._keys(model, [("fp32", source), ("fp32", target)])
        own = tuple(keys[len(before) :])
        if target not in OPENERS or self._why_not_opened(opener := runtime_named(OPENERS[target])):
            return Conversion(model, source, target, own)
        trial = self._trial(_Wanted(model, opener.name, "cpu", "fp32", target), keys)
        return Conversion(model, source, target, own, trial)

    def _why_not_opened(self, opener: Runtime) -> str | None:
        """Why a conversion cannot be opened: on the phone where that has the runtime, otherwise on this computer."""
        if self.phone and opener.name != RUNTIME:
            return opener.why_not("cpu", hardware.probe())
        return self._why_not(opener.name, "cpu")

    def _keys(self, name: str, hops: Hops) -> list[str]:
        making = self._makings[name]
        return making.keys(making.way(hops))

    def _wanted(self, name: str) -> list[tuple[Hops, bool]]:
        """The ways to everything that is made of a model, and whether only the matrix needs it: float, the matrix, the rest."""
        trials = [trial for trial in self.trials if trial.model == name and not trial.reason]
        ways = [[(trial.recipe, trial.format)] for trial in sorted(trials, key=lambda trial: trial.recipe != "fp32")]
        cells = [[("fp32", c.source), ("fp32", c.target)] for c in self.conversions if c.model == name and not c.reason]
        floats = [way for way in ways if way[0][0] == "fp32"]
        rest = [way for way in ways if way not in floats]
        return [*((way, False) for way in floats), *((way, True) for way in cells), *((way, False) for way in rest)]

    @cached_property
    def _makings(self) -> dict[str, Making]:
        choice, settings = self.params.choice, self.params.settings
        return {name: Making(name, model, choice.seed, settings, self._search) for name, model in self.models.items()}

    @property
    def _search(self) -> dict:
        """What decides the outcome of a search for an adaptive recipe: its budget, and what the speed of a variant depends on."""
        choice = self.params.choice
        if choice.assignment:
            given = Assignment.load(Path(choice.assignment))
            return {"assignment": given.digest, "format": given.format, "seconds": 0}
        return {
            "max_accuracy_loss": choice.max_accuracy_loss,
            "min_sqnr_db": RANDOM_SQNR_DB,
            "seconds": self.params.settings.search_s,
            "threads": self.threads,
            "host": self.host.id,
        }

    def _conditions(self, runtime: str) -> str:
        """Hash of what changes measurements in ``runtime`` or their meaning and is not named in a trial."""
        where = () if self.phone is None else _ON_PHONE
        return digest((self._circumstances, code_digest(*_MEASURING, *where, *runtime_named(runtime).code)))[:16]

    @cached_property
    def _circumstances(self) -> str:
        declared = self.params.hardware
        limits = (not self.mismatches, declared.memory_bytes, self.params.choice.max_steal)
        return digest((self.host.id, limits, asdict(self.params.settings), (platform.python_version(), package_version("numpy"))))
