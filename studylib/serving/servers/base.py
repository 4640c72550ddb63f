"""What every server is: a process that serves one model, ready when an answer of it is right."""

import contextlib
import http.client
import os
import socket
import subprocess
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, TypeVar

from studylib.errors import Kind, TrialError
from studylib.runtimes.signature import Signature
from studylib.serving.clients import Address, RefusedByServerError, connected
from studylib.serving.own.backend import example
from studylib.serving.requests import Request

T = TypeVar("T")

# Between two tries to get an answer of a server that starts.
_PAUSE_S = 0.02
_TERMINATED_S = 25.0


@dataclass(frozen=True)
class Wishes:
    """How a server is to be started: ``path`` and ``backend`` are the model and the runtime behind the front.

    ``batch``, ``wait_ms``: requests that wait are put together up to so many samples, for at most so long. ``cpus``: the processors it
    gets, None for all. ``settings``: of the backend.
    """

    path: Path
    backend: str
    threads: int = 1
    sessions: int = 1
    batch: int = 1
    wait_ms: float = 0.0
    cpus: tuple[int, ...] | None = None
    settings: dict[str, str] = field(default_factory=dict)
    model: str = "model"


class Running:
    """A server that was started: where it answers, and its process. Leaving it as a context ends it.

    ``pid``: of the process that serves, which of a container is not the one that was started.
    """

    def __init__(self, process: subprocess.Popen, folder: tempfile.TemporaryDirectory | None):
        self.process, self.pid, self.address = process, process.pid, Address("127.0.0.1", {}, "")
        self.signature = Signature((), ())
        self.folder, self._folder, self._said = Path(folder.name) if folder else None, folder, deque(maxlen=60)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def said(self) -> str:
        """The last that it said, on one line."""
        return " | ".join(line.strip() for line in list(self._said)[-3:] if line.strip())[:400] or "it said nothing"

    def _read(self) -> None:
        for line in self.process.stdout:
            self._said.append(line)

    def line(self, start: str, timeout_s: float) -> str:
        """The first line that begins with ``start``. Raises `TrialError` where it does not come."""
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            found = next((line for line in list(self._said) if line.startswith(start)), None)
            if found:
                return found
            self.require_alive()
            time.sleep(_PAUSE_S)
        raise TrialError(f"timeout: the server was not ready within {timeout_s:g} s; it said: {self.said}", Kind.TIMEOUT)

    def require_alive(self) -> None:
        """Raise `TrialError` when the process has ended."""
        if self.process.poll() is not None:
            self._reader.join(1.0)
            raise TrialError(f"the server ended with status {self.process.returncode}; it said: {self.said}", Kind.CRASH)

    def stop(self) -> None:
        """Let it answer what it has in hand, and end; kill it where it does not."""
        self.process.terminate()
        try:
            self.process.wait(_TERMINATED_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join(1.0)
        if self._folder:
            self._folder.cleanup()

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_) -> None:
        self.stop()


class Server(ABC):
    """A product, or our own front. ``backends``: what may compute behind it, with the format that each opens.

    ``wires``: those it speaks, the usual one first. ``times``: whether it tells how long a request waited and was computed.
    """

    name: ClassVar[str]
    backends: ClassVar[dict[str, str]]
    wires: ClassVar[tuple[str, ...]]
    times: ClassVar[bool] = False
    # Modules of ours that run in its process.
    code: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def why_not(self, backend: str) -> str | None:
        """Why it cannot be started here with one of its ``backends``, with the ways to get it, or None."""

    @abstractmethod
    def version(self) -> str:
        """The version of the server itself."""

    @abstractmethod
    def command(self, wishes: Wishes, folder: Path) -> list[str]:
        """What starts it. ``folder`` is its own, and ends with it."""

    @abstractmethod
    def address(self, running: Running, wishes: Wishes, timeout_s: float) -> Address:
        """Where it answers, as soon as that is known."""

    def pid(self, running: Running) -> int:
        """The process that serves, whose memory and processor time are measured. Raises `TrialError` where it is not seen from here."""
        return running.process.pid

    def environment(self, wishes: Wishes) -> dict[str, str]:
        """The environment of its process."""
        return dict(os.environ)

    def start(self, wishes: Wishes, timeout_s: float = 120.0) -> Running:
        """A server that has answered: only "ready" is not believed. Raises `TrialError` where it does not come so far."""
        folder = tempfile.TemporaryDirectory(prefix="studylib-server-")
        try:
            return self.begun(self.command(wishes, Path(folder.name)), wishes, folder, timeout_s)
        except BaseException:
            folder.cleanup()
            raise

    def begun(
        self, command: list[str], wishes: Wishes, folder: tempfile.TemporaryDirectory | None = None, timeout_s: float = 120.0
    ) -> Running:
        """The server that ``command`` starts, once it has answered; ``folder`` ends with it."""
        running = Running(_spawned(command, wishes.cpus, self.environment(wishes)), folder)
        try:
            until = time.monotonic() + timeout_s
            running.address = self.address(running, wishes, timeout_s)
            running.signature = self._until(running, until, lambda: self._signature(running.address))
            self._until(running, until, lambda: _require_answer(self.wires[0], running))
            running.pid = self.pid(running)
            return running
        except BaseException:
            running.stop()
            raise

    def _signature(self, address: Address) -> Signature:
        """What the model takes and gives, as the server tells it."""
        with contextlib.closing(connected(self.wires[0], address)) as client:
            return client.ask_signature()

    def _until(self, running: Running, until: float, ask: Callable[[], T]) -> T:
        """What ``ask`` gives, tried again until the server is there for it."""
        while True:
            try:
                return ask()
            except (OSError, http.client.HTTPException, RefusedByServerError) as error:
                running.require_alive()
                if time.monotonic() > until:
                    raise TrialError(f"timeout: the server never answered: {error}; it said: {running.said}", Kind.TIMEOUT) from None
                time.sleep(_PAUSE_S)


def _require_answer(wire: str, running: Running) -> None:
    """Ask once. Raises `TrialError` where what is answered is no answer."""
    wanted = {spec.name for spec in running.signature.outputs}
    with contextlib.closing(connected(wire, running.address, running.signature)) as client:
        outputs = client.ask(Request(example(running.signature, 1))).outputs
    empty = [name for name, values in outputs.items() if not values.size]
    if wanted != set(outputs) or empty:
        raise TrialError(f"the server answers {sorted(outputs)}, of them empty: {sorted(empty) or 'none'}; expected {sorted(wanted)}")


def free_port() -> int:
    """A port that is free now. Another may take it before the server does, which then ends and says so."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _spawned(command: list[str], cpus: tuple[int, ...] | None, environment: dict[str, str]) -> subprocess.Popen:
    """The process, on its processors from its first instruction on: it inherits those that we stand on for a moment."""
    told = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
    if cpus is None or not hasattr(os, "sched_setaffinity"):
        return subprocess.Popen(command, env=environment, **told)
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        return subprocess.Popen(command, env=environment, **told)
    finally:
        os.sched_setaffinity(0, ours)


def version_folder(wishes: Wishes, folder: Path, name: str = "1") -> Path:
    """``folder`` with one version in it, as TensorFlow Serving and our own server read it: a link, no copy."""
    versions = folder / "versions"
    versions.mkdir()
    if wishes.path.is_dir() and (wishes.path / "saved_model.pb").is_file():
        (versions / name).symlink_to(wishes.path.resolve())
    else:
        (versions / name).mkdir()
        (versions / name / wishes.path.name).symlink_to(wishes.path.resolve())
    return versions
