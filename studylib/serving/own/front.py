"""What every wire of the server leads to: limits, the version, the answer, and what is counted of it."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus

from studylib.runtimes.signature import Signature
from studylib.serving.own.limits import Limits
from studylib.serving.own.metrics import Metrics
from studylib.serving.own.versions import Versions
from studylib.serving.requests import Answer, Request, RequestError, checked, wanted


class Front:
    """``model``: the name under which it is served."""

    def __init__(self, model: str, versions: Versions, limits: Limits):
        self.model, self.versions, self.limits = model, versions, limits
        self.metrics = Metrics(versions)
        self.is_draining = False
        self._in_hand = 0

    @property
    def is_ready(self) -> bool:
        return self.versions.is_ready and not self.is_draining

    @property
    def signature(self) -> Signature:
        """What the version that answers takes. Raises `RequestError` while there is none."""
        return self.versions.current.backend.signature

    def require(self, model: str, version: str = "") -> None:
        """Raise `RequestError` for a model or a version that is not served."""
        if model != self.model:
            raise RequestError("model", f"'{model[:80]}' is not served here", self.model, HTTPStatus.NOT_FOUND)
        if version and version != (current := self.versions.current.version):
            raise RequestError("version", f"'{version[:40]}' is not loaded", current, HTTPStatus.NOT_FOUND)

    async def answer(self, wire: str, read: Callable[[Signature], Request], model: str, version: str = "") -> tuple[Request, Answer]:
        """Read a request with the signature of its version, and answer it. Raises `RequestError`, which is counted."""
        try:
            return await self._answer(wire, read, model, version)
        except RequestError as error:
            self.metrics.refused(wire, str(int(error.status)))
            raise
        except asyncio.CancelledError:
            self.metrics.refused(wire, "gone")
            raise
        except Exception:
            self.metrics.refused(wire, "500")
            raise

    async def _answer(self, wire: str, read: Callable[[Signature], Request], model: str, version: str) -> tuple[Request, Answer]:
        if self.is_draining:
            raise RequestError("server", "it is about to end", "another replica", HTTPStatus.SERVICE_UNAVAILABLE)
        if self._in_hand >= self.limits.at_once:
            raise RequestError("server", f"{self._in_hand} requests are in hand", "try again later", HTTPStatus.TOO_MANY_REQUESTS)
        self.require(model)
        self._in_hand += 1
        self.metrics.in_hand.set(self._in_hand)
        try:
            with self.versions.using(version) as loaded:
                signature = loaded.backend.signature
                request = read(signature)
                samples = checked(request.inputs, signature, self.limits.samples)
                wanted({spec.name: None for spec in signature.outputs}, request.outputs)  # refused before it is computed
                batcher = loaded.batcher
                ran = batcher.run_now(request.inputs, samples) or await self._in_time(batcher.run(request.inputs, samples))
                self.metrics.answered(wire, ran)
                spent = {"queue": ran.queue_ns, "compute": ran.compute_ns}
                outputs = wanted(ran.outputs, request.outputs)
                return request, Answer(outputs, self.model, loaded.version, request.id, spent, ran.batch)
        finally:
            self._in_hand -= 1
            self.metrics.in_hand.set(self._in_hand)

    async def _in_time(self, answering):
        try:
            async with asyncio.timeout(self.limits.answer_s):
                return await answering
        except TimeoutError:
            words = f"no answer within {self.limits.answer_s:g} s"
            raise RequestError("server", words, "fewer samples, or less at once", HTTPStatus.GATEWAY_TIMEOUT) from None


def timing(answer: Answer) -> str:
    """What the server measured of an answer, as the header ``Server-Timing`` has it (W3C): milliseconds by part."""
    parts = [f"{name};dur={nanoseconds / 1e6:.4f}" for name, nanoseconds in answer.spent_ns.items()]
    return ", ".join([*parts, f'batch;desc="{answer.batch}"'])
