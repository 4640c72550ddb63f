"""Mixed load with faults on replicas behind nginx: nothing that was accepted is answered wrongly, and nothing vanishes without an error.

Faults: a replica is killed and started again, versions are swapped in, clients are slow, bodies are malformed. Every request is counted
here as right, wrong, refused or failed; what was answered rightly is held against the servers' own counters, where the server lives still.
"""

import contextlib
import http.client
import random
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from studylib.errors import TrialError
from studylib.models.zoo import handmade
from studylib.runtimes.signature import Signature, TensorSpec
from studylib.serving.clients import Address, RefusedByServerError, connected
from studylib.serving.replicas import Replicas, why_not
from studylib.serving.requests import Answer, Request
from studylib.serving.wires import v2_rest

SECONDS = 600.0
SIGNATURE = Signature((TensorSpec("x", "float32", (None, 4)),), (TensorSpec("scores", "float32", (None, 3)),))
_MODEL = "handmade"
_REPLICAS = 3
_WIRES = ("v2_grpc", "v2_binary", "tfs_grpc")
# Of the whole time, between two swaps of a version (20 s of ten minutes), and between two kills.
_SWAP_SHARE, _KILL_SHARE = 1 / 30, 1 / 8
_SETTLED_S = 1.0
# nginx asks another server by itself as long as it has the whole request and no part of an answer; otherwise the client does.
_RETRIES = 4
_MALFORMED = (b"{", b'{"inputs": {"x": [[1, 2]]}}', b'{"instances": []}', b"\0" * 100, b'{"inputs": {"y": [1]}}')
_WORDS = ["--runtime", "onnxruntime", "--batch", "8", "--wait-ms", "2", "--look-s", "0.2"]


@dataclass
class Counts:
    """What became of the requests. ``by``: right answers by who gave them; ``failures``: words of those that failed, with their number."""

    sent: int = 0
    right: int = 0
    wrong: int = 0
    refused: int = 0
    misjudged: int = 0
    failures: Counter = field(default_factory=Counter)
    by: Counter = field(default_factory=Counter)
    versions: set = field(default_factory=set)
    kills: int = 0
    # By who gave them, right answers here and as the server counted them.
    reconciled: dict = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def vanished(self) -> int:
        """Requests of which nobody knows what became of them."""
        return self.sent - self.right - self.wrong - self.refused - self.misjudged - sum(self.failures.values())

    @property
    def holds(self) -> bool:
        agree = all(ours == theirs for ours, theirs in self.reconciled.values())
        return bool(self.right) and not (self.wrong or self.misjudged or self.vanished) and agree

    @property
    def lines(self) -> list[str]:
        """What to print."""
        failed = sum(self.failures.values())
        found = [
            f"requests: {self.sent:,}; right {self.right:,}, wrong {self.wrong}, malformed and refused {self.refused:,}, malformed and "
            f"accepted {self.misjudged}, failed with an error {failed}, vanished {self.vanished}",
            f"versions that answered: {', '.join(sorted(self.versions, key=int))}; replicas killed: {self.kills}",
        ]
        found += [f"  failed {count} times: {words}" for words, count in self.failures.most_common(5)]
        found += [f"  {who}: {ours:,} right answers here, {theirs:,} by its own counter" for who, (ours, theirs) in self.reconciled.items()]
        return [*found, "holds" if self.holds else "DOES NOT HOLD"]


def run(seconds: float = SECONDS, write=print) -> Counts | None:
    """Load with faults for so long; prints and returns what became of the requests, None where there is no nginx."""
    if reason := why_not():
        write(f"stress: skipped, {reason}")
        return None
    counts, stop = Counts(), threading.Event()
    with TemporaryDirectory(prefix="studylib-stress-") as folder:
        versions = Path(folder) / "versions"
        put(versions, 1)
        with Replicas(versions, _REPLICAS, _WORDS, _MODEL) as replicas:
            works = [*(lambda wire=wire: _ask(replicas.address, wire, counts, stop) for wire in _WIRES)]
            works += [lambda: _malformed(replicas.address, counts, stop), lambda: _slow(replicas.address, counts, stop)]
            works += [lambda: _swap(versions, seconds * _SWAP_SHARE, stop)]
            threads = [threading.Thread(target=work, daemon=True) for work in works]
            for thread in threads:
                thread.start()
            # Here and not in a thread: a server ends with the thread that started it.
            _kill(replicas, seconds, counts)
            stop.set()
            for thread in threads:
                thread.join()
            for server in replicas.servers:
                _reconcile(server.address, counts)
    for line in counts.lines:
        write(line)
    return counts


def put(versions: Path, number: int) -> None:
    """A version whose answers are its own; its folder appears whole."""
    writing = versions / f".writing-{number}"
    writing.mkdir(parents=True)
    handmade.save(writing / "model.onnx", more=number)
    writing.rename(versions / str(number))


def _ask(address: Address, wire: str, counts: Counts, stop: threading.Event) -> None:
    """Queries of one to four samples, one after the other."""
    noise, client = np.random.default_rng(len(wire)), connected(wire, address, SIGNATURE, 10.0, _RETRIES)
    while not stop.is_set():
        inputs = {"x": noise.normal(size=(noise.integers(1, 5), 4)).astype(np.float32)}
        with counts.lock:
            counts.sent += 1
        try:
            _judge(client.ask(Request(inputs)), inputs, counts)
        except (OSError, http.client.HTTPException, TrialError) as error:
            with counts.lock:
                counts.failures[_words(error)] += 1
    client.close()


def _judge(answer: Answer, inputs: dict[str, np.ndarray], counts: Counts) -> None:
    version = int(answer.version or 0)
    right = np.allclose(answer.outputs["scores"], handmade.answer(inputs["x"], version), atol=1e-5)
    with counts.lock:
        counts.right, counts.wrong = counts.right + bool(right), counts.wrong + (not right)
        counts.versions.add(answer.version)
        # Of servers that were asked in turn, the last answered.
        counts.by[answer.by.rpartition(", ")[2]] += bool(right)


def _malformed(address: Address, counts: Counts, stop: threading.Event) -> None:
    """Bodies that are none: each must be refused as the client's fault."""
    client = connected("v2_json", address, timeout_s=10.0)
    while not stop.is_set():
        with counts.lock:
            counts.sent += 1
        try:
            client.sent("POST", random.choice(["/predict", v2_rest.path(_MODEL)]), random.choice(_MALFORMED))
            with counts.lock:
                counts.misjudged += 1
        except RefusedByServerError as error:
            with counts.lock:
                if error.status.startswith("4"):
                    counts.refused += 1
                else:
                    counts.failures[_words(error)] += 1
        except (OSError, http.client.HTTPException) as error:
            with counts.lock:
                counts.failures[_words(error)] += 1
        time.sleep(0.01)
    client.close()


def _slow(address: Address, counts: Counts, stop: threading.Event) -> None:
    """A client that sends its request a few bytes at a time."""
    inputs = {"x": np.ones((1, 4), np.float32)}
    body, headers = v2_rest.encode_request(Request(inputs), True)
    lines = [f"POST {v2_rest.path(_MODEL)} HTTP/1.1", "host: slow", "connection: close", f"content-length: {len(body)}"]
    sent = "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode() + body
    while not stop.is_set():
        with counts.lock:
            counts.sent += 1
        try:
            with socket.create_connection((address.host, address.ports["rest"]), 20) as connection:
                for place in range(0, len(sent), 16):
                    connection.sendall(sent[place : place + 16])
                    time.sleep(0.02)
                response = http.client.HTTPResponse(connection)
                response.begin()
                content = response.read()
                told = {name.lower(): value for name, value in response.getheaders()}
                if response.status != 200:
                    raise TrialError(f"status {response.status}: {content[:100]!r}")
                answer = v2_rest.decode_answer(content, told)
                _judge(Answer(answer.outputs, answer.model, answer.version, by=told.get("x-answered-by", "")), inputs, counts)
        except (OSError, http.client.HTTPException, TrialError) as error:
            with counts.lock:
                counts.failures[_words(error)] += 1


def _swap(versions: Path, every_s: float, stop: threading.Event) -> None:
    number = 1
    while not stop.wait(max(0.5, every_s)):
        number += 1
        put(versions, number)


def _kill(replicas: Replicas, seconds: float, counts: Counts) -> None:
    """For so long, kill one replica after the other and start each again; what it answered before is its own affair from then on."""
    until, every_s, place = time.monotonic() + seconds, max(2.0, seconds * _KILL_SHARE), 0
    while time.monotonic() + every_s < until:
        time.sleep(every_s)
        who = replicas.servers[place].address.of("rest"), replicas.servers[place].address.of("grpc")
        replicas.kill(place)
        counts.kills += 1
        time.sleep(_SETTLED_S)  # nothing more comes of it
        with counts.lock:
            for one in who:
                counts.by.pop(one, None)
        replicas.restart(place)
        place = (place + 1) % len(replicas.servers)
    time.sleep(max(0.0, until - time.monotonic()))


def _reconcile(address: Address, counts: Counts) -> None:
    """Right answers here beside what the server itself counted as answered."""
    with contextlib.closing(connected("v2_json", address)) as client:
        text = client.sent("GET", "/metrics")[0].decode()
    answered = [line for line in text.splitlines() if line.startswith("studylib_requests_total") and 'outcome="ok"' in line]
    theirs = {"rest": 0, "grpc": 0}
    for line in answered:
        # Nobody but the wait for its first answer asked it directly.
        theirs["grpc" if "_grpc" in line else "rest"] += int(float(line.rpartition(" ")[2]))
    theirs["grpc"] -= 1
    for protocol, count in theirs.items():
        who = address.of(protocol)
        counts.reconciled[who] = counts.by[who], count


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:120]}"
