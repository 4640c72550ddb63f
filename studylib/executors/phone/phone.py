"""A phone as a host: what it is, which tool measures on it, what it cannot do, and how warm it is."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from studylib.artifacts.store import content_hash
from studylib.errors import TrialError
from studylib.executors.phone.adb import ANSWER_S, FOLDER, Adb, attached
from studylib.executors.phone.benchmark_model import DELEGATES
from studylib.machine.hardware import Host, field, instruction_sets
from studylib.runtimes.base import SESSIONS
from studylib.scenarios import USUAL_SCENARIOS

# The runtime that the tool is of.
RUNTIME = "litert"
# Where a tool may lie that somebody put there by hand.
_TOOL = f"{FOLDER}/benchmark_model"
_GET_ONE = "give LiteRT's android_aarch64_benchmark_model in BENCHMARK_MODEL (params/android.yaml says where it is)"
_FACTS = {
    "machine": "uname -m",
    "kernel": "uname -r",
    "soc": "getprop ro.soc.model",
    "present": "cat /sys/devices/system/cpu/present",
    "granted": "nproc",
    "memory": "cat /proc/meminfo",
    "processor": "cat /proc/cpuinfo",
    "tool": f"test -x {_TOOL} && sha256sum {_TOOL}",
}
# Temperatures outside of these are those of sensors that are off; what is read is in thousandths of a degree.
_SENSIBLE_C = (1.0, 150.0)
_THERMAL = "cat /sys/class/thermal/thermal_zone*/temp 2>/dev/null; dumpsys thermalservice 2>/dev/null; true"


@dataclass(frozen=True)
class Phone:
    """An attached phone. ``tool``: a benchmark_model on this computer, to be pushed; None for the one on the phone.

    ``tool_sha256`` names its version, since it has no other; ``why_no_tool`` says why there is none.
    """

    adb: Adb
    host: Host
    tool: Path | None = None
    tool_sha256: str = ""
    why_no_tool: str = ""

    @property
    def version(self) -> str:
        return f"benchmark_model {self.tool_sha256[:12]}"

    @property
    def tool_path(self) -> str:
        """Where the tool lies on the phone when nothing has to be pushed."""
        return _TOOL

    def why_not(self, runtime: str, provider: str, scenario: str, settings: Mapping[str, str]) -> str | None:
        """Why a trial cannot be measured on the phone, or None when it can."""
        if runtime != RUNTIME:
            return f"on a phone {RUNTIME} is measured, by its tool benchmark_model; {runtime} has no such tool there"
        if provider not in ("cpu", *DELEGATES):
            return f"{RUNTIME}/{provider} is of another kind of phone; on Android there are cpu, {', '.join(DELEGATES)}"
        if scenario not in USUAL_SCENARIOS:
            return f"benchmark_model asks one query after the other; the scenario '{scenario}' comes otherwise"
        if settings.get(SESSIONS, "1") != "1":
            return f"benchmark_model opens a file once; {settings[SESSIONS]} {SESSIONS} cannot be asked of it"
        return self.why_no_tool or None

    def thermal(self, timeout_s: float) -> dict:
        """How warm the phone says it is: ``thermal_status`` (0 none to 6 shutdown) and ``temperature_max_c``; absent where it is silent."""
        _, lines = self.adb.shell(["sh", "-c", _THERMAL], timeout_s)
        status = next((int(found[1]) for line in lines if (found := re.search(r"Thermal Status: (\d+)", line))), None)
        told = [int(line) / 1000 for line in lines if re.fullmatch(r"\d{4,7}", line.strip())]
        told += [float(found[1]) for line in lines if (found := re.search(r"Temperature\{mValue=(\d+\.?\d*),", line))]
        warm = [degrees for degrees in told if _SENSIBLE_C[0] <= degrees <= _SENSIBLE_C[1]]
        return ({} if status is None else {"thermal_status": status}) | ({"temperature_max_c": max(warm)} if warm else {})


def disturbances(before: dict, after: dict) -> dict:
    """What two readings of `Phone.thermal` tell of the time between them: the worst of both; a status above none is a throttle event."""
    found = {name: max(one[name] for one in (before, after) if name in one) for name in before | after}
    if "thermal_status" in found:
        found["throttle_events"] = int(found["thermal_status"] > 0)
    return found


def find_phone(environment: Mapping[str, str] = os.environ) -> tuple[Phone | None, str]:
    """The phone that adb reaches, with its facts and its tool; or None and in words why there is none and what to do."""
    adb, why = attached(environment)
    if adb is None:
        return None, why
    script = "; ".join(f"echo '== {name}'; {command} 2>/dev/null" for name, command in _FACTS.items())
    try:
        _, lines = adb.shell(["sh", "-c", f"{script}; true"], ANSWER_S)
    except TrialError as error:
        return None, str(error)
    told = _sections(lines)
    if not told["machine"] or not field(told["memory"], "MemTotal"):
        return None, "the device does not say what it is (`adb shell uname -m` and `cat /proc/meminfo` must answer)"
    return Phone(adb, host_of(told), **_tool(environment.get("BENCHMARK_MODEL"), told["tool"])), ""


def host_of(told: dict[str, str]) -> Host:
    """The phone's own facts, from what its commands wrote."""
    cpus = _count(told["present"]) or (int(told["granted"]) if told["granted"].isdigit() else 1)
    return Host(
        system="Android",
        machine=told["machine"],
        processor=told["soc"] or field(told["processor"], "Hardware", "model name", "Model") or told["machine"],
        isa=instruction_sets(told["processor"]),
        cpus=cpus,
        threads=int(told["granted"]) if told["granted"].isdigit() else cpus,
        memory_bytes=int(field(told["memory"], "MemTotal").split()[0]) * 1024,
        device_tree="",
        nvidia_gpu="",
        usb_vendors=(),
        kernel=told["kernel"],
    )


def _tool(given: str | None, on_phone: str) -> dict:
    """Which benchmark_model measures: the one that the user names here, otherwise the one on the phone, as fields of `Phone`."""
    if given:
        path = Path(given).resolve()
        if not path.is_file():
            return {"why_no_tool": f"BENCHMARK_MODEL is '{given}', which is no file here; {_GET_ONE}"}
        return {"tool": path, "tool_sha256": content_hash(path)}
    digest = on_phone.split(" ")[0]
    if re.fullmatch(r"[0-9a-f]{64}", digest):
        return {"tool_sha256": digest}
    return {"why_no_tool": f"no benchmark_model is here, nor one that may run (chmod 755) at {_TOOL} on the phone; {_GET_ONE}"}


def _sections(lines: Sequence[str]) -> dict[str, str]:
    found: dict[str, list[str]] = {name: [] for name in _FACTS}
    name = ""
    for line in lines:
        if line.removeprefix("== ") in found and line.startswith("== "):
            name = line.removeprefix("== ")
        elif name:
            found[name].append(line)
    return {name: "\n".join(content).strip() for name, content in found.items()}


def _count(ranges: str) -> int:
    """How many processors ``0-3,6`` are; 0 where that cannot be read."""
    parts = [part.split("-") for part in ranges.split(",") if re.fullmatch(r"\d+(-\d+)?", part)]
    return sum(int(part[-1]) - int(part[0]) + 1 for part in parts)
