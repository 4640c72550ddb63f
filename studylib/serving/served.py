"""A served model as a runtime: opening it starts the server, and its session asks over a wire."""

import os
from pathlib import Path
from typing import ClassVar

from studylib.artifacts.store import package_version
from studylib.machine.hardware import Host
from studylib.machine.process_memory import usage_of
from studylib.runtimes import RUNTIMES, SESSIONS, Options, Runtime, Session
from studylib.runtimes import split_name as split_provider
from studylib.serving.remote import RemoteSession
from studylib.serving.servers import SERVERS, Running, Server, Wishes

# A table: what is looked up in it is named by whoever asks (`studylib.artifacts.code`).
DECIDES_NOTHING = ("SERVED",)

# As many clients as may ask at once.
CLIENTS = ("1", "2", "4", "8", "16", "32", "64")


class ServedSession(RemoteSession):
    """A remote session with the server that was started for it."""

    def __init__(self, running: Running, wire: str, clients: int):
        self._running = running
        super().__init__(running.address, running.signature, wire, clients)

    @property
    def process(self) -> int:
        return self._running.pid

    def server_cpu_s(self) -> float:
        return usage_of(self.process).cpu_s

    def close(self) -> None:
        super().close()
        self._running.stop()


class Served(Runtime):
    """``backend`` behind ``server``: ``own/onnxruntime``. The server gets all processors but one, the client the last.

    Settings: ``wire``; ``clients`` that may ask at once; ``sessions`` of the backend; ``batch`` and ``wait`` (ms), up to how many samples
    requests that wait are put together, and how long the first waits for company.
    """

    providers: ClassVar[tuple[str, ...]] = ("cpu",)

    def __init__(self, server: Server, backend: str):
        self.server, self.backend = server, RUNTIMES[backend]
        self.name, self.format, self.package = f"{server.name}/{backend}", server.backends[backend], self.backend.package
        self.settings = {
            "wire": server.wires,
            "clients": CLIENTS,
            SESSIONS: ("1", "2", "4", "8"),
            "batch": ("1", "2", "4", "8", "16", "32", "64"),
            "wait": ("0", "1", "2", "5", "10", "20"),
        }

    @property
    def version(self) -> str:
        return f"{self.server.version()} with {self.backend.name} {package_version(self.package)}"

    @property
    def code(self) -> tuple[type | str, ...]:
        return type(self), type(self.server), *self.server.code, *self.backend.code

    def why_not(self, provider: str, host: Host) -> str | None:
        return self.server.why_not(self.backend.name) or super().why_not(provider, host) or self.backend.why_not(provider, host)

    def activate(self, options: Options) -> None:
        self.backend.check({})

    def load(self, path: Path, options: Options) -> Session:
        self.check(options.settings)
        return self._load(path, options)

    def _load(self, path: Path, options: Options) -> Session:
        chosen = {name: self.setting(options, name) for name in self.settings}
        ours, theirs = shared_out()
        spin = {"spinning": "off"} if "spinning" in self.backend.settings else {}
        wishes = Wishes(
            path,
            self.backend.name,
            threads=min(options.threads, len(theirs)) if theirs else options.threads,
            sessions=int(chosen[SESSIONS]),
            batch=int(chosen["batch"]),
            wait_ms=float(chosen["wait"]),
            cpus=theirs,
            settings=spin,
        )
        running = self.server.start(wishes)
        if ours:
            os.sched_setaffinity(0, ours)
        return ServedSession(running, chosen["wire"], int(chosen["clients"]))


def shared_out() -> tuple[tuple[int, ...] | None, tuple[int, ...] | None]:
    """Processors for the client and for the server: the last that we may use, and the others; None where there is one, or no telling."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    granted = sorted(os.sched_getaffinity(0))
    return (tuple(granted[-1:]), tuple(granted[:-1])) if len(granted) > 1 else (None, None)


SERVED: dict[str, Runtime] = {
    runtime.name: runtime for runtime in (Served(server, backend) for server in SERVERS.values() for backend in server.backends)
}


def runtime_named(name: str) -> Runtime:
    """The runtime, or the served one, of this name."""
    return SERVED[name] if name in SERVED else RUNTIMES[name]


def split_name(name: str) -> tuple[str, str]:
    """``onnxruntime/cuda`` to (onnxruntime, cuda), a served one as it is; without a provider, cpu."""
    return (name, "cpu") if name in SERVED else split_provider(name)
