"""Requests wait here, bounded, for a session that is free; where batches pay, those that wait are put together."""

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from http import HTTPStatus

import numpy as np

from studylib.errors import told
from studylib.serving.own.backend import Backend
from studylib.serving.own.limits import Batching
from studylib.serving.requests import RequestError

# Samples up to which a quick backend is waited for.
_FEW = 8


@dataclass(eq=False)
class _Waiting:
    inputs: dict[str, np.ndarray]
    samples: int
    arrived_ns: int
    done: asyncio.Future

    @property
    def kind(self) -> tuple:
        """What requests must share to be put together: the sizes behind the first, by input."""
        return tuple((name, values.shape[1:]) for name, values in sorted(self.inputs.items()))


@dataclass(frozen=True)
class Ran:
    """The outputs of a request, how long it waited and was computed in ns, and how many samples ran together."""

    outputs: dict[str, np.ndarray]
    queue_ns: int
    compute_ns: int
    batch: int


class Batcher:
    """Belongs to one event loop. ``waiting``: the longest queue; a request more is refused at once, which a client can act on."""

    def __init__(self, backend: Backend, batching: Batching, waiting: int):
        self._backend, self._batching, self._most = backend, batching, waiting
        self._queue: deque[_Waiting] = deque()
        self._free = backend.sessions
        self._timer: asyncio.TimerHandle | None = None
        self._running: set[asyncio.Task] = set()

    def __len__(self) -> int:
        return len(self._queue)

    def run_now(self, inputs: dict[str, np.ndarray], samples: int) -> Ran | None:
        """The answer to one request, or None where it has to wait: for a session, for company, or because it takes long."""
        if not self._backend.is_quick or not self._free or self._queue or self._batching.is_on or samples > _FEW:
            return None
        outputs, compute_ns, ran = self._computed(inputs)
        return Ran(outputs, 0, compute_ns, ran or samples)

    async def run(self, inputs: dict[str, np.ndarray], samples: int) -> Ran:
        """The answer to one request. Raises `RequestError` where too many wait, or the model refuses the values."""
        if len(self._queue) >= self._most:
            raise RequestError("server", f"{len(self._queue)} requests wait already", "try again later", HTTPStatus.TOO_MANY_REQUESTS)
        waiting = _Waiting(inputs, samples, time.perf_counter_ns(), asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._dispatch()
        return await waiting.done

    def _dispatch(self) -> None:
        """Give every free session something, as long as anything waits that need wait no longer."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        while self._free and self._queue:
            if self._queue[0].done.done():  # its client has gone
                self._queue.popleft()
                continue
            ahead_s = self._must_wait_s()
            if ahead_s > 0:
                self._timer = asyncio.get_running_loop().call_later(ahead_s, self._dispatch)
                return
            self._free -= 1
            task = asyncio.ensure_future(self._run(self._taken()))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    def _must_wait_s(self) -> float:
        """How long the first may still wait for company."""
        if not self._batching.is_on or sum(one.samples for one in self._queue) >= self._batching.max_samples:
            return 0.0
        return self._batching.wait_s - (time.perf_counter_ns() - self._queue[0].arrived_ns) / 1e9

    def _taken(self) -> list[_Waiting]:
        """The first, and of those behind it that are alike as many as fit."""
        found = [self._queue.popleft()]
        if not self._batching.is_on:
            return found
        room, kept = self._batching.max_samples - found[0].samples, []
        while self._queue:
            one = self._queue.popleft()
            if one.done.done():
                continue
            if one.samples <= room and one.kind == found[0].kind:
                found.append(one)
                room -= one.samples
            else:
                kept.append(one)
        self._queue.extend(kept)
        return found

    async def _run(self, batch: list[_Waiting]) -> None:
        begun = time.perf_counter_ns()
        try:
            await self._answer(batch, begun)
        except RequestError as error:
            if len(batch) == 1:
                _refuse(batch[0], error)
            for one in batch if len(batch) > 1 else []:  # one that is refused must not take the others with it
                try:
                    await self._answer([one], begun)
                except RequestError as own:
                    _refuse(one, own)
        except Exception as error:  # a fault of ours: these requests hear of it, and the server goes on
            for one in batch:
                _refuse(one, error)
        finally:
            self._free += 1
            self._dispatch()

    async def _answer(self, batch: list[_Waiting], begun: int) -> None:
        joined = batch[0].inputs
        if len(batch) > 1:
            joined = {name: np.concatenate([one.inputs[name] for one in batch]) for name in joined}
        if self._backend.is_quick and sum(one.samples for one in batch) <= _FEW:
            outputs, compute_ns, ran = self._computed(joined)
        else:
            outputs, compute_ns, ran = await asyncio.get_running_loop().run_in_executor(self._backend.pool, self._computed, joined)
        total, at = sum(one.samples for one in batch), 0
        for one in batch:
            own = outputs if len(batch) == 1 else {name: values[at : at + one.samples] for name, values in outputs.items()}
            at += one.samples
            if not one.done.done():
                one.done.set_result(Ran(own, begun - one.arrived_ns, compute_ns, ran or total))

    def _computed(self, inputs: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], int, int | None]:
        """What the backend answers. Raises `RequestError` where the runtime does not: it may raise anything."""
        try:
            return self._backend.run(inputs)
        except MemoryError as error:
            raise RequestError("inputs", told(error), "fewer samples", HTTPStatus.SERVICE_UNAVAILABLE) from None
        except Exception as error:
            raise RequestError("inputs", f"the model refuses these values ({told(error, 'answering')[:300]})") from error


def _refuse(waiting: _Waiting, error: Exception) -> None:
    if not waiting.done.done():
        waiting.done.set_exception(error)
