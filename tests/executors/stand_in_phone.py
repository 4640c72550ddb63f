"""A stand-in for adb, a phone and LiteRT's benchmark_model, because none of the three is here.

The "phone" is a folder. `adb` is a real executable that runs shell commands with the phone's paths turned into that folder; the
tool prints what the real one prints, and where outputs are asked for it really runs the file, in ai_edge_litert. What it cannot
show: whether a real adb, a real phone and a real delegate behave like this.
"""

import json
import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

SERIAL = "R5CT1 0'X"
ONE = f"List of devices attached\n{SERIAL}\tdevice\n\n"
CPUINFO = """processor\t: 0
BogoMIPS\t: 49.15
Features\t: fp asimd evtstrm aes crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x51

Hardware\t: Qualcomm Technologies, Inc SM8250
"""
THERMAL = """IsStatusOverride: false
Thermal Status: {status}
Cached temperatures:
\tTemperature{{mValue=0.0, mType=2, mName=SUBBAT, mStatus=0}}
\tTemperature{{mValue=38.5, mType=0, mName=AP, mStatus=0}}
Current cooling devices from HAL:
\tCoolingDevice{{mValue=100, mType=2, mName=thermal-cpufreq-0}}
"""

_ADB = r"""
import pathlib, shutil, subprocess, sys, time, os
PHONE = pathlib.Path(@PHONE@)
def inside(text):
    for place in ("/data/local/tmp", "/proc/", "/sys/"):
        text = text.replace(place, f"{PHONE}{place}")
    return text
with (PHONE / "asked").open("a") as file:
    print(sys.argv[1:], file=file)
if (PHONE / "slow").exists():
    time.sleep(60)
if sys.argv[1:] == ["devices"]:
    text = (PHONE / "devices").read_text()
    print(text.split("\n")[0] if (PHONE / "unplugged").exists() else text, end="")
    sys.exit((PHONE / "broken").exists())
dash, serial, verb, *words = sys.argv[1:]
assert dash == "-s"
def gone():
    if (PHONE / "unplugged").exists() or f"{serial}\tdevice" not in (PHONE / "devices").read_text():
        print(f"error: device '{serial}' not found", file=sys.stderr)
        sys.exit(1)
gone()
if verb == "shell":
    (command,) = words
    path = f"{PHONE}/bin:{os.environ['PATH']}"
    # A session of its own: what runs on a phone outlives the adb that asked for it.
    done = subprocess.run(["sh", "-c", inside(command)], env=os.environ | {"PATH": path}, start_new_session=True)
    gone()
    sys.exit(done.returncode)
source, target = (words[0], inside(words[1])) if verb == "push" else (inside(words[0]), words[1])
if not pathlib.Path(source).exists():
    print(f"adb: error: failed to stat remote object '{words[0]}': No such file or directory", file=sys.stderr)
    sys.exit(1)
shutil.copyfile(source, target)
if verb == "push" and (PHONE / "damages").exists():
    pathlib.Path(target).write_bytes(b"cut")
print(f"{words[0]}: 1 file {verb}ed, 0 skipped.")
"""

_TOOL = r"""
import json, os, pathlib, signal, sys, time
PHONE = pathlib.Path(@PHONE@)
SAYS = json.loads((PHONE / "says").read_text())
given = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[1:])
with (PHONE / "runs").open("a") as file:
    print(json.dumps(given), file=file)
def say(text):
    print(text, file=sys.stderr, flush=True)
event = SAYS.get("event")
if event == "garbage":
    say("INFO: count=lots avg=NaN\nInference timings in us: Init: soon")
    sys.exit(0)
if event == "hang":
    (PHONE / "hanging").write_text(str(os.getpid()))
    time.sleep(60)
if event in ("unplug", "restart"):
    if event == "unplug":
        (PHONE / "unplugged").touch()
    os.kill(os.getppid(), signal.SIGKILL)
    sys.exit(1)
if event == "crash":
    say("INFO: Loaded model")
    os.kill(os.getpid(), signal.SIGSEGV)
if event == "exhaust":
    say("INFO: Loaded model")
    os.kill(os.getpid(), signal.SIGKILL)  # as Android ends what takes too much memory
if event == "refuse":
    say("ERROR: Failed to allocate tensors!\nERROR: Benchmarking failed.")
    sys.exit(1)
unknown = [f"--{name}={value}" for name, value in given.items() if name in SAYS.get("unknown", [])]
if unknown:
    say("WARN: Unconsumed cmdline flags: " + " ".join(unknown))
delegate = "GPU" if given.get("use_gpu") == "true" else "NNAPI" if given.get("use_nnapi") == "true" else ""
if delegate:
    applied = f"INFO: Explicitly applied {delegate} delegate, and the model graph will be"
    say({
        "complete": f"{applied} completely executed by the delegate.",
        "partial": f"{applied} partially executed by the delegate w/ 3 delegate kernels.",
        "none": f"INFO: Though {delegate} delegate is explicitly applied, the model graph will not be executed by the delegate.",
        "silent": f"WARN: {delegate} acceleration is unsupported on this platform.",
    }[SAYS.get("delegate", "complete")])
runs = int(given["num_runs"])
number = len((PHONE / "runs").read_text().splitlines())
mean = SAYS["mean_us"] * (1 + 0.001 * (number % 7))
say("INFO: Initialized session in 12.5ms.")
say("INFO: count=3 first=2500 curr=1300 min=1300 max=2500 avg=1720 std=540 p5=1300 median=1360 p95=2500\n")
if runs == 1:
    say(f"INFO: count=1 curr={mean:.0f} p5={mean:.0f} median={mean:.0f} p95={mean:.0f}\n")
else:
    say(f"INFO: count={runs} first=1250 curr=1190 min=1180 max=1290 avg={mean:g} std=25 p5=1180 median=1195 p95=1280\n")
say(f"INFO: Inference timings in us: Init: 12500, First inference: 2500, Warmup (avg): 1720, Inference (avg): {mean:g}")
say("INFO: Memory footprint delta from the start of the tool (MB): init=3.5 overall=8.25")
if "output_filepath" in given and "output_filepath" not in SAYS.get("unknown", []) and event != "forget":
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter
    interpreter = Interpreter(model_path=given["graph"], num_threads=1)
    files = [value.split(":", 1)[1] for value in given["input_layer_value_files"].split(",")]
    shapes = [[int(size) for size in shape.split(",")] for shape in given["input_layer_shape"].split(":")]
    for tensor, shape in zip(interpreter.get_input_details(), shapes, strict=True):
        interpreter.resize_tensor_input(tensor["index"], shape)
    interpreter.allocate_tensors()
    for tensor, file, shape in zip(interpreter.get_input_details(), files, shapes, strict=True):
        interpreter.set_tensor(tensor["index"], np.fromfile(file, tensor["dtype"]).reshape(shape))
    interpreter.invoke()
    answers = [interpreter.get_tensor(tensor["index"]) for tensor in interpreter.get_output_details()]
    content = b"".join((values + values.dtype.type(SAYS.get("spoil", 0))).tobytes() for values in answers)
    pathlib.Path(given["output_filepath"]).write_bytes(content[: SAYS.get("cut")])
"""


@dataclass(frozen=True)
class StandIn:
    """The phone's ``folder``, and the ``tool`` as it lies on the computer."""

    folder: Path
    tool: Path

    def says(self, **facts) -> None:
        """What the tool does from now on: ``mean_us``, ``delegate``, ``event``, ``unknown`` flags, ``spoil``, ``cut``."""
        (self.folder / "says").write_text(json.dumps({"mean_us": 1200.0} | facts))

    def runs(self) -> list[dict]:
        """The flags of each process of the tool so far."""
        return [json.loads(line) for line in (self.folder / "runs").read_text().splitlines()]

    def asked(self) -> str:
        """All that adb was called with."""
        return (self.folder / "asked").read_text()

    def program(self, name: str, script: str) -> None:
        """A program of the phone, as a shell script."""
        executable(self.folder / "bin" / name, f"#!/bin/sh\n{script}\n")


def executable(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def attach(folder: Path, monkeypatch, devices: str = ONE, thermal: int = 0, **environment: str) -> StandIn:
    """Put the stand-in on PATH, with a phone in ``folder``; ``environment`` may name ADB, ANDROID_SERIAL or BENCHMARK_MODEL."""
    phone = folder / "phone"
    for place in ("data/local/tmp", "proc", "sys/devices/system/cpu", "sys/class/thermal/thermal_zone0", "sys/class/thermal/thermal_zone1"):
        (phone / place).mkdir(parents=True)
    (phone / "devices").write_text(devices)
    (phone / "runs").touch()
    (phone / "proc/cpuinfo").write_text(CPUINFO)
    (phone / "proc/meminfo").write_text("MemTotal:        7812345 kB\nMemFree:          123456 kB\n")
    (phone / "sys/devices/system/cpu/present").write_text("0-7\n")
    (phone / "sys/class/thermal/thermal_zone0/temp").write_text("41250\n")
    (phone / "sys/class/thermal/thermal_zone1/temp").write_text("-273000\n")
    for name in ("adb", "tool"):
        source = (_ADB if name == "adb" else _TOOL).replace("@PHONE@", repr(str(phone)))
        executable(folder / ("host/adb" if name == "adb" else "it's the tool $x.bin"), f"#!{sys.executable}\n{source}")
    found = StandIn(phone, folder / "it's the tool $x.bin")
    found.program("uname", '[ "$1" = -m ] && echo aarch64 || echo 5.10.198-android12')
    found.program("nproc", "echo 8")
    found.program("getprop", '[ "$1" = ro.soc.model ] && echo SM8250')
    found.program("dumpsys", f"cat <<'END'\n{THERMAL.format(status=thermal)}END")
    found.says()
    for name in ("ADB", "ANDROID_SERIAL", "STUDYLIB_ON_PHONE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", f"{folder / 'host'}:{os.environ['PATH']}")
    for name, value in ({"BENCHMARK_MODEL": str(found.tool)} | environment).items():
        monkeypatch.setenv(name, value)
    return found
