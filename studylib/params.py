"""What a study is about: hardware sets (``params/*.yaml``), efforts, and the validated parameters of one study.

Everything is frozen and checked when it is read; creating a parameter object does nothing else.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StrictFloat, StrictInt, StrictStr, ValidationError

from studylib.errors import InputError, ParameterError, UnknownNameError, lookup, suggestion

SEED = 20170301


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


# 130 values carry a p95 and 662 a p99 (stats.minimum_values), pooled over repetitions;
# eight repetitions are the fewest that carry a verdict (stats.MINIMUM_ROUNDS).
EFFORTS = {
    effort.name: effort
    for effort in (
        Effort("smoke", 8, 140, 0.1, 5.0, 0.1, 1000, 100, 120.0),
        Effort("quick", 8, 140, 0.5, 8.0, 0.3, 1000, 200, 300.0),
        Effort("full", 15, 700, 3.0, 60.0, 1.0, 1000, 500, 900.0),
    )
}


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Name = Annotated[StrictStr, Field(min_length=1, pattern=r"^[a-z0-9][a-z0-9_./-]*$")]
Names = Annotated[tuple[Name, ...], Field(min_length=1)]
Positive = Annotated[StrictInt, Field(ge=1)]


class HostMatch(_Section):
    """What a machine must be for a hardware set to be native on it. An absent field matches anything."""

    systems: tuple[Literal["Linux", "Darwin", "Windows", "Android", "iOS"], ...] = ()
    machines: tuple[Literal["x86_64", "aarch64", "arm64", "armv7l"], ...] = ()
    device_tree: StrictStr | None = None
    gpu: Literal["nvidia"] | None = None
    usb_vendor: Annotated[StrictStr, Field(pattern=r"^[0-9a-f]{4}$")] | None = None


class HardwareProfile(_Section):
    """A machine as declared in ``params/<name>.yaml``. ``threads`` None means all that the host grants."""

    name: Name
    title: StrictStr
    host: HostMatch
    threads: Positive | None = None
    memory_bytes: Positive | None = None


class Choice(_Section):
    """Which trials a study holds: every combination that can run."""

    models: Names
    recipes: Names
    runtimes: Names
    batch_sizes: Annotated[tuple[Annotated[StrictInt, Field(ge=1, le=4096)], ...], Field(min_length=1)]
    seed: Annotated[StrictInt, Field(ge=0, lt=2**32)] = SEED
    max_steal: Annotated[StrictFloat, Field(gt=0, le=1)] = 0.2


class _Override(_Section):
    models: Names | None = None
    recipes: Names | None = None
    runtimes: Names | None = None
    batch_sizes: Annotated[tuple[Annotated[StrictInt, Field(ge=1, le=4096)], ...], Field(min_length=1)] | None = None


class _Efforts(_Section):
    smoke: _Override = _Override()
    quick: _Override = _Override()
    full: _Override = _Override()


class _File(_Section):
    hardware: HardwareProfile
    study: Choice
    efforts: _Efforts = _Efforts()


class StudyParams(_Section):
    """The resolved parameters of one study: what ran, exactly."""

    hardware: HardwareProfile
    effort: Literal["smoke", "quick", "full"]
    choice: Choice

    @property
    def settings(self) -> Effort:
        return EFFORTS[self.effort]

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
            "seed": choice.seed,
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
    path = lookup(hardware_sets(), "hardware set (HW)", hardware)
    lookup(EFFORTS, "effort (EFFORT)", effort)
    shown = f"params/{path.name}"
    content = _validated(_File, _read_yaml(path, shown), shown)
    if content.hardware.name != path.stem:
        raise ParameterError(f"{shown}: hardware.name is '{content.hardware.name}'; it must be the file's name, '{path.stem}'.")
    given = {key: value for key, value in overrides.items() if value is not None}
    merged = content.study.model_dump() | getattr(content.efforts, effort).model_dump(exclude_none=True) | given
    return StudyParams(hardware=content.hardware, effort=effort, choice=_validated(Choice, merged, "command line" if given else shown))


def check_names(params: StudyParams, **tables: dict) -> None:
    """Refuse names that are in none of ``tables`` (models, recipes, runtimes), saying where they stand."""
    for field, table in tables.items():
        for name in getattr(params.choice, field):
            known = name.split("/")[0] if field == "runtimes" else name
            try:
                lookup(table, field.rstrip("s"), known)
            except UnknownNameError as error:
                raise ParameterError(f"params/{params.hardware.name}.yaml or command line, {field}: {error}") from None


def _read_yaml(path: Path, shown: str) -> dict:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ParameterError(f"{shown}: not readable as YAML: {reason}. Correct the file and run again.") from None
    except OSError as error:
        raise InputError(f"{shown}: cannot be read: {error.strerror}.") from None
    if not isinstance(content, dict):
        raise ParameterError(f"{shown}: holds {type(content).__name__}; it must hold the keys hardware, study, efforts.")
    return content


def _validated(model: type[BaseModel], content: dict, shown: str):
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise ParameterError("\n".join(_explain(model, problem, shown) for problem in error.errors())) from None


def _explain(model: type[BaseModel], problem: dict, shown: str) -> str:
    """One problem as: file, key, value, what is allowed, the nearest name."""
    location = ".".join(str(part) for part in problem["loc"])
    value = problem["input"]
    if problem["type"] == "extra_forbidden":
        known = list(_section_at(model, problem["loc"][:-1]).model_fields)
        return f"{shown}: unknown key '{location}'. Known: {', '.join(known)}." + suggestion(problem["loc"][-1], known)
    if problem["type"] == "missing":
        return f"{shown}: key '{location}' is missing. Add it."
    advice = problem["msg"].replace("Input should", "it should")
    if isinstance(value, str) and _is_number(value):
        advice += " (YAML 1.1 reads 1e-3 as text; write 1.0e-3)" if "e" in value.lower() else " (remove the quotes)"
    return f"{shown}: {location} is {value!r}; {advice}."


def _section_at(model: type[BaseModel], location: tuple) -> type[BaseModel]:
    for part in location:
        model = model.model_fields[part].annotation
    return model


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
