"""Answers beside each other in this process: a pool of sessions, a bound on what waits, and answers in the order of their inputs."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from studylib.errors import InputError
from studylib.runtimes import RUNTIMES, Options, Session
from studylib.runtimes.base import Inputs, Outputs


class Predictor:
    """``sessions`` answer at once, each in a thread of its own; at most ``waiting`` queries more are taken, others wait to be.

    Belongs to one event loop. A cancelled query that has not begun never begins; of one that has, the answer is dropped.
    """

    def __init__(self, sessions: Iterable[Session], waiting: int = 64):
        self._free: SimpleQueue[Session] = SimpleQueue()
        count = 0
        for session in sessions:
            self._free.put(session)
            count += 1
        if not count or waiting < 0:
            raise InputError(f"a predictor needs a session at least, and room for 0 queries or more; given were {count} and {waiting}")
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="predictor")
        self._room, self._most = asyncio.Semaphore(count + waiting), count + waiting

    async def predict_async(self, inputs: Inputs) -> Outputs:
        """The answer to one query; waits while too many do."""
        async with self._room:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._run, inputs)

    async def predict_batch(self, queries: Iterable[Inputs]) -> list[Outputs]:
        """The answers in the order of their queries, however long each takes. The first that fails ends the others."""
        return [answer async for answer in self.answers(queries)]

    async def answers(self, queries: Iterable[Inputs]) -> AsyncIterator[Outputs]:
        """The same one by one: no more queries are drawn than may wait, so that a stream of them may be endless."""
        ahead: list[asyncio.Task] = []
        drawn = iter(queries)
        try:
            for query in drawn:
                ahead.append(asyncio.ensure_future(self.predict_async(query)))
                if len(ahead) >= self._most:
                    yield await ahead.pop(0)
            while ahead:
                yield await ahead.pop(0)
        finally:
            for task in ahead:
                task.cancel()
            await asyncio.gather(*ahead, return_exceptions=True)

    def _run(self, inputs: Inputs) -> Outputs:
        session = self._free.get()
        try:
            return session.run(inputs)
        finally:
            self._free.put(session)

    def close(self) -> None:
        """End the threads once what they have in hand is answered."""
        self._pool.shutdown(wait=True)

    async def __aenter__(self) -> "Predictor":
        return self

    async def __aexit__(self, *_) -> None:
        self.close()


def predictor(path: Path, runtime: str, threads: int = 1, sessions: int = 1, waiting: int = 64) -> Predictor:
    """A predictor of a file in a runtime; ``threads`` for all ``sessions`` together. Raises `InputError` where there are fewer threads."""
    if sessions > threads:
        raise InputError(f"{sessions} sessions need a thread each, and there are {threads}")
    opened, options = RUNTIMES[runtime], Options("cpu", threads // sessions)
    opened.activate(options)
    return Predictor([opened.load(Path(path), options) for _ in range(sessions)], waiting)
