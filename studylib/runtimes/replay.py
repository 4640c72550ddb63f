"""Replays a recording on a clock of its own: timing code and its failures are tested without waiting.

A recording is a JSON file: ``values_ns`` (the latencies, repeated when they run out), ``outputs`` (one row per
sample, or absent), and ``events``: query number to ``abort``, ``hang``, ``raise`` or ``exhaust`` (memory).
"""

import json
import os
import time
from pathlib import Path
from typing import ClassVar

import numpy as np

from studylib.runtimes.base import Inputs, Options, Outputs, Runtime, Session


class Replay(Runtime):
    """Recorded latencies and a fake clock."""

    name: ClassVar[str] = "replay"
    format: ClassVar[str] = "replay"
    package: ClassVar[str] = "studylib"

    def activate(self, options: Options) -> None:
        """A recording needs no framework."""

    def _load(self, path: Path, options: Options) -> Session:
        return _Session(json.loads(Path(path).read_text(encoding="utf-8")))


class _Session(Session):
    def __init__(self, recording: dict):
        self._values = recording["values_ns"]
        self._outputs = recording.get("outputs")
        self._events = {int(query): event for query, event in recording.get("events", {}).items()}
        self._queries = 0
        self._samples = 0
        self._now = 0

    @property
    def clock(self):
        return lambda: self._now

    def run(self, inputs: Inputs) -> Outputs:
        size = len(next(iter(inputs.values())))
        _EVENTS[self._events.get(self._queries, "answer")]()
        self._now += self._values[self._queries % len(self._values)]
        rows = range(self._samples, self._samples + size)
        self._queries += 1
        self._samples += size
        if self._outputs is None:
            return {"output_0": np.zeros((size, 1), np.float32)}
        return {"output_0": np.array([self._outputs[row % len(self._outputs)] for row in rows], np.float32)}

    def placement(self) -> str:
        return "replay"


def _answer() -> None:
    """The usual event: nothing happens."""


def _hang() -> None:
    time.sleep(3600)


def _raise() -> None:
    raise RuntimeError("the recording says: raise")


def _exhaust() -> None:
    raise MemoryError("the recording says: out of memory")


_EVENTS = {"answer": _answer, "abort": os.abort, "hang": _hang, "raise": _raise, "exhaust": _exhaust}
