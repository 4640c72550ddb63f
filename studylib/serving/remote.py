"""A session whose answers come from a server, wherever that runs."""

import time

import numpy as np

from studylib.runtimes import Session
from studylib.runtimes.base import Inputs, Outputs
from studylib.runtimes.signature import Signature
from studylib.serving.clients import Address, GrpcClient, connected
from studylib.serving.requests import Answer, Request


class RemoteSession(Session):
    """Asks over a ``wire``. ``clients``: sessions that `beside` gives, each with a connection of its own.

    ``shared``: a client of gRPC, whose one connection they all use instead. It stays open when they are closed.
    """

    def __init__(self, address: Address, signature: Signature, wire: str, clients: int = 1, shared: GrpcClient | None = None):
        self._address, self._signature, self._wire, self._clients, self._shared = address, signature, wire, clients, shared
        self._client = shared or connected(wire, address, signature)
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
        while len(self._others) < self._clients - 1:
            self._others.append(RemoteSession(self._address, self._signature, self._wire, shared=self._shared))
        return [self, *self._others]

    def placement(self) -> str:
        return "CPU"

    def signature(self) -> Signature:
        return self._signature

    def server_cpu_s(self) -> float | None:
        """Processor seconds of the server's process, where it is known."""
        return None

    def begin(self) -> None:
        self._before = self.server_cpu_s(), time.process_time(), time.perf_counter()
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
        parts = {f"{name}_ns": int(np.median(values)) for name, values in found.items() if name != "batch"}
        if "compute" in found and len(found["compute"]) == queries:
            rest = np.array(found["total"]) - np.array(found["queue"]) - np.array(found["compute"])
            parts["wire_ns"] = int(np.median(rest))
        sizes, counts = np.unique(found.get("batch", []), return_counts=True)
        server, ours, began = self._before
        cpu_s = self.server_cpu_s()
        spent = {} if cpu_s is None else {"server_cpu_s_per_query": (cpu_s - server) / queries}
        return parts | {
            "wire": self._wire,
            "queries": queries,
            **spent,
            # Of the time in which it asked: between its turns a client is stopped.
            "client_cpu_share": (time.process_time() - ours) / min(time.perf_counter() - began, sum(found["total"]) / 1e9),
            "batches": {str(int(size)): int(count) for size, count in zip(sizes, counts, strict=True)},
        }

    def disturbances(self) -> dict[str, float]:
        found = self.served()
        return {"client_cpu_share": found["client_cpu_share"]} if found else {}

    def close(self) -> None:
        for one in self._others:
            one.close()
        if not self._shared:
            self._client.close()
