"""Is this machine fit to measure? What would disturb a long run, with its cause and its remedy, before the run begins."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from studylib.machine import sysfs
from studylib.machine.hardware import Host
from studylib.machine.wandering import Wandering

# Share of all processors that others may keep busy, degrees below the limit, and bytes of swap: beyond, it is said.
_BUSY_SHARE = 0.15
_MARGIN_C = 10.0
_SWAP_BYTES = 64 * 2**20
_STEAL_SHARE = 0.01
_LOOK_S = 0.4


@dataclass(frozen=True)
class Concern:
    """One thing that makes measurements worse here, and what to do about it."""

    cause: str
    remedy: str


def fitness(host: Host, threads: int, root: Path = sysfs.ROOT, sleep: Callable[[float], None] = time.sleep) -> list[Concern]:
    """What to know or mend before measuring with ``threads`` threads on ``host``; empty when nothing speaks against it.

    Reads files, and looks for ``_LOOK_S`` seconds how busy the processors are: the load average would still tell of what
    this study itself did before.
    """
    checks = (
        _clock(root),
        _boost(root),
        _quota(root),
        _busy(root, sleep) or _load(host, root),
        _swap(root),
        _heat(root),
        _siblings(root, threads),
        _virtual(root),
        _battery(root),
    )
    return [advice for advice in checks if advice]


def wandering(found: Wandering) -> Concern | None:
    """What a look at the machine's speed means for a study; None where it is steady."""
    return Concern(found.cause, found.remedy) if found.is_much else None


def _clock(root: Path) -> Concern | None:
    governors = sysfs.governors(root)
    slow = [name for name in governors if name != "performance"]
    if slow:
        cause = f"the frequency governor is {', '.join(slow)}: the clock follows the load"
        return Concern(cause, "sudo cpupower frequency-set -g performance")
    if governors:
        return None
    return Concern("clock and governor cannot be read here", "trust only interleaved comparisons and the A/A control of the run")


def _boost(root: Path) -> Concern | None:
    cpu = root / "sys/devices/system/cpu"
    off, on = sysfs.text(cpu / "intel_pstate/no_turbo"), sysfs.text(cpu / "cpufreq/boost")
    if off == "0" or on == "1":
        switch, value = ("intel_pstate/no_turbo", 1) if off else ("cpufreq/boost", 0)
        remedy = f"echo {value} | sudo tee /sys/devices/system/cpu/{switch} for the time of the study"
        return Concern("turbo is on: the clock depends on heat and on how many cores work", remedy)
    # Arm boards have no turbo, and where no governor is seen the clock is not seen either.
    if not off and not on and sysfs.governors(root) and "flags" in sysfs.table(root / "proc/cpuinfo", ":"):
        return Concern("whether the processor boosts its clock is unknown", "look into the firmware's settings and switch boost off there")
    return None


def _quota(root: Path) -> Concern | None:
    quota, allowed = sysfs.cpu_quota(root), len(sysfs.allowed_cpus(root))
    if quota is None or quota[0] >= allowed:
        return None
    cause = f"a CPU quota grants {quota[0]:g} of the {allowed} processors that are allowed: threads are stopped when it is used up"
    return Concern(cause, "pin processors instead (docker --cpuset-cpus, cpuset.cpus), or raise the quota")


def _busy(root: Path, sleep: Callable[[float], None]) -> Concern | None:
    begun = sysfs.processor_ticks(root)
    if not begun:
        return None
    sleep(_LOOK_S)
    ended = sysfs.processor_ticks(root)
    share = (ended["busy"] - begun["busy"]) / max(1, ended["all"] - begun["all"])
    if share <= _BUSY_SHARE:
        return None
    return Concern(f"other programs keep {share:.0%} of the processors busy right now", "end them, or measure at a quieter hour")


def _load(host: Host, root: Path) -> Concern | None:
    words = sysfs.text(root / "proc/loadavg").split()
    if not words or float(words[0]) <= host.cpus:
        return None
    cause = f"the load of the last minute is {float(words[0]):.1f} on {host.cpus} processors"
    return Concern(cause, "wait until what ran has ended; `uptime` shows it fall")


def _swap(root: Path) -> Concern | None:
    told = sysfs.table(root / "proc/meminfo", ":")
    used = [1024 * int(told[name].split()[0]) for name in ("SwapTotal", "SwapFree") if name in told]
    if len(used) < 2 or used[0] - used[1] <= _SWAP_BYTES:
        return None
    cause = f"{(used[0] - used[1]) / 1e6:.0f} MB are swapped out: memory is short"
    return Concern(cause, "close programs; sudo swapoff -a && sudo swapon -a")


def _heat(root: Path) -> Concern | None:
    close = [(limit - now, now, limit) for now, limit in sysfs.temperatures_c(root) if limit and limit - now < _MARGIN_C]
    if not close:
        return None
    _, now, limit = min(close)
    cause = f"a sensor shows {now:.0f} °C; at {limit:.0f} °C the machine slows down"
    return Concern(cause, "let it cool, clean the fan, or fix a lower clock")


def _siblings(root: Path, threads: int) -> Concern | None:
    allowed = sysfs.allowed_cpus(root)
    of = {cpu: sysfs.text(sysfs.cpu_folder(cpu, root) / "topology/thread_siblings_list") for cpu in allowed}
    cores = {siblings for siblings in of.values() if siblings}
    if not cores or threads <= len(cores):
        return None
    first = ",".join(str(min(sysfs.cpu_list(siblings))) for siblings in sorted(cores, key=lambda words: sysfs.cpu_list(words)))
    cause = f"{threads} threads share {len(cores)} cores (SMT): two on one core slow each other down, and not evenly"
    return Concern(cause, f"taskset -c {first} make study …, or declare threads: {len(cores)}")


def _virtual(root: Path) -> Concern | None:
    told = sysfs.table(root / "proc/cpuinfo", ":")
    flags = told.get("flags", "").split()
    if "hypervisor" not in flags and not sysfs.text(root / "sys/hypervisor/type"):
        return None
    ticks = sysfs.processor_ticks(root)
    stolen = ticks["steal"] / ticks["busy"] if ticks.get("busy") else 0.0
    if stolen > _STEAL_SHARE:
        cause = f"this is a virtual machine, and others have taken {stolen:.1%} of its busy time since it started"
        return Concern(cause, "ask for dedicated cores; disturbed repetitions are measured again, within a budget")
    return Concern("this is a virtual machine: who else uses its cores is not seen", "compare only what was measured interleaved")


def _battery(root: Path) -> Concern | None:
    supplies = sorted((root / "sys/class/power_supply").glob("*"))
    if not any(sysfs.text(supply / "type") == "Battery" and sysfs.text(supply / "status") == "Discharging" for supply in supplies):
        return None
    return Concern("it runs on battery: the clock is held down", "plug it in")
