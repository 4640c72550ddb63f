"""One connection to a server, by wire: asks, waits for the answer, and reads what the server measured of it."""

import contextlib
import http.client
import re
import ssl
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from types import ModuleType
from typing import ClassVar

from studylib.errors import TrialError, lookup
from studylib.machine.process_memory import keep_freed_memory
from studylib.runtimes.signature import Signature
from studylib.serving.requests import Answer, Request
from studylib.serving.wires import tfs_grpc, tfs_rest, v2_grpc, v2_rest

TIMING = "server-timing"
# Which of several servers answered, as nginx is told to say (`studylib.serving.replicas`).
BY = "x-answered-by"
# What stands for a server that has gone, or goes, and between two tries.
_GONE, _PAUSE_S = ("502", "503", "504", "UNAVAILABLE"), 0.05
_PART = re.compile(r'(\w+);(?:dur=([\d.]+)|desc="(\d+)")')


@dataclass(frozen=True)
class Address:
    """Where a server answers: ``ports`` by protocol (``rest``, ``grpc``). ``token``: for the header ``Authorization``, where it wants one.

    ``authority``: the certificate that TLS is checked against; None for plain connections.
    """

    host: str
    ports: dict[str, int]
    model: str
    version: str = ""
    token: str = ""
    authority: Path | None = None

    def of(self, protocol: str) -> str:
        return f"{self.host}:{self.ports[protocol]}"


class RefusedByServerError(TrialError):
    """The server refused a request: ``status`` as HTTP has it, or gRPC's name of its code."""

    def __init__(self, status: str, words: str):
        self.status = status
        super().__init__(f"the server refused: {status}: {words[:300]}")


class Client(ABC):
    """A connection of its own; not for several threads."""

    protocol: ClassVar[str]

    def __init__(self, address: Address, signature: Signature | None, timeout_s: float, retries: int):
        self.address, self.signature, self.timeout_s, self.retries = address, signature, timeout_s, retries

    def ask(self, request: Request) -> Answer:
        """One query. Raises `RefusedByServerError`, and OSError or `http.client.HTTPException` where the server is not there."""
        for _ in range(self.retries):
            try:
                return self._ask(request)
            except (OSError, http.client.HTTPException, RefusedByServerError) as error:
                if isinstance(error, RefusedByServerError) and error.status not in _GONE:
                    raise
                time.sleep(_PAUSE_S)
        return self._ask(request)

    @abstractmethod
    def _ask(self, request: Request) -> Answer:
        """The same, once."""

    @abstractmethod
    def ask_signature(self) -> Signature:
        """What the server says that the model takes and gives. Raises as `ask`, and `RequestError` where that is no description."""

    @abstractmethod
    def close(self) -> None:
        """End the connection."""


class RestClient(Client):
    """HTTP/1.1, kept open from query to query."""

    protocol: ClassVar[str] = "rest"
    # Where a model describes itself, and what reads that.
    described: ClassVar[tuple[Callable[[str, str], str], Callable[[bytes], Signature]]]

    def __init__(self, address: Address, signature: Signature | None, timeout_s: float, retries: int):
        super().__init__(address, signature, timeout_s, retries)
        where = (address.host, address.ports["rest"])
        if address.authority:
            secure = ssl.create_default_context(cafile=address.authority)
            self._connection = http.client.HTTPSConnection(*where, timeout=timeout_s, context=secure)
        else:
            self._connection = http.client.HTTPConnection(*where, timeout=timeout_s)
        self._is_used = False
        self._headers = {"authorization": f"Bearer {address.token}"} if address.token else {}

    def _ask(self, request: Request) -> Answer:
        body, headers = self.encoded(request)
        content, told = self.sent("POST", self.where(), body, headers)
        return replace(timed(self.decoded(content, told), told.get(TIMING, "")), by=told.get(BY, ""))

    def sent(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[bytes, dict[str, str]]:
        """What the server answers to one request of HTTP: the body, and the headers by their names in small letters."""
        if self._is_used:
            # A server may have closed a connection on which nothing was asked for long; what it did not begin to answer is asked again.
            with contextlib.suppress(ConnectionError, http.client.BadStatusLine):
                return self._sent(method, path, body, headers)
        return self._sent(method, path, body, headers)

    def _sent(self, method: str, path: str, body: bytes, headers: dict[str, str] | None) -> tuple[bytes, dict[str, str]]:
        try:
            self._is_used = True
            self._connection.request(method, path, body or None, self._headers | (headers or {}))
            response = self._connection.getresponse()
            content = response.read()
        except BaseException:
            self._connection.close()  # what was half read would be taken for the next answer
            self._is_used = False
            raise
        if response.status != HTTPStatus.OK:
            raise RefusedByServerError(str(response.status), content.decode("utf-8", "replace"))
        return content, {name.lower(): value for name, value in response.getheaders()}

    def ask_signature(self) -> Signature:
        path, read = self.described
        return read(self.sent("GET", path(self.address.model, self.address.version))[0])

    @abstractmethod
    def where(self) -> str:
        """The path that is asked."""

    @abstractmethod
    def encoded(self, request: Request) -> tuple[bytes, dict[str, str]]:
        """Body and headers of a query."""

    @abstractmethod
    def decoded(self, content: bytes, headers: dict[str, str]) -> Answer:
        """The answer in a body."""

    def close(self) -> None:
        self._connection.close()


class V2Binary(RestClient):
    """The Open Inference Protocol over REST, tensors as raw bytes."""

    binary: ClassVar[bool] = True
    described = v2_rest.metadata_path, v2_rest.decode_metadata

    def where(self) -> str:
        return v2_rest.path(self.address.model, self.address.version)

    def encoded(self, request: Request) -> tuple[bytes, dict[str, str]]:
        return v2_rest.encode_request(request, self.binary)

    def decoded(self, content: bytes, headers: dict[str, str]) -> Answer:
        return v2_rest.decode_answer(content, headers)


class V2Json(V2Binary):
    """The Open Inference Protocol over REST, tensors as lists of numbers."""

    binary: ClassVar[bool] = False


class TfsRest(RestClient):
    """TensorFlow Serving's REST, by columns."""

    described = tfs_rest.metadata_path, tfs_rest.decode_metadata

    def where(self) -> str:
        return tfs_rest.path(self.address.model, self.address.version)

    def encoded(self, request: Request) -> tuple[bytes, dict[str, str]]:
        return tfs_rest.encode_request(request), {"content-type": "application/json"}

    def decoded(self, content: bytes, headers: dict[str, str]) -> Answer:
        return tfs_rest.decode_answer(content, self.signature)


class GrpcClient(Client):
    """A channel with a connection of its own."""

    protocol: ClassVar[str] = "grpc"
    # Its encoders and decoders, and the names of its methods.
    wire: ClassVar[ModuleType]

    def __init__(self, address: Address, signature: Signature | None, timeout_s: float, retries: int):
        import grpc

        super().__init__(address, signature, timeout_s, retries)
        # One connection for all channels would be the limit of all of them.
        own = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        if address.authority:
            secure = grpc.ssl_channel_credentials(address.authority.read_bytes())
            self._channel = grpc.secure_channel(address.of("grpc"), secure, options=own)
        else:
            self._channel = grpc.insecure_channel(address.of("grpc"), options=own)
        self._metadata = (("authorization", f"Bearer {address.token}"),) if address.token else ()
        self._call, self._error = self._channel.unary_unary(self.wire.ASK), grpc.RpcError

    def _ask(self, request: Request) -> Answer:
        content, call = self._asked(self._call, self.wire.encode_request(request, self.address.model, self.address.version))
        told = dict(call.trailing_metadata() or ())
        by = str(dict(call.initial_metadata() or ()).get(BY, ""))
        return replace(timed(self.wire.decode_answer(content), str(told.get(TIMING, ""))), by=by)

    def _asked(self, call, content: bytes):
        try:
            return call.with_call(content, timeout=self.timeout_s, metadata=self._metadata)
        except self._error as error:
            raise RefusedByServerError(error.code().name, error.details() or "") from None

    def ask_signature(self) -> Signature:
        question = self.wire.ask_metadata(self.address.model, self.address.version)
        return self.wire.decode_metadata(self._asked(self._channel.unary_unary(self.wire.METADATA), question)[0])

    def close(self) -> None:
        self._channel.close()


class V2Grpc(GrpcClient):
    """The Open Inference Protocol over gRPC."""

    wire: ClassVar[ModuleType] = v2_grpc


class TfsGrpc(GrpcClient):
    """TensorFlow Serving's gRPC."""

    wire: ClassVar[ModuleType] = tfs_grpc


WIRES: dict[str, type[Client]] = {"v2_grpc": V2Grpc, "v2_binary": V2Binary, "v2_json": V2Json, "tfs_grpc": TfsGrpc, "tfs_rest": TfsRest}


def connected(wire: str, address: Address, signature: Signature | None = None, timeout_s: float = 30.0, retries: int = 0) -> Client:
    """A connection. ``signature``: of the model, for wires that carry no types. Raises `UnknownNameError` for another wire.

    ``retries``: how often it is asked again where a server has gone with the question in its hands: a prediction may be asked twice.
    Without them a query that was begun is never asked again. From then on this process keeps memory that it frees (`keep_freed_memory`).
    """
    keep_freed_memory()
    return lookup(WIRES, "wire", wire)(address, signature, timeout_s, retries)


def timed(answer: Answer, told: str) -> Answer:
    """The answer with what the server measured of it, as far as it tells."""
    spent, batch = {}, 0
    with contextlib.suppress(ValueError):
        for name, milliseconds, number in _PART.findall(told):
            if milliseconds:
                spent[name] = round(float(milliseconds) * 1e6)
            elif name == "batch":
                batch = int(number)
    return replace(answer, spent_ns=spent, batch=batch)
