"""What a study will do, computed before anything runs: trials, the matrix of formats, and the artifacts they need."""

import hashlib
import importlib.metadata
import json
import platform
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

from studylib import hardware, inside
from studylib.own import facts_of
from studylib.params import StudyParams
from studylib.recipes import RECIPES, Recipe, chain, why_no_chain
from studylib.records import Conversion, Trial
from studylib.runtimes import RUNTIMES, split_name
from studylib.scenarios import scenario_for
from studylib.sources import Sources, inside_key
from studylib.zoo import Model

# Sources whose change makes a measurement another one.
_HARNESS = (
    "worker.py",
    "measure.py",
    "scenarios.py",
    "quality.py",
    "stats.py",
    "executors/local.py",
    "runtimes",
    "zoo/base.py",
    "arrays.py",
)
# What opens each format when a conversion is checked.
OPENERS = {"saved_model": "tensorflow", "serving": "tensorflow", "tflite": "litert", "onnx": "onnxruntime", "openvino": "openvino"}
# Formats that models are deployed in: the columns of the matrix.
TARGETS = tuple(RECIPES["fp32"])
# Formats that something else can be made of.
_STARTING_POINTS = ("saved_model", "onnx", "tflite")

Hops = list[tuple[str, str]]


@dataclass(frozen=True)
class Plan:
    """Everything that follows from parameters, models and host. ``models``: by the name that tables show."""

    params: StudyParams
    host: hardware.Host
    models: dict[str, Model]

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
        choice, trials = self.params.choice, []
        for model in self.models:
            for batch_size in choice.batch_sizes:
                of_model = [self._planned(model, runtime, recipe, batch_size) for runtime in choice.runtimes for recipe in choice.recipes]
                trials += of_model
                # The A/A control repeats a fast float trial: there a given noise is largest in proportion.
                floats = [trial for trial in of_model if trial.recipe == "fp32" and not trial.reason]
                if floats and batch_size == min(choice.batch_sizes):
                    trials.append(replace(floats[-1], control=True))
        return trials

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
    def targets(self) -> list[dict]:
        """What to make, in the order of need: sources, samples, references, artifacts, and what is inside them."""
        return [target for name in self.models for target in self._targets(name)]

    @cached_property
    def origins(self) -> dict[str, dict]:
        """Of each model where it comes from and what its outputs mean."""
        return {
            name: {
                "source": self._sources(name).model_key,
                "samples": self._sources(name).samples_key("test", self._test_samples(name)),
                "reference": self._sources(name).reference_key(self._test_samples(name)),
                "source_format": model.source_format,
                "task": model.task,
                "independent": model.independent_samples,
                "data": model.data,
            }
            for name, model in self.models.items()
        }

    # --- inside ------------------------------------------------------------------------------------------------------

    def _planned(self, model: str, runtime_name: str, recipe: str, batch_size: int) -> Trial:
        name, provider = split_name(runtime_name)
        runtime, origin = RUNTIMES[name], self.models[model].source_format
        reason = why_no_chain(recipe, runtime.format, origin) or runtime.why_not(provider, self.host)
        keys = [] if reason else self._keys(model, self._recipes(model, [(recipe, runtime.format)]))
        return self._trial(model, name, provider, recipe, runtime.format, keys, batch_size, reason)

    def _trial(self, model, runtime, provider, recipe, format, keys, batch_size=1, reason=None) -> Trial:
        version = "" if reason else RUNTIMES[runtime].version
        artifact = keys[-1] if keys else ""
        facts = (artifact, self.origins[model]["reference"], runtime, version, provider, self.threads, self._conditions)
        return Trial(
            model=model,
            weights=self.models[model].weights,
            recipe=recipe,
            format=format,
            runtime=runtime,
            runtime_version=version,
            provider=provider,
            threads=self.threads,
            scenario=scenario_for(batch_size),
            batch_size=batch_size,
            artifact_key=artifact,
            evaluation_id="" if reason else "evaluation-" + digest(facts)[:16],
            conditions=self._conditions,
            reason=reason,
        )

    def _conversion(self, model: str, source: str, target: str) -> Conversion:
        reason = why_no_chain("fp32", target, source)
        if reason:
            return Conversion(model, source, target, reason=reason)
        before = self._recipes(model, [("fp32", source)])
        keys = self._keys(model, self._recipes(model, [("fp32", source), ("fp32", target)]))
        own = tuple(keys[len(before) + 1 :])
        opener = RUNTIMES.get(OPENERS.get(target, ""))
        if opener is None or opener.why_not("cpu", self.host):
            return Conversion(model, source, target, own)
        trial = self._trial(model, opener.name, "cpu", "fp32", target, keys)
        return Conversion(model, source, target, own, trial)

    def _targets(self, name: str) -> list[dict]:
        sources, n = self._sources(name), self._test_samples(name)
        calibration = self.params.settings.calibration_samples
        seed = self.params.choice.seed
        common = {
            "model": facts_of(self.models[name]),
            "seed": seed,
            "calibration": calibration,
            "n": n,
            "needs": [],
            "steps": [],
            "matrix": False,
        }
        source, test, train = sources.model_key, sources.samples_key("test", n), sources.samples_key("train", calibration)
        reference = sources.reference_key(n)
        first = {"needs": [source]} if self.models[name].reads_file else {}
        targets = [
            {"kind": "source", "key": source, "label": f"{name}, the model itself"},
            first | {"kind": "samples", "split": "test", "key": test, "label": f"{name}, test samples"},
            first | {"kind": "samples", "split": "train", "n": calibration, "key": train, "label": f"{name}, train samples"},
            {"kind": "reference", "key": reference, "needs": [source, test], "label": f"{name}, reference outputs"},
        ]
        described = [(source, "fp32", self.models[name].source_format, [], False)]
        for hops, matrix in self._wanted(name):
            way = self._recipes(name, hops)
            for length, step in enumerate(way, 1):
                key, *before = self._keys(name, way[:length])[::-1]
                if any(key == known for known, *_ in described):
                    continue
                steps = [[recipe.name, recipe.source_format, recipe.target] for recipe in way[:length]]
                described.append((key, step.name, step.target, steps, matrix))
                label = f"{name} {step.name} {step.target} from {step.source_format}"
                needs = [source, reference, *([train] if step.learns_from else []), *before]
                facts = {"kind": "recipe", "recipe": step.name, "key": key, "steps": steps, "needs": needs, "label": label}
                targets.append(facts | {"matrix": matrix})
        for key, recipe, format, steps, matrix in described:
            if format in inside.FORMATS:
                facts = {"kind": "inside", "recipe": recipe, "key": inside_key(key), "steps": steps, "needs": [key, test]}
                targets.append(facts | {"label": f"{name} {recipe} {format}, what is inside", "matrix": matrix})
        return [common | target for target in targets]

    def _wanted(self, name: str) -> list[tuple[Hops, bool]]:
        """The ways to everything that is made of a model, and whether only the matrix needs it: float, the matrix, the rest."""
        trials = [trial for trial in self.trials if trial.model == name and not trial.reason]
        ways = [[(trial.recipe, trial.format)] for trial in sorted(trials, key=lambda trial: trial.recipe != "fp32")]
        cells = [[("fp32", c.source), ("fp32", c.target)] for c in self.conversions if c.model == name and not c.reason]
        floats = [way for way in ways if way[0][0] == "fp32"]
        rest = [way for way in ways if way not in floats]
        return [*((way, False) for way in floats), *((way, True) for way in cells), *((way, False) for way in rest)]

    def _recipes(self, name: str, hops: Hops) -> list[Recipe]:
        """The recipes to apply in turn, from the source model over every hop (recipe, format)."""
        format, recipes = self.models[name].source_format, []
        for recipe, target in hops:
            recipes += chain(recipe, target, format, self.models[name].trust)
            format = target
        return recipes

    def _keys(self, name: str, way: list[Recipe]) -> list[str]:
        """The keys of the source model and of what each recipe on the way makes."""
        sources = self._sources(name)
        keys, calibration = [sources.model_key], sources.samples_key("train", self.params.settings.calibration_samples)
        for recipe in way:
            keys.append(recipe.key(keys[-1], calibration))
        return keys

    def _sources(self, name: str) -> Sources:
        if name not in self._all_sources:
            self._all_sources[name] = Sources(self.models[name], self.params.choice.seed)
        return self._all_sources[name]

    @cached_property
    def _all_sources(self) -> dict[str, Sources]:
        return {}

    def _test_samples(self, name: str) -> int:
        return min(self.models[name].test_samples, self.params.settings.eval_samples)

    @cached_property
    def _conditions(self) -> str:
        """Hash of what changes measurements or their meaning and is not named in a trial."""
        declared = self.params.hardware
        limits = (not self.mismatches, declared.memory_bytes, self.params.choice.max_steal)
        software = (platform.python_version(), importlib.metadata.version("numpy"), sources_hash(_HARNESS))
        return digest((self.host.id, limits, asdict(self.params.settings), software))[:16]


def sources_hash(names: tuple[str, ...]) -> str:
    """Hash of files and folders of studylib, by name and content."""
    base, found = Path(__file__).parent, hashlib.sha256()
    for name in names:
        files = sorted((base / name).rglob("*.py")) if (base / name).is_dir() else [base / name]
        for file in files:
            found.update(file.relative_to(base).as_posix().encode() + b"\0" + file.read_bytes())
    return found.hexdigest()


def digest(facts) -> str:
    """SHA-256 of plain JSON."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
