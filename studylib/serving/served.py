"""A served model as a runtime: opening it starts the server, and its session asks over a wire."""

import os
import time
from pathlib import Path
from typing import ClassVar

import numpy as np

from studylib.artifacts.store import package_version
from studylib.machine.hardware import Host
from studylib.machine.process_memory import Usage, usage_of
from studylib.runtimes import RUNTIMES, Options, Runtime, Session
from studylib.runtimes import split_name as split_provider
from studylib.runtimes.base import Inputs, Outputs
from studylib.runtimes.signature import Signature
from studylib.serving.clients import connected
from studylib.serving.requests import Answer, Request
from studylib.serving.servers import SERVERS, Running, Server, Wishes

# A table: what is looked up in it is named by whoever asks (`studylib.artifacts.code`).
DECIDES_NOTHING = ("SERVED",)

# As many clients as may ask at once.
CLIENTS = ("1", "2", "4", "8", "16", "32", "64")


class RemoteSession(Session):
    """A session whose answers come from a server. ``clients``: connections that `beside` gives."""

    def __init__(self, running: Running, wire: str, clients: int):
        self._running, self._wire, self._clients = running, wire, clients
        self._client = connected(wire, running.address, running.signature)
        self._spent: dict[str, list[int]] = {}
        self._others: list[RemoteSession] = []
        self.begin()

    def run(self, inputs: Inputs) -> Outputs:
        began = time.perf_counter_ns()
        answer = self._client.ask(Request(inputs))
        self._keep(answer, time.perf_counter_ns() - began)
        return answer.outputs

    def _keep(self, answer: Answer, total_ns: int) -> None:
        for name, nanoseconds in answer.spent_ns.items():
            self._spent.setdefault(name, []).append(nanoseconds)
        self._spent.setdefault("total", []).append(total_ns)
        if answer.batch:
            self._spent.setdefault("batch", []).append(answer.batch)

    def beside(self) -> list[Session]:
        if not self._others:
            self._others = [RemoteSession(self._running, self._wire, 1) for _ in range(self._clients - 1)]
        return [self, *self._others]

    def placement(self) -> str:
        return "CPU"

    def signature(self) -> Signature:
        return self._running.signature

    @property
    def process(self) -> int:
        return self._running.process.pid

    def begin(self) -> None:
        self._before, self._began = self._usage(), time.perf_counter()
        for one in (self, *self._others):
            one._spent = {}

    def served(self) -> dict:
        """What server and wire took since `begin`: medians in ns by part, server CPU seconds a query, samples that ran together.

        ``wire`` is what is left of the whole: both ends of the network, and the server's front.
        """
        found: dict[str, list[int]] = {}
        for one in (self, *self._others):
            for name, values in one._spent.items():
                found.setdefault(name, []).extend(values)
        queries = len(found.get("total", ()))
        if not queries:
            return {}
        now, seconds = self._usage(), time.perf_counter() - self._began
        parts = {f"{name}_ns": int(np.median(values)) for name, values in found.items() if name != "batch"}
        if "compute_ns" in parts:
            rest = np.array(found["total"]) - np.array(found["queue"]) - np.array(found["compute"])
            parts["wire_ns"] = int(np.median(rest))
        sizes, counts = np.unique(found.get("batch", []), return_counts=True)
        return parts | {
            "queries": queries,
            "server_cpu_s_per_query": (now[0].cpu_s - self._before[0].cpu_s) / queries,
            "client_cpu_share": (now[1] - self._before[1]) / seconds,
            "batches": {str(int(size)): int(count) for size, count in zip(sizes, counts, strict=True)},
        }

    def _usage(self) -> tuple[Usage, float]:
        """What the server used by now, and the processor seconds of this process."""
        return usage_of(self.process), time.process_time()

    def disturbances(self) -> dict[str, float]:
        found = self.served()
        return {"client_cpu_share": found["client_cpu_share"]} if found else {}

    @property
    def started_ns(self) -> int:
        return self._running.started_ns

    def close(self) -> None:
        for one in self._others:
            one._client.close()
        self._client.close()
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
            "instances": ("1", "2", "4", "8"),
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
        return self.server.why_not() or super().why_not(provider, host) or self.backend.why_not(provider, host)

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
            sessions=int(chosen["instances"]),
            batch=int(chosen["batch"]),
            wait_ms=float(chosen["wait"]),
            cpus=theirs,
            settings=spin,
        )
        running = self.server.start(wishes)
        if ours:
            os.sched_setaffinity(0, ours)
        return RemoteSession(running, chosen["wire"], int(chosen["clients"]))


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
