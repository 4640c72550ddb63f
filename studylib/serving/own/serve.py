"""The life of the server: open ports, load the model, answer, swap versions, and end without losing a request."""

import asyncio
import contextlib
import json
import logging
import signal
import socket
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import uvicorn

import studylib
from studylib.errors import InputError, lookup
from studylib.machine.process_memory import keep_freed_memory
from studylib.models.own.card import Card
from studylib.runtimes import RUNTIMES, Options
from studylib.serving.own import access, backend, rest, rpc
from studylib.serving.own.front import Front
from studylib.serving.own.limits import Batching, Limits
from studylib.serving.own.versions import Versions

log = logging.getLogger(__name__)

# A connection on which nothing is asked; as long as nginx keeps one.
_KEPT_OPEN_S = 75


@dataclass(frozen=True)
class Configuration:
    """``folder``: of versions. ``options``: how the runtime opens them, with all threads. ``ports``: REST and gRPC, 0 for any that is free.

    ``look_s``: how often it is looked for a newer version. ``token``, ``certificate``, ``key``: files, or None.
    """

    model: str
    folder: Path
    runtime: str
    options: Options
    sessions: int = 1
    batching: Batching = field(default_factory=Batching)
    limits: Limits = field(default_factory=Limits)
    host: str = "127.0.0.1"
    ports: tuple[int, int] = (0, 0)
    look_s: float = 1.0
    token: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    card: Card = field(default_factory=Card)


class _Http(uvicorn.Server):
    """Signals are ours."""

    @contextlib.contextmanager
    def capture_signals(self):
        yield


async def serve(configuration: Configuration, say=print) -> None:
    """Serve until SIGTERM or SIGINT. Says a line of JSON once it answers: its ports, and the version."""
    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ending.set)
    access.require_pair(configuration.certificate, configuration.key)
    is_right = access.token_check(configuration.token)
    runtime = lookup(RUNTIMES, "runtime", configuration.runtime)
    runtime.check(configuration.options.settings)
    runtime.activate(configuration.options)

    def opened(path: Path) -> backend.Backend:
        return backend.opened(runtime, path, configuration.options, configuration.sessions, configuration.batching)

    versions = Versions(configuration.folder, opened, configuration.batching, configuration.limits)
    front = Front(configuration.model, versions, configuration.limits)
    await versions.refresh()
    http, listening = _http(configuration, front, is_right)
    remote = rpc.server_of(front, studylib.__version__, is_right)
    grpc_port = _grpc_port(remote, configuration)
    await remote.start()
    keep_freed_memory()  # not before: what loading takes for a while goes back to the system, and is no memory of the model
    answering = asyncio.ensure_future(http.serve(sockets=[listening]))
    while not http.started:
        if answering.done():
            raise InputError(f"REST could not be started: {answering.exception() or 'it ended by itself'}")
        await asyncio.sleep(0.005)
    ports = {"rest": listening.getsockname()[1], "grpc": grpc_port}
    say(json.dumps({"ready": True, "version": versions.current.version, "without_batches": versions.why_no_batches} | ports), flush=True)
    looking = asyncio.ensure_future(_look(versions, configuration.look_s))
    await asyncio.wait((asyncio.ensure_future(ending.wait()), answering), return_when=asyncio.FIRST_COMPLETED)
    looking.cancel()
    front.is_draining = True
    http.should_exit = True
    await asyncio.gather(remote.stop(configuration.limits.drain_s), answering)
    await versions.close()


async def _look(versions: Versions, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await versions.refresh()
        except OSError as error:  # a folder that is moved or locked for a moment; the version before goes on
            log.warning("it cannot be looked for a newer version: %s", error)


def _http(configuration: Configuration, front: Front, is_right) -> tuple[_Http, socket.socket]:
    app = rest.app_of(front, configuration.card, studylib.__version__)
    told = {"ssl_certfile": configuration.certificate, "ssl_keyfile": configuration.key} if configuration.key else {}
    config = uvicorn.Config(
        rest.Guarded(app, is_right) if is_right else app,
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_keep_alive=_KEPT_OPEN_S,
        timeout_graceful_shutdown=round(configuration.limits.drain_s),
        backlog=1024,
        **told,
    )
    family = socket.AF_INET6 if ":" in configuration.host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((configuration.host, configuration.ports[0]))
    except OSError as error:
        raise InputError(
            f"port {configuration.ports[0]} of {configuration.host} cannot be opened: {error.strerror}. Give another"
        ) from None
    return _Http(config), listening


def _grpc_port(server: grpc.aio.Server, configuration: Configuration) -> int:
    host = f"[{configuration.host}]" if ":" in configuration.host else configuration.host
    address = f"{host}:{configuration.ports[1]}"
    try:
        if configuration.key is None:
            return server.add_insecure_port(address)
        pair = (configuration.key.read_bytes(), configuration.certificate.read_bytes())
        return server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
    except RuntimeError:
        raise InputError(f"port {configuration.ports[1]} of {configuration.host} cannot be opened. Give another") from None
