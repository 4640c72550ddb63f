"""What computes the answers of one version: sessions of a runtime, each in a thread of its own."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

import numpy as np

from studylib.errors import RefusedError
from studylib.runtimes import Options, Runtime, Session
from studylib.runtimes.signature import Signature, TensorSpec
from studylib.runtimes.tensorflow import BatchingSession, TensorFlow
from studylib.serving.own.limits import Batching

# Threads that ask a session whose runtime puts their queries together.
_ASKED_AT_ONCE = 64
# Warm-up queries of each session.
_WARMUP = 3
# Two hand-overs between threads take as long where processors sleep.
_QUICK_NS = 1_000_000
# How far an answer of a batch may lie from the single one: sums are added in another order.
_LIKE = 1e-3


class Backend:
    """``sessions`` answer beside each other; what is asked of one more waits in the batcher before it.

    ``is_quick``, known after `warm_up`: answering takes less than handing the question to another thread and back, which may have to wake
    a processor each time. Whoever asks may then wait for it.
    """

    def __init__(self, sessions: list[Session]):
        self.sessions, self.is_quick = len(sessions), False
        self.signature: Signature = sessions[0].signature()
        self._free: SimpleQueue[Session] = SimpleQueue()
        self._pool = ThreadPoolExecutor(len(sessions), thread_name_prefix="backend")
        for session in sessions:
            self._free.put(session)

    @property
    def pool(self) -> ThreadPoolExecutor:
        """Where `run` is to be called."""
        return self._pool

    @property
    def batches_itself(self) -> bool:
        """Whether queries that are asked at once are put together behind this."""
        return False

    def run(self, inputs: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], int, int | None]:
        """The outputs, how many ns were computed, and how many samples ran together where that is not known outside."""
        session = self._free.get()
        begun = time.perf_counter_ns()
        try:
            return session.run(inputs), time.perf_counter_ns() - begun, None
        finally:
            self._free.put(session)

    def warm_up(self) -> None:
        """Ask every session a few times: first answers are slow."""
        query = example(self.signature, 1)
        spent_ns = [self.run(query)[1] for _ in range(_WARMUP * self.sessions)]
        self.is_quick = self.sessions == 1 and min(spent_ns) < _QUICK_NS

    def why_no_batches(self, size: int) -> str | None:
        """Why requests may not be put together here, or None: asked, not believed."""
        if not self.signature.takes_batches:
            return "its inputs have a fixed first size"
        query = example(self.signature, size)
        together, *_ = self.run(query)
        for place in range(size):
            alone, *_ = self.run({name: values[place : place + 1] for name, values in query.items()})
            for name, values in alone.items():
                found = together[name]
                if not found.ndim or len(found) != size or found[place : place + 1].shape != values.shape:
                    return f"its output {name} does not hold a row for each sample"
                if not np.allclose(found[place : place + 1], values, rtol=_LIKE, atol=_LIKE, equal_nan=True):
                    return f"its output {name} answers otherwise for samples that are asked together"
        return None

    def close(self) -> None:
        self._pool.shutdown(wait=True)
        while not self._free.empty():
            self._free.get()


class ByKernel(Backend):
    """One session that many threads ask at once, and whose runtime puts their queries together. Computing includes the wait for company."""

    def __init__(self, session: BatchingSession, at_once: int):
        super().__init__([session] * at_once)
        self._session = session

    @property
    def batches_itself(self) -> bool:
        return True

    def run(self, inputs: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], int, int | None]:
        begun = time.perf_counter_ns()
        outputs = self._session.run(inputs)
        return outputs, time.perf_counter_ns() - begun, self._session.batch


def opened(runtime: Runtime, path: Path, options: Options, sessions: int, batching: Batching) -> Backend:
    """A warm backend: ``options.threads`` are shared out among ``sessions``. Raises `RefusedError` where there are fewer threads.

    TensorFlow puts queries together by itself.
    """
    if batching.is_on and isinstance(runtime, TensorFlow):
        backend = ByKernel(runtime.batching(path, options, batching.max_samples, batching.wait_s), _ASKED_AT_ONCE)
        backend.warm_up()
        return backend
    if sessions > options.threads:
        raise RefusedError(f"{sessions} sessions need a thread each, and there are {options.threads}")
    share = Options(options.provider, options.threads // sessions, options.settings)
    backend = Backend([runtime.load(path, share) for _ in range(sessions)])
    backend.warm_up()
    return backend


def example(signature: Signature, size: int, seed: int = 0) -> dict[str, np.ndarray]:
    """A query of ``size`` samples that differ, every other free size 1: noise for real numbers, 0 and 1 for whole ones."""
    noise = np.random.default_rng(seed)

    def values(spec: TensorSpec) -> np.ndarray:
        free = [1 if length is None else length for length in spec.shape]
        shape = [size, *free[1:]] if signature.takes_batches else free
        real = np.dtype(spec.dtype).kind == "f"
        return (noise.normal(size=shape) if real else noise.integers(0, 2, shape)).astype(spec.dtype)

    return {spec.name: values(spec) for spec in signature.inputs}
