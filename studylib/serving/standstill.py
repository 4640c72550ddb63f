"""A server that stands still now and then, asked on a schedule and by a closed loop: what waits meanwhile, and who counts it."""

import contextlib
import os
import signal
import threading
import time
from dataclasses import dataclass

from studylib.errors import TrialError
from studylib.models.zoo import Samples
from studylib.serving import load
from studylib.serving.load import Offered
from studylib.serving.servers import Running

# The server stands still for so long, so often.
STILL_S, EVERY_S = 0.4, 2.0
# Of its time the server is asked for this share at most, at so many queries a second at most; queries on the schedule, and the seconds
# that they may take.
_BUSY_SHARE, _MOST_QPS, _QUERIES, _SECONDS = 0.3, 50.0, 150, (4.0, 30.0)
_CLIENTS = 32


@dataclass(frozen=True)
class Standstill:
    """Latencies in ms: on a schedule at ``qps``, from when each query was due; and of a closed loop of one client."""

    still_ms: float
    every_ms: float
    qps: float
    schedule_ms: list[float]
    closed_ms: list[float]


def why_not() -> str | None:
    """Why no process can be made to stand still here, or None."""
    return None if hasattr(signal, "SIGSTOP") else "this system does not stop processes and let them go on (SIGSTOP)"


@contextlib.contextmanager
def standing_still(process: int):
    """The process is stopped and goes on, again and again; when this ends it goes on."""
    ended = threading.Event()

    def stop_and_go() -> None:
        while not ended.wait(EVERY_S - STILL_S):
            os.kill(process, signal.SIGSTOP)
            time.sleep(STILL_S)
            os.kill(process, signal.SIGCONT)

    thread = threading.Thread(target=stop_and_go, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def both_ways(running: Running, wire: str, samples: Samples, seed: int = 0) -> Standstill:
    """Ask a server that stands still now and then, over a ``wire``. Raises `TrialError` where it does not answer every query."""

    def asked(offered: Offered) -> list[float]:
        driven = load.run(running.address, wire, running.signature, samples, offered).driven
        if driven.facts.failed_queries or not len(driven.values_ns):
            raise TrialError(f"{driven.facts.failed_queries} queries failed; the first: {driven.facts.first_error or 'none was asked'}")
        return (driven.values_ns / 1e6).round(4).tolist()

    before = sorted(asked(Offered(0.1, None, 1, seed)))
    qps = min(_MOST_QPS, _BUSY_SHARE * 1000 / before[len(before) // 2])
    least, most = _SECONDS
    seconds = min(most, max(least, _QUERIES / qps))
    with standing_still(running.pid):
        schedule = asked(Offered(seconds, qps, _CLIENTS, seed))
    with standing_still(running.pid):
        closed = asked(Offered(seconds, None, 1, seed))
    return Standstill(STILL_S * 1000, EVERY_S * 1000, qps, schedule, closed)
