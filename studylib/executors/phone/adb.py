"""A device reached by adb: found, asked, given files. Every call is bounded in time; what is written there lies in `FOLDER`."""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from studylib.build.executor import OnLine, unheard
from studylib.errors import Kind, TrialError
from studylib.executors.child import Children, follow

# The one place on the device that is written to: from here its shell may run programs.
FOLDER = "/data/local/tmp/studylib"
# How long a device may take to say who it is; adb's own server may have to start first.
ANSWER_S = 8.0
_LOOK_AGAIN_S = 1.0
_KEPT_LINES = 2000
# Says its process id, becomes the program, and says how that ended: old devices hand on no exit status.
_WRAPPED = "sh -c 'echo pid $$; exec \"$@\"' sh {} 2>&1; printf '\\nexit %s\\n' $?"
_STATES = {
    "unauthorized": "the device has not authorised this computer (unlock it and accept the dialog on its screen)",
    "offline": "adb calls the device offline (plug it in again, or `adb reconnect`)",
}


@dataclass(frozen=True)
class Adb:
    """One authorised device. ``program`` is adb itself; ``serial`` names the device and enters no result."""

    program: str
    serial: str
    _children: Children = field(default_factory=Children, repr=False, compare=False)

    def interrupt(self) -> None:
        """End the call that another thread waits for, and all until `resume`; what runs on the device is ended there too."""
        self._children.kill()

    def resume(self) -> None:
        self._children.renew()

    def shell(self, words: Sequence[str], timeout_s: float, on_line: OnLine = unheard) -> tuple[int, list[str]]:
        """The exit status of a program on the device, and the lines it wrote, each also told to ``on_line``.

        Raises `TrialError` when the time is over, and the program is killed there too; or when the device goes away.
        """
        lines, ids = deque(maxlen=_KEPT_LINES), []

        def hear(line: str) -> float | None:
            is_id = not ids and line.startswith("pid ")
            (ids if is_id else lines).append(line.rstrip("\r"))
            return None if is_id else on_line(lines[-1])

        try:
            self._call(["shell", _WRAPPED.format(shlex.join(words))], timeout_s, hear)
        except BaseException:
            # An interruption too must not leave a program running beside the next measurement.
            self._kill(ids)
            raise
        told = [line for line in lines if line]
        ended = re.fullmatch(r"exit (\d+)", told[-1]) if told else None
        if not ended:
            if self._children.is_killed:
                self._kill(ids)
            raise TrialError(f"the device went away: {_last(told)}")
        return int(ended[1]), told[:-1]

    def why_gone(self, wait_s: float) -> str:
        """Why adb does not reach the device any more, in words, when it has not come back within ``wait_s``; empty when it is there."""
        deadline = time.monotonic() + wait_s
        while True:
            try:
                state = _devices(self.program).get(self.serial, "")
                why = "adb lists it no more (plug it in again)" if not state else _STATES.get(state, f"adb says '{state}' of it")
            except TrialError as error:
                state, why = "", str(error)
            if state == "device" or time.monotonic() >= deadline:
                return "" if state == "device" else why
            time.sleep(_LOOK_AGAIN_S)

    def push(self, path: Path, remote: str, timeout_s: float) -> None:
        """Copy a file to the device. Raises `TrialError` with adb's own words."""
        self._copy(["push", str(path), remote], timeout_s)

    def pull(self, remote: str, path: Path, timeout_s: float) -> None:
        """Copy a file from the device. Raises `TrialError` with adb's own words."""
        self._copy(["pull", remote, str(path)], timeout_s)

    def _copy(self, words: list[str], timeout_s: float) -> None:
        lines: deque[str] = deque(maxlen=_KEPT_LINES)
        if self._call(words, timeout_s, lines.append):
            raise TrialError(f"adb {words[0]} failed: {_last(lines)}")

    def _call(self, words: list[str], timeout_s: float, on_line: OnLine) -> int:
        try:
            return _run([self.program, "-s", self.serial, *words], timeout_s, on_line, self._children)
        except subprocess.TimeoutExpired:
            raise TrialError(
                f"timeout: no answer from the device within {timeout_s:.0f} s; what ran there is ended", Kind.TIMEOUT
            ) from None

    def _kill(self, ids: list[str]) -> None:
        """End what still runs on the device; it may be gone already, and so may the device."""
        if ids and ids[0].removeprefix("pid ").isdigit():
            command = [self.program, "-s", self.serial, "shell", f"kill -9 {ids[0].removeprefix('pid ')}"]
            with contextlib.suppress(TrialError, subprocess.TimeoutExpired):
                _run(command, ANSWER_S, unheard, Children())


def attached(environment: Mapping[str, str] = os.environ) -> tuple[Adb | None, str]:
    """The device to use (``ADB``, ``ANDROID_SERIAL``), or None and in words why there is none and what to do."""
    name = environment.get("ADB") or "adb"
    program = shutil.which(name, path=environment.get("PATH"))
    if program is None:
        return None, f"{name} cannot be found (install Android's platform tools, or name adb with ADB=path)"
    try:
        devices = _devices(program)
    except TrialError as error:
        return None, str(error)
    wanted = environment.get("ANDROID_SERIAL")
    if wanted and wanted not in devices:
        return None, "adb lists no device with the serial number in ANDROID_SERIAL (`adb devices` names those it has)"
    asked = {wanted: devices[wanted]} if wanted else devices
    usable = [serial for serial, state in asked.items() if state == "device"]
    if len(usable) > 1:
        return None, f"adb lists {len(usable)} devices (set ANDROID_SERIAL to one that `adb devices` names)"
    if usable:
        return Adb(program, usable[0]), ""
    if not asked:
        return None, "adb lists no device (plug the phone in, and switch USB debugging on in its developer options)"
    state = next(iter(asked.values()))
    return None, _STATES.get(state, f"adb says '{state}' of the device (`adb devices` and the platform tools' help say more)")


def _devices(program: str) -> dict[str, str]:
    """Serial number to state, as ``adb devices`` prints them below its heading. Raises `TrialError`."""
    lines: deque[str] = deque(maxlen=_KEPT_LINES)
    try:
        status = _run([program, "devices"], ANSWER_S, lines.append, Children())
    except subprocess.TimeoutExpired:
        raise TrialError(f"adb gave no answer within {ANSWER_S:g} s (`adb kill-server`, then again)") from None
    if status:
        raise TrialError(f"adb failed: {_last(lines)} (`adb devices` must work first)")
    rows = [line.split("\t") for line in lines if "\t" in line]
    return {serial.strip(): state.strip() for serial, state, *_ in rows}


def _run(command: list[str], timeout_s: float, on_line: OnLine, children: Children) -> int:
    """The exit status of a program here. Raises TimeoutExpired, and `TrialError` when it cannot be started."""
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
    except OSError as error:
        raise TrialError(f"{command[0]} cannot be run: {error.strerror}") from None
    with children.holding(process):
        follow(process, timeout_s, on_line)
    return process.returncode


def _last(lines: Sequence[str]) -> str:
    return next((line.strip() for line in reversed(lines) if line.strip()), "adb said nothing")
