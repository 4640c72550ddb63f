"""Hardware sets (``params/*.yaml``), and the resolved, checked parameters of one study. Creating a parameter object does nothing else."""

from pathlib import Path
from typing import Annotated, Literal, get_type_hints

from pydantic import Field, StrictInt, StrictStr, create_model

from studylib.errors import InputError, ParameterError, lookup
from studylib.params.efforts import EFFORTS, Effort
from studylib.params.paths import root
from studylib.params.study_options import Choice, Name, Text, options
from studylib.params.yaml_files import Section, read_yaml, validated


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


# What an effort may say otherwise than the rest of its file: any option, all of them absent.
_Override = create_model(
    "_Override",
    __base__=Section,
    **{name: (kind | None, None) for name, kind in get_type_hints(Choice, include_extras=True).items() if name in options()},
)


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

    def changes(self) -> dict:
        """What of the options is not as the hardware set has it, by their names: plain JSON, which `resolve` takes."""
        usual = resolve(self.hardware.name, self.effort).choice.model_dump(mode="json")
        chosen = self.choice.model_dump(mode="json")
        return {name: chosen[name] for name in options() if chosen[name] != usual[name]}

    def command(self) -> str:
        """The command that runs this study again. A shell reads its quotes; what stands within them reaches Python as it is."""
        usual = resolve(self.hardware.name, self.effort).choice
        words = [f"make study HW={self.hardware.name} EFFORT={self.effort}"]
        for name, typed in options().items():
            value, before = getattr(self.choice, name), getattr(usual, name)
            if value == before:
                continue
            value = tuple(one for one in value if one not in before) if typed.adds else value
            words += [typed.text(value)] if value != () or not typed.adds else []
        return " ".join(words)


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
