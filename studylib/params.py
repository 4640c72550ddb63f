"""What a study is about: hardware sets (``params/*.yaml``), efforts, and the validated parameters of one study.

Everything is frozen and checked when it is read; creating a parameter object does nothing else.
"""

import os
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr, field_validator

from studylib.errors import InputError, ParameterError, UnknownNameError, lookup
from studylib.reading import read_yaml, validated

SEED = 20170301
# Instead of a list of recipes: every one there is.
ALL = "all"
# The least fidelity of an adaptive recipe where answers mean nothing: random weights, outputs that are no scores.
RANDOM_SQNR_DB = 20.0


@dataclass(frozen=True)
class Effort:
    """How long to measure. ``*_s`` are seconds; counts are per repetition (one fresh process)."""

    name: str
    repetitions: int
    min_values: int
    min_duration_s: float
    max_duration_s: float
    warmup_s: float
    eval_samples: int
    calibration_samples: int
    timeout_s: float
    search_s: float


# 130 values carry a p95 and 662 a p99 (stats.minimum_values), pooled over repetitions; eight repetitions carry a verdict even
# when one is lost (stats.MINIMUM_ROUNDS). Samples are the same at every effort, so that artifacts and their quality are too.
EFFORTS = {
    effort.name: effort
    for effort in (
        Effort("smoke", 8, 140, 0.1, 5.0, 0.1, 1000, 200, 120.0, 20.0),
        Effort("quick", 8, 140, 0.5, 8.0, 0.3, 1000, 200, 300.0, 120.0),
        Effort("full", 15, 700, 3.0, 60.0, 1.0, 1000, 200, 900.0, 600.0),
    )
}


class Section(BaseModel):
    """Part of a YAML file: unknown keys are refused, nothing changes after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Name = Annotated[StrictStr, Field(min_length=1, max_length=60, pattern=r"^[a-z0-9][a-z0-9_.-]*(/[a-z0-9_.-]+)?$")]
Names = Annotated[tuple[Name, ...], Field(min_length=1, max_length=64)]
# A name of the zoo, or the user's own file, folder or factory.
Location = Annotated[StrictStr, Field(min_length=1, max_length=4096, pattern=r"^[^\x00-\x1f\x7f]*$")]
Models = Annotated[tuple[Location, ...], Field(min_length=1, max_length=64)]
Scenarios = Annotated[tuple[Name, ...], Field(min_length=1, max_length=8)]
BatchSizes = Annotated[tuple[Annotated[StrictInt, Field(ge=1, le=4096)], ...], Field(min_length=1, max_length=64)]
# Words that are printed: no control characters, nothing that cannot be written as UTF-8.
Text = Annotated[StrictStr, Field(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f]*$")]


class HostMatch(Section):
    """What a machine must be for a hardware set to be native on it. An absent field matches anything."""

    systems: tuple[Literal["Linux", "Darwin", "Windows", "Android", "iOS"], ...] = ()
    machines: tuple[Literal["x86_64", "aarch64", "arm64", "armv7l"], ...] = ()
    device_tree: Text | None = None
    gpu: Literal["nvidia"] | None = None
    usb_vendor: Annotated[StrictStr, Field(pattern=r"^[0-9a-f]{4}$")] | None = None


class HardwareProfile(Section):
    """A machine as declared in ``params/<name>.yaml``. ``threads`` None means all that the host grants.

    ``reached_by``: it is no machine that a study runs on, but one that is measured from here, over adb.
    """

    name: Name
    title: Text
    host: HostMatch
    threads: Annotated[StrictInt, Field(ge=1, le=4096)] | None = None
    memory_bytes: Annotated[StrictInt, Field(ge=1, le=2**50)] | None = None
    reached_by: Literal["adb"] | None = None


class Choice(Section):
    """Which trials a study holds: every combination that can run.

    ``data``, ``task`` and ``trust`` are for models that the user brings: samples, what the outputs mean, and whether
    code inside the model's file may run.
    """

    models: Models
    recipes: Names
    runtimes: Names
    batch_sizes: BatchSizes
    # Names of `studylib.sweeps`: one setting varied at a time, of fp32.
    sweeps: Annotated[tuple[Name, ...], Field(max_length=64)] = ()
    # How queries arrive: one after the other (of one sample, and of batches) unless more is asked for.
    scenarios: Scenarios = ("single_stream", "offline")
    # Whether the fastest is searched for by successive halving, instead of measuring all in full.
    search: StrictBool = False
    # Who issues them: MLPerf LoadGen, a plain loop, or (auto) the loop one after the other and LoadGen for all else.
    driver: Literal["auto", "loadgen", "loop"] = "auto"
    # Of the server scenario: queries per second (None: the highest that keeps the bound is searched for), and the bound of its p99.
    target_qps: Annotated[StrictFloat, Field(gt=0, le=1e6)] | None = None
    latency_bound_ms: Annotated[StrictFloat, Field(gt=0, le=60_000)] = 100.0
    seed: Annotated[StrictInt, Field(ge=0, lt=2**32)] = SEED
    data: Location | None = None
    task: Literal["classification", "question_answering", "speech_recognition", "other"] | None = None
    trust: StrictBool = False
    # Share of right answers (or of agreement with the source model) that an adaptive recipe may lose.
    max_accuracy_loss: Annotated[StrictFloat, Field(ge=0, le=1)] = 0.01
    # The layers' precisions that an earlier search found and saved, to be applied instead of searching.
    assignment: Location | None = None
    # Share of the busy processor time that other virtual machines may take before a repetition is invalid.
    max_steal: Annotated[StrictFloat, Field(gt=0, le=1)] = 0.2

    @field_validator("models", "recipes", "runtimes", "batch_sizes", "sweeps", "scenarios")
    @classmethod
    def _no_duplicates(cls, values: tuple) -> tuple:
        plain = [value.removesuffix("/cpu") if isinstance(value, str) else value for value in values]
        twice = sorted({str(value) for value in plain if plain.count(value) > 1})
        if twice:
            raise ValueError(f"it should name each once; twice: {', '.join(twice)}")
        return values


class _Override(Section):
    models: Models | None = None
    recipes: Names | None = None
    runtimes: Names | None = None
    batch_sizes: BatchSizes | None = None
    sweeps: Annotated[tuple[Name, ...], Field(max_length=64)] | None = None
    scenarios: Scenarios | None = None


class _Efforts(Section):
    smoke: _Override = _Override()
    quick: _Override = _Override()
    full: _Override = _Override()


class _File(Section):
    hardware: HardwareProfile
    study: Choice
    efforts: _Efforts = _Efforts()


class StudyParams(Section):
    """The resolved parameters of one study: what ran, exactly."""

    hardware: HardwareProfile
    effort: Literal["smoke", "quick", "full"]
    choice: Choice

    @property
    def settings(self) -> Effort:
        return EFFORTS[self.effort]

    def command(self) -> str:
        """The command that runs this study again. A shell reads its quotes; what stands within them reaches Python as it is."""
        words = [f"make study HW={self.hardware.name} EFFORT={self.effort}"]
        usual = resolve(self.hardware.name, self.effort).choice
        for variable, field in (
            ("MODEL", "models"),
            ("RECIPE", "recipes"),
            ("RUNTIME", "runtimes"),
            ("BATCH", "batch_sizes"),
            ("SWEEP", "sweeps"),
        ):
            if getattr(self.choice, field) != getattr(usual, field):
                words.append(f"{variable}={shlex.quote(','.join(map(str, getattr(self.choice, field))) or 'none')}")
        more = [name for name in self.choice.scenarios if name not in usual.scenarios]
        words += [f"SCENARIO={shlex.quote(','.join(more))}"] if more else []
        for variable, field in (("DRIVER", "driver"), ("QPS", "target_qps"), ("BOUND", "latency_bound_ms")):
            if getattr(self.choice, field) != getattr(usual, field):
                words.append(f"{variable}={getattr(self.choice, field)}")
        words += ["SEARCH=1"] if self.choice.search else []
        if self.choice.seed != usual.seed:
            words.append(f"SEED={self.choice.seed}")
        words += [f"LOSS={self.choice.max_accuracy_loss}"] if self.choice.max_accuracy_loss != usual.max_accuracy_loss else []
        words += [f"ASSIGNMENT={shlex.quote(self.choice.assignment)}"] if self.choice.assignment else []
        words += [f"DATA={shlex.quote(self.choice.data)}"] if self.choice.data else []
        words += [f"TASK={self.choice.task}"] if self.choice.task else []
        return " ".join([*words, *(["TRUST=1"] if self.choice.trust else [])])

    def notebook_parameters(self) -> dict:
        """The flat, literal values that papermill injects; `resolve` turns them back into this object."""
        choice = self.choice
        return {
            "hardware": self.hardware.name,
            "effort": self.effort,
            "models": list(choice.models),
            "recipes": list(choice.recipes),
            "runtimes": list(choice.runtimes),
            "batch_sizes": list(choice.batch_sizes),
            "sweeps": list(choice.sweeps),
            "search": choice.search,
            "scenarios": list(choice.scenarios),
            "driver": choice.driver,
            "target_qps": choice.target_qps,
            "latency_bound_ms": choice.latency_bound_ms,
            "seed": choice.seed,
            "data": choice.data,
            "task": choice.task,
            "trust": choice.trust,
            "max_accuracy_loss": choice.max_accuracy_loss,
            "assignment": choice.assignment,
        }


def root() -> Path:
    """The project's folder: where ``params/`` and ``notebooks/`` lie, whatever the current folder is."""
    return Path(os.environ.get("STUDYLIB_ROOT") or Path(__file__).parent.parent).resolve()


def outputs_root() -> Path:
    """Where results go: ``$STUDYLIB_OUTPUTS``, otherwise ``outputs/`` in the project's folder."""
    return Path(os.environ.get("STUDYLIB_OUTPUTS") or root() / "outputs").resolve()


def hardware_sets() -> dict[str, Path]:
    """The hardware sets by name."""
    return {path.stem: path for path in sorted((root() / "params").glob("*.yaml"))}


def resolve(hardware: str, effort: str = "quick", **overrides) -> StudyParams:
    """Read, merge and check the parameters of one study.

    Order of precedence: ``study`` in the file, ``efforts.<effort>`` in the file, ``overrides``
    (fields of `Choice`; None means not given). Raises `ParameterError` or `UnknownNameError`.
    """
    sets = hardware_sets()
    if not sets:
        raise InputError(f"{root() / 'params'} holds no hardware set; STUDYLIB_ROOT must name the project's folder.")
    path = lookup(sets, "hardware set (HW)", hardware)
    lookup(EFFORTS, "effort (EFFORT)", effort)
    shown = f"params/{path.name}"
    content = validated(_File, read_yaml(path, shown), shown)
    if content.hardware.name != path.stem:
        raise ParameterError(f"{shown}: hardware.name is '{content.hardware.name}'; it must be the file's name, '{path.stem}'.")
    given = {key: value for key, value in overrides.items() if value is not None}
    merged = content.study.model_dump() | getattr(content.efforts, effort).model_dump(exclude_none=True) | given
    return StudyParams(hardware=content.hardware, effort=effort, choice=validated(Choice, merged, "command line" if given else shown))


def check_names(
    params: StudyParams,
    models: Iterable[str],
    recipes: Iterable[str],
    providers: dict[str, Iterable[str]],
    scenarios: Iterable[str] = ("single_stream", "offline"),
) -> None:
    """Refuse models, recipes, runtimes, providers (known ones by runtime) and scenarios that do not exist, saying where they stand."""
    choice = params.choice
    wanted = [("models", "model", name, models) for name in choice.models]
    wanted += [("recipes", "recipe", name, recipes) for name in choice.recipes]
    wanted += [("scenarios", "scenario", name, scenarios) for name in choice.scenarios]
    for name in choice.runtimes:
        runtime, _, provider = name.partition("/")
        wanted.append(("runtimes", "runtime", runtime, providers))
        if runtime in providers:
            wanted.append(("runtimes", f"provider of {runtime}", provider or "cpu", providers[runtime]))
    for field, kind, name, known in wanted:
        try:
            lookup(dict.fromkeys(known), kind, name)
        except UnknownNameError as error:
            raise ParameterError(f"params/{params.hardware.name}.yaml or command line, {field}: {error}") from None
