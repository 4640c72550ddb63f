"""Draws the model of a seed, judges it, and does so in processes of which one that dies costs the model it was busy with."""

import importlib
import multiprocessing
import os
import shutil
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np

from tests.fuzz import judging

# Of one model in this process; of one whose jobs have processes of their own, where a hang is waited for.
_TIMEOUT_S, _ISOLATED_S = 300.0, 1200.0
_GENERATORS = ("random_keras", "random_onnx", "random_litert")
_SHARES = (0.4, 0.4, 0.2)


def draw(seed: int, folder: Path, only: str = ""):
    """The model of a seed."""
    rng = np.random.default_rng(seed)
    name = str(rng.choice(_GENERATORS, p=_SHARES))
    name = next((one for one in _GENERATORS if one.endswith(only)), name) if only else name
    return importlib.import_module(f"tests.fuzz.{name}").draw(rng, folder)


def one(seed: int, only: str = "", isolated: bool = False):
    """The verdict on the model of a seed."""
    folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{seed}-"))
    try:
        return judging.judge(seed, draw(seed, folder, only), folder / "outputs", isolated=isolated)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def serve(connection, only: str) -> None:
    """Judge seeds until there are no more: a process that dies takes only the model that it was busy with."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1), os.dup2(quiet, 2)
    from studylib.machine.hardware import granted_threads
    from studylib.runtimes import RUNTIMES, Options

    # Of one process TensorFlow takes the threads once, and before it computes anything.
    RUNTIMES["tensorflow"].activate(Options("cpu", granted_threads()))
    while (asked := connection.recv()) is not None:
        seed, isolated = asked
        try:
            connection.send(one(seed, only, isolated))
        except Exception as error:  # a crash of the study itself is what is looked for
            connection.send((seed, f"{type(error).__name__}: {error}", traceback.format_exc()))


class Helper:
    def __init__(self, only: str):
        self.only, self.seed = only, None
        self.start()

    def start(self) -> None:
        ours, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=serve, args=(theirs, self.only), daemon=True)
        self.process.start()
        theirs.close()
        self.connection = ours

    def give(self, seed: int, isolated: bool = False) -> None:
        self.seed, self.isolated, self.since = seed, isolated, time.monotonic()
        self.connection.send((seed, isolated))

    def take(self):
        """A verdict, a text of what went wrong, or None while it is busy."""
        if self.connection.poll(0.05):
            try:
                return self.connection.recv()
            except EOFError:
                self.process.join()
                died = f"the process died with {self.process.exitcode}"
                self.start()
                return self._again(died)
        limit_s = _ISOLATED_S if self.isolated else _TIMEOUT_S
        if time.monotonic() - self.since > limit_s:
            self.process.kill()
            self.start()
            return self._again(f"no answer within {limit_s:g} s")
        return None

    def _again(self, what: str):
        """A runtime that takes its process with it costs one row of a study: what counts is what the study then says."""
        if self.isolated:
            return self.seed, what, ""
        self.give(self.seed, isolated=True)
        return None
