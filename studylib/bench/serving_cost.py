"""What servers add to a direct session by wire, ours and others; our client beside h2load, on a server that stands still now and then."""

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from http import HTTPStatus
from pathlib import Path

import numpy as np

from studylib import stats
from studylib.errors import TrialError
from studylib.models.zoo import handmade
from studylib.params.defaults import SEED
from studylib.runtimes import RUNTIMES, Options
from studylib.scenarios import RunLength
from studylib.scenarios.arrivals import schedule
from studylib.scenarios.base import Load
from studylib.serving import load
from studylib.serving.clients import connected
from studylib.serving.load import Offered
from studylib.serving.own.backend import example
from studylib.serving.requests import Request
from studylib.serving.served import shared_out
from studylib.serving.servers import SERVERS, Running, Wishes
from studylib.serving.standstill import EVERY_S, STILL_S, standing_still
from studylib.serving.wires import v2_grpc

# Milliseconds that the server may add over gRPC to a picture of 224x224x3 floats, one client.
MOST_MS = 1.5
_DIRECT, _USUAL = ("", "without a server"), ("own", "v2_grpc")
# Ours first; of the others those that are installed (`make peers`).
_SERVERS = ("own", "triton", "mlserver")
_WIRES = ("v2_grpc", "tfs_grpc", "v2_binary", "v2_json", "tfs_rest")
_QUERIES, _FEW = 30, 5
# Queries a second of a server that stands still now and then, and seconds of each of so many runs in turn.
_QPS, _SECONDS, _RUNS = 30.0, 10.0, 6
# Layers of the model that is asked then: about 8 ms. A client in Python needs half a millisecond more than one in C, which would be all
# that is seen of a model that takes none.
_LAYERS = 320


def run(rounds: int = 30, write=print) -> dict[str, stats.Estimate]:
    """Print what each wire adds, behind servers of others too, and whether two clients agree; returns milliseconds added by our wires."""
    with tempfile.TemporaryDirectory(prefix="studylib-serving-") as folder:
        values = taken(Path(folder), rounds, write)
        found = {place: stats.centre(values[place] - values[_DIRECT]) for place in values if place != _DIRECT}
        for place, estimate in found.items():
            held = "" if place != _USUAL else f" ({'holds' if estimate.value <= MOST_MS else 'DOES NOT HOLD'}: at most {MOST_MS} ms)"
            spread = f"{estimate.value:.3f} ms [{estimate.low:.3f}, {estimate.high:.3f}], n = {estimate.n} rounds"
            write(f"{place[0]}/onnxruntime over {place[1]}, 224x224x3 floats, one client: adds {spread}{held}")
        for place in values:
            if place[1] == _USUAL[1] and place != _USUAL:
                ratio = stats.compare(values[place], values[_USUAL])
                held = "DOES NOT HOLD" if ratio.verdict is stats.Verdict.SLOWER else "holds"
                spread = (
                    f"{ratio.ratio:.3f} [{ratio.low:.3f}, {ratio.high:.3f}] times as long as ours over {place[1]}, n = {ratio.n} rounds"
                )
                write(f"{place[0]}/onnxruntime takes {spread} ({held}: ours is no slower)")
        _beside_h2load(Path(folder), write)
    return {wire: estimate for (server, wire), estimate in found.items() if server == _USUAL[0]}


@contextlib.contextmanager
def _serving(path: Path, servers: tuple[str, ...] = ("own",)):
    """Each of the servers with a file, by name, and this process on a processor of its own."""
    ours, theirs = shared_out()
    before = os.sched_getaffinity(0) if ours else None
    wishes = Wishes(path, "onnxruntime", cpus=theirs, settings={"spinning": "off"})
    with contextlib.ExitStack() as stack:
        running = {name: stack.enter_context(SERVERS[name].start(wishes)) for name in servers}
        if ours:
            os.sched_setaffinity(0, ours)
        try:
            yield running
        finally:
            if before:
                os.sched_setaffinity(0, before)


def taken(folder: Path, rounds: int, write=print) -> dict[tuple[str, str], np.ndarray]:
    """Milliseconds of a query by server and wire, and of a direct session with as many threads, asked in turn: a median a round."""
    path = handmade.save_picture(folder / "picture.onnx")
    order, found = np.random.default_rng(SEED), {}
    reasons = {name: SERVERS[name].why_not("onnxruntime") for name in _SERVERS}
    for name, reason in reasons.items():
        if reason:
            write(f"{name}/onnxruntime was not asked: {reason}")
    with _serving(path, tuple(name for name in _SERVERS if not reasons[name])) as running, contextlib.ExitStack() as stack:
        direct, asked = RUNTIMES["onnxruntime"].open(path, Options("cpu", 1)), {}
        for name, server in running.items():
            query = example(server.signature, 1)
            for wire in (wire for wire in _WIRES if wire in SERVERS[name].wires):
                client = stack.enter_context(contextlib.closing(connected(wire, server.address, server.signature)))
                asked[name, wire] = lambda client=client, query=query: client.ask(Request(query))
        asked[_DIRECT] = lambda: direct.run(query)
        places = list(asked)
        for _ in range(rounds + 1):  # the first warms both ends
            for place in order.permutation(len(places)):
                name = places[place]
                count = _FEW if name[1] in ("v2_json", "tfs_rest") else _QUERIES
                found.setdefault(name, []).append(_median_ms(asked[name], count))
    return {place: np.array(found[place][1:]) for place in places}


def _median_ms(ask, count: int) -> float:
    found = []
    for _ in range(count):
        began = time.perf_counter_ns()
        ask()
        found.append(time.perf_counter_ns() - began)
    return float(np.median(found)) / 1e6


def _beside_h2load(folder: Path, write) -> None:
    """p50 and p99 of both clients on the same schedule, while the server stands still now and then, in turn."""
    if not shutil.which("h2load"):
        write("h2load is not installed here (Debian: apt-get install nghttp2-client): our client was held against no second one")
        return
    path = handmade.save_deep(folder / "deep.onnx", _LAYERS)
    taken: dict[str, list[tuple[float, float]]] = {"ours": [], "h2load": [], "closed": []}
    with _serving(path) as servers:
        running = servers["own"]
        for number in range(_RUNS):
            for name in np.random.default_rng([SEED, number]).permutation(list(taken)):
                with standing_still(running.pid):
                    values = _h2load(running, folder, number) if name == "h2load" else _ours(running, number, name == "closed")
                taken[name].append(tuple(np.percentile(values, (50, 99))))
    columns = {name: np.array(one) for name, one in taken.items()}
    for place, percentile in enumerate(("p50", "p99")):
        ratio = stats.compare(columns["h2load"][:, place], columns["ours"][:, place])
        agree = "they agree" if ratio.low <= 1 <= ratio.high else "they DIFFER"
        ours, theirs, closed = (float(np.median(columns[name][:, place])) for name in ("ours", "h2load", "closed"))
        write(
            f"{percentile} of the same schedule, {_QPS:g} queries/s, the server still for {STILL_S * 1000:g} ms every {EVERY_S:g} s: "
            f"ours {ours:.2f} ms, h2load {theirs:.2f} ms, h2load / ours {ratio.ratio:.3f} [{ratio.low:.3f}, {ratio.high:.3f}], "
            f"n = {ratio.n} runs: {agree}; a closed loop of one client reads {closed:.2f} ms"
        )


def _ours(running: Running, seed: int, closed: bool) -> np.ndarray:
    """Latencies of our client in ms: from the schedule on, or of a closed loop from the question on."""
    samples = load.samples_of(None, running.signature)
    offered = Offered(_SECONDS, None if closed else _QPS, 1 if closed else 64, seed)
    with contextlib.closing(connected("v2_grpc", running.address, running.signature)) as one:  # as h2load has
        return load.run(running.address, "v2_grpc", running.signature, samples, offered, one).driven.values_ns / 1e6


def _h2load(running: Running, folder: Path, seed: int) -> np.ndarray:
    """Latencies of h2load on the same schedule in ms, from when each query was due. Source: nghttp2, "h2load", ``--timing-script-file``.

    It logs when it sent a query, and takes the gap to the next from then on: what its timer was late, 0.6 ms here, is told by that.
    """
    length = RunLength(1, _SECONDS, _SECONDS)
    due = schedule(Load("server", 1, length, seed=seed, target_qps=_QPS)) / 1e6
    uri = f"http://{running.address.of('grpc')}{v2_grpc.ASK}"
    script, body, log = folder / "script", folder / "body", folder / f"log-{seed}"
    script.write_text("".join(f"{offset:.3f}\t{uri}\n" for offset in due), encoding="utf-8")
    message = v2_grpc.encode_request(Request(example(running.signature, 1)), running.address.model)
    # gRPC: a byte that says uncompressed, and the length in four.
    body.write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)
    log.unlink(missing_ok=True)
    told = ["-c", "1", "-m", "100", "-t", "1", "-d", str(body), f"--timing-script-file={script}", f"--log-file={log}"]
    headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
    subprocess.run(["h2load", *told, *headers], capture_output=True, check=True, timeout=60 + _SECONDS)
    rows = [line.split("\t") for line in log.read_text(encoding="utf-8").splitlines()]
    if len(rows) != len(due):  # gaps could not be told any more
        raise TrialError(f"h2load logged {len(rows)} of {len(due)} queries")
    sent, status, taken = np.array(rows, np.int64)[:, :3].T
    order = np.argsort(sent, kind="stable")
    late = np.diff(sent[order]) - np.diff(due * 1e3)[: len(order) - 1]
    return (taken[order][1:] + np.maximum(late, 0))[status[order][1:] == HTTPStatus.OK] / 1e3
