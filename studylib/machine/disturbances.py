"""What goes on beside a measurement: counters read before and after the timed values, never while they are taken.

`usage` is quick and stands next to the values; `sensors` reads more files and stands outside of it. Frequencies are seen at both
ends, and over the whole time where the kernel keeps ``time_in_state``: no thread samples beside what is measured.
"""

import os
import sys
from pathlib import Path

from studylib.machine import sysfs

# Reading a frequency can wake its processor for milliseconds on older kernels: a few of the allowed ones tell enough.
_MOST_CPUS = 16
# Bits of the Raspberry Pi's firmware word: under-voltage, frequency capped, throttled, soft temperature limit; all as of now.
_FIRMWARE_NOW = 0xF


def usage(root: Path = sysfs.ROOT) -> dict:
    """Counters of this process and of the processors; about 0.1 ms."""
    import resource

    found = {"load_1min": _load(root)} if _load(root) is not None else {}
    ticks = sysfs.processor_ticks(root)
    found |= {name: ticks[name] for name in ("steal", "busy") if ticks}
    quota = sysfs.cpu_quota(root)
    if quota:
        told = sysfs.table(quota[1] / "cpu.stat")
        found["quota_cpus"] = quota[0]
        found |= {name: int(told[name]) for name in ("nr_periods", "nr_throttled") if name in told}
        stopped = int(told["throttled_usec"]) * 1000 if "throttled_usec" in told else int(told.get("throttled_time", 0))
        found["throttled_ns"] = stopped
    own = resource.getrusage(resource.RUSAGE_SELF)
    return found | {
        "major_faults": own.ru_majflt,
        "minor_faults": own.ru_minflt,
        "involuntary_switches": own.ru_nivcsw,
        "voluntary_switches": own.ru_nvcsw,
    }


def sensors(root: Path = sysfs.ROOT) -> dict:
    """Clock, throttling and heat of the processors that this process may use."""
    cpus = sysfs.allowed_cpus(root)
    folders = [sysfs.cpu_folder(cpu, root) for cpu in cpus]
    clocks = [(folder, sysfs.number(folder / "cpufreq/scaling_cur_freq")) for folder in folders[:_MOST_CPUS]]
    times = {folder.name: sysfs.table(folder / "cpufreq/stats/time_in_state") for folder in folders[:_MOST_CPUS]}
    found = {
        "governor": ", ".join(sysfs.governors(root)),
        "frequency_hz": {folder.name: 1000 * khz for folder, khz in clocks if khz},
        "time_in_state": {name: {1000 * int(khz): int(ticks) for khz, ticks in states.items()} for name, states in times.items() if states},
        "temperature_c": max((now for now, _ in sysfs.temperatures_c(root)), default=None),
        "affinity": sysfs.table(root / "proc/self/status", ":").get("Cpus_allowed_list", ""),
        "throttle_events": _throttle_events(folders),
        "firmware": sysfs.text(root / "sys/devices/platform/soc/soc:firmware/get_throttled"),
    }
    return {name: value for name, value in found.items() if value not in ("", {}, None)}


def between(before: dict, after: dict) -> dict:
    """What went on between two readings of `usage` and `sensors`, joined: shares, events and ranges; absent where unreadable."""
    found = {name: after[name] - before[name] for name in _COUNTED if name in before and name in after}
    found |= {name: after[name] for name in ("governor", "affinity", "quota_cpus") if name in after}
    found |= {"load_1min": before["load_1min"]} if "load_1min" in before else {}
    busy = after.get("busy", 0) - before.get("busy", 0)
    if "steal" in before and "steal" in after:
        found["steal_share"] = (after["steal"] - before["steal"]) / busy if busy > 0 else 0.0
    periods = after.get("nr_periods", 0) - before.get("nr_periods", 0)
    if "nr_throttled" in before and "nr_throttled" in after:
        found["cgroup_throttled_share"] = (after["nr_throttled"] - before["nr_throttled"]) / periods if periods > 0 else 0.0
        found["cgroup_throttled_ns"] = after["throttled_ns"] - before["throttled_ns"]
    heat = [reading["temperature_c"] for reading in (before, after) if "temperature_c" in reading]
    found |= {"temperature_max_c": max(heat)} if heat else {}
    if int(after.get("firmware", "0"), 16) & _FIRMWARE_NOW:
        found["throttle_events"] = found.get("throttle_events", 0) + 1
    elif "firmware" in after:
        found.setdefault("throttle_events", 0)
    return found | _frequencies(before, after)


_COUNTED = ("major_faults", "minor_faults", "involuntary_switches", "voluntary_switches", "throttle_events")


def _frequencies(before: dict, after: dict) -> dict:
    """The range of clocks seen, and by what share the fastest processor was slower at the end than at the beginning."""
    seen = [hz for reading in (before, after) for hz in reading.get("frequency_hz", {}).values()]
    for cpu, states in after.get("time_in_state", {}).items():
        earlier = before.get("time_in_state", {}).get(cpu, {})
        seen += [hz for hz, ticks in states.items() if ticks > earlier.get(hz, 0)]
    found = {"frequency_min_hz": min(seen), "frequency_max_hz": max(seen)} if seen else {}
    if before.get("frequency_hz") and after.get("frequency_hz"):
        first, last = (max(reading["frequency_hz"].values()) for reading in (before, after))
        found["frequency_drop_share"] = max(0.0, 1 - last / first)
    return found


def _throttle_events(folders: list[Path]) -> int | None:
    """How often heat has slowed cores and their package since the machine started; None where the kernel does not count."""
    cores = [sysfs.number(folder / "thermal_throttle/core_throttle_count") for folder in folders]
    packages = [sysfs.number(folder / "thermal_throttle/package_throttle_count") for folder in folders]
    known = [count for count in [*cores, max((count for count in packages if count is not None), default=None)] if count is not None]
    return int(sum(known)) if known else None


def _load(root: Path) -> float | None:
    words = sysfs.text(root / "proc/loadavg").split()
    if words:
        return float(words[0])
    return os.getloadavg()[0] if root == sysfs.ROOT and sys.platform == "darwin" else None
