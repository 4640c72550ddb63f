"""Processes that hold a session each and measure in blocks when they are asked (`studylib.scenarios.blocks`)."""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from studylib.build.executor import Member
from studylib.errors import TrialError
from studylib.executors.child import end, follow, read_result, too_long
from studylib.machine.process_memory import free_bytes, resident_of
from studylib.scenarios.blocks import ASK, END, SAID

# Of the memory that is free, what one more process of the largest kind so far must leave to everybody else.
_TO_SPARE = 0.25


def taking_turns(starts: list[Callable[[], tuple[subprocess.Popen, Path]]], timeout_s: float) -> list[Member | TrialError | None]:
    """Start processes one after the other, each once the one before is ready; None for those that memory would not hold as well."""
    members: list[Member | TrialError | None] = []
    largest = 0
    for start in starts:
        if largest > (1 - _TO_SPARE) * free_bytes():
            return members + [None] * (len(starts) - len(members))
        try:
            member = Turn(*start(), timeout_s)
            largest = max(largest, resident_of(member.process.pid))
        except TrialError as error:
            member = error
        members.append(member)
    return members


class Turn(Member):
    """A process that was started to take turns; ready when this returns. ``timeout_s``: for its start, and for each block."""

    def __init__(self, process: subprocess.Popen, result: Path, timeout_s: float):
        self.process, self._result, self._timeout_s = process, result, timeout_s
        self._tail, self._rest = deque(maxlen=40), b""
        self._said()
        self._hold()

    def block(self, number: int) -> tuple[int, int]:
        self._go_on(f"{ASK} {number}")
        said = self._said()
        self._hold()
        return said

    def result(self) -> dict:
        self._go_on(END)
        try:
            self._tail.extend(follow(self.process, self._timeout_s, lambda line: None))
        except subprocess.TimeoutExpired:
            raise too_long(self._timeout_s) from None
        return read_result(self.process, self._result, self._tail)

    def _hold(self) -> None:
        """Stop all of its threads: some wait for work by spinning, for up to 30 ms (ONNX Runtime), and would be seen in the next block."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGSTOP)

    def _go_on(self, word: str) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGCONT)
        try:
            self.process.stdin.write(f"{word}\n".encode())
            self.process.stdin.flush()
        except BrokenPipeError:
            self._said()  # it has ended, and left its last words

    def _said(self) -> tuple[int, int]:
        """What it says after its turn. Raises `TrialError` when it ended instead, or said nothing for too long."""
        until = time.monotonic() + self._timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while True:
                while b"\n" in self._rest:
                    line, _, self._rest = self._rest.partition(b"\n")
                    if line.startswith(b'{"%b": ' % SAID.encode()):
                        return tuple(json.loads(line)[SAID])
                    self._tail.append(line.decode(errors="replace"))
                if not selector.select(max(0.0, until - time.monotonic())):
                    end(self.process)  # what hangs may compute, and would be seen in all others
                    raise too_long(self._timeout_s)
                chunk = os.read(self.process.stdout.fileno(), 65536)
                if not chunk:
                    self.process.wait(self._timeout_s)
                    read_result(self.process, self._result, self._tail)
                    raise TrialError("error: the process ended although it was to take turns")
                self._rest += chunk
