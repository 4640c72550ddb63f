"""The newest version of a model: loaded, warmed, swapped in while the one before answers what it has in hand."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

from studylib.errors import RefusedError, StudyError, told
from studylib.serving.own.backend import Backend
from studylib.serving.own.batching import Batcher
from studylib.serving.own.limits import Batching, Limits
from studylib.serving.requests import RequestError

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Loaded:
    """A version that answers. ``in_hand``: requests that have it."""

    version: str
    backend: Backend
    batcher: Batcher
    in_hand: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)


class Versions:
    """``folder`` holds a folder for each version, named by its number, with one file or folder in it; it must appear by a rename.

    ``open``: makes a backend of that file, and takes its time. A version that cannot be loaded is said once, and the one before goes on.
    """

    def __init__(self, folder: Path, open: Callable[[Path], Backend], batching: Batching, limits: Limits):
        self.folder, self.batching, self.limits = folder, batching, limits
        self.swaps, self.why_no_batches = 0, ""
        self._open, self._current, self._broken = open, None, set()

    @property
    def current(self) -> Loaded:
        """The version that new requests get. Raises `RequestError` while there is none."""
        if self._current is None:
            raise RequestError("server", "no version is loaded yet", "try again later", HTTPStatus.SERVICE_UNAVAILABLE)
        return self._current

    @property
    def is_ready(self) -> bool:
        return self._current is not None

    @contextlib.contextmanager
    def using(self, version: str) -> Iterator[Loaded]:
        """The version, or the newest for an empty text, which stays loaded until we leave. Raises `RequestError` for another."""
        loaded = self.current
        if version and version != loaded.version:
            raise RequestError("version", f"'{version[:40]}' is not loaded", loaded.version, HTTPStatus.NOT_FOUND)
        loaded.in_hand += 1
        try:
            yield loaded
        finally:
            loaded.in_hand -= 1
            if not loaded.in_hand:
                loaded.idle.set()

    async def refresh(self) -> None:
        """Load the newest version where it is not loaded; the one before goes when it has answered. Raises `RefusedError` at first."""
        found = newest(self.folder)
        if found is None or found.name in self._broken or (self._current and int(found.name) <= int(self._current.version)):
            if self._current is None:
                raise RefusedError(f"{self.folder} holds no version that can be loaded: a folder named by a number, with a model in it")
            return
        try:
            loaded = await asyncio.get_running_loop().run_in_executor(None, self._loaded, found)
        except Exception as error:  # a broken file must not end the server that answers with the version before
            self._broken.add(found.name)
            if self._current is None:
                raise RefusedError(f"version {found.name} cannot be loaded: {told(error)}") from error
            log.warning("version %s cannot be loaded, version %s goes on: %s", found.name, self._current.version, told(error))
            return
        before, self._current = self._current, loaded
        if before:
            self.swaps += 1
            log.info("version %s answers in place of version %s", loaded.version, before.version)
            await self._let_go(before)

    def _loaded(self, folder: Path) -> Loaded:
        backend = self._open(content(folder))
        batching, reason = self.batching, None
        if batching.is_on:
            reason = backend.why_no_batches(min(batching.max_samples, 3))
        if reason:
            log.warning("version %s is asked request by request: %s", folder.name, reason)
            batching = Batching()
        self.why_no_batches = reason or ""
        # What is put together behind the backend is asked request by request.
        batching = Batching() if backend.batches_itself else batching
        return Loaded(folder.name, backend, Batcher(backend, batching, self.limits.waiting))

    async def _let_go(self, loaded: Loaded) -> None:
        while loaded.in_hand:
            loaded.idle.clear()
            await loaded.idle.wait()
        await asyncio.get_running_loop().run_in_executor(None, loaded.backend.close)

    async def close(self) -> None:
        """Wait for what is in hand, as long as the limits say."""
        if self._current:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._let_go(self._current), self.limits.drain_s)


def newest(folder: Path) -> Path | None:
    """The version with the highest number, or None."""
    inside = folder.iterdir() if folder.is_dir() else ()
    found = [inner for inner in inside if inner.name.isascii() and inner.name.isdigit() and inner.is_dir()]
    return max(found, key=lambda inner: int(inner.name), default=None)


def content(folder: Path) -> Path:
    """What a version holds: a SavedModel is the folder itself, anything else the one file or folder in it."""
    if (folder / "saved_model.pb").is_file():
        return folder
    found = [inner for inner in folder.iterdir() if not inner.name.startswith(".")]
    if len(found) != 1:
        raise StudyError(f"{folder} holds {len(found)} files; a version is one file or folder")
    return found[0]
