"""Energy from the machine's own meters, read before and after the timed values: measured, or absent with the reason.

Meters tell of the whole package, board or GPU, and not of one process: what else runs is in the number.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from studylib.machine import nvml, sysfs


class Meter(ABC):
    """Something that can be read. ``how`` says in words what it is; readings are by domain (package-0, dram, VDD_IN …)."""

    how: str

    @abstractmethod
    def read(self) -> dict[str, float]:
        """The present readings, in the meter's own unit."""

    @abstractmethod
    def joules(self, before: dict[str, float], after: dict[str, float], seconds: float) -> dict[str, float]:
        """Energy between two readings, by domain."""


@dataclass(frozen=True)
class Rapl(Meter):
    """Intel's and AMD's counters of packages and memory. ``zones``: name to folder under ``powercap``; readings in µJ."""

    zones: dict[str, Path]
    how: str = "RAPL counters of the processor packages and their memory"

    def read(self) -> dict[str, float]:
        found = {name: sysfs.number(folder / "energy_uj") for name, folder in self.zones.items()}
        return {name: value for name, value in found.items() if value is not None}

    def joules(self, before, after, seconds):
        """The counter begins again at zero past its range, which takes minutes: at most once between two readings."""
        found = {}
        for name in before.keys() & after.keys():
            spent = after[name] - before[name]
            if spent < 0:
                spent += sysfs.number(self.zones[name] / "max_energy_range_uj") or float("nan")
            found[name] = spent / 1e6
        return found


@dataclass(frozen=True)
class Jetson(Meter):
    """The INA3221 sensor of a Jetson board: millivolts and milliamperes of its input rail. ``rails``: name to (voltage, current)."""

    rails: dict[str, tuple[Path, Path]]
    how: str = "the board's INA3221 sensor: power before and after the values, times the time between"

    def read(self) -> dict[str, float]:
        pairs = {name: (sysfs.number(volts), sysfs.number(amperes)) for name, (volts, amperes) in self.rails.items()}
        return {name: volts * amperes / 1e6 for name, (volts, amperes) in pairs.items() if None not in (volts, amperes)}

    def joules(self, before, after, seconds):
        return {name: (before[name] + after[name]) / 2 * seconds for name in before.keys() & after.keys()}


@dataclass(frozen=True)
class Nvml(Meter):
    """NVIDIA's energy counter of the GPU that computes, in mJ since the driver was loaded."""

    gpu: nvml.Device
    how: str = "the GPU's own energy counter (NVML)"

    def read(self) -> dict[str, float]:
        told = self.gpu.ask("TotalEnergyConsumption")
        return {} if told is None else {self.gpu.name: float(told)}

    def joules(self, before, after, seconds):
        return {name: (after[name] - before[name]) / 1e3 for name in before.keys() & after.keys()}


@dataclass
class EnergyReading:
    """The meters as they stood at one moment."""

    meters: tuple[Meter, ...]
    absent: tuple[str, ...]
    clock: Callable[[], float] = time.monotonic
    begun_s: float = field(init=False)
    values: list[dict[str, float]] = field(init=False)

    def __post_init__(self):
        self.values = [meter.read() for meter in self.meters]
        self.begun_s = self.clock()

    def until_now(self) -> dict:
        """Energy since this reading: ``joules`` by domain, ``kind`` measured and ``how``; or ``absent`` with the reason."""
        seconds, after = self.clock() - self.begun_s, [meter.read() for meter in self.meters]
        spent, how = {}, []
        for meter, first, last in zip(self.meters, self.values, after, strict=True):
            found = {name: value for name, value in meter.joules(first, last, seconds).items() if value >= 0}
            spent |= found
            how += [meter.how] if found else []
        if not spent:
            return {"absent": "; ".join(self.absent) or "the meters told nothing"}
        return {"joules": spent, "kind": "measured", "how": "; ".join(how)}


def find_meters(provider: str = "cpu", root: Path = sysfs.ROOT) -> tuple[tuple[Meter, ...], tuple[str, ...]]:
    """The meters that can be read here, and why the others cannot.

    A board's sensor tells everything by itself; an NVIDIA GPU is metered beside the processor when the ``provider`` computes there.
    """
    board, why_no_board = _jetson(root)
    if board:
        return (board,), ()
    meters, reasons = [], []
    for meter, reason in (_rapl(root), *([_nvml()] if provider in nvml.PROVIDERS else [])):
        meters += [meter] if meter else []
        reasons += [reason] if reason else []
    return tuple(meters), (*reasons, why_no_board)


def _rapl(root: Path) -> tuple[Meter | None, str]:
    powercap = root / "sys/class/powercap"
    named = {folder: sysfs.text(folder / "name") for folder in sorted(powercap.glob("intel-rapl:*"))}
    zones = {name: folder for folder, name in named.items() if name.startswith("package")}
    for folder, name in named.items():
        package = powercap / folder.name.rpartition(":")[0]
        if name == "dram":
            zones[f"dram of {named.get(package, package.name)}"] = folder
    if not zones:
        return None, "no RAPL counters are here (a virtual machine, or no such processor)"
    readable = {name: folder for name, folder in zones.items() if sysfs.number(folder / "energy_uj") is not None}
    if not readable:
        return None, "RAPL counters are here and closed to this user; root may open them: chmod a+r /sys/class/powercap/*/energy_uj"
    return Rapl(readable), ""


def _jetson(root: Path) -> tuple[Meter | None, str]:
    """The rail that feeds the whole board: VDD_IN, or its older name POM_5V_IN."""
    for label in sorted((root / "sys/bus/i2c/drivers/ina3221").glob("*/hwmon/hwmon*/in*_label")):
        name, number = sysfs.text(label), label.name.removeprefix("in").removesuffix("_label")
        pair = label.with_name(f"in{number}_input"), label.with_name(f"curr{number}_input")
        if name in ("VDD_IN", "POM_5V_IN") and None not in map(sysfs.number, pair):
            return Jetson({name: pair}), ""
    return None, "no Jetson power sensor is here"


def _nvml() -> tuple[Meter | None, str]:
    found, reason = nvml.device()
    if found and found.ask("TotalEnergyConsumption") is None:
        return None, "this GPU counts no energy"
    return (Nvml(found), "") if found else (None, reason)
