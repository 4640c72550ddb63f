"""Time and memory of any function, recorded into the results: `recorded` is a decorator and a context manager.

Every call is one sealed line, appended to ``raw/recorded/<name>.jsonl`` as soon as it has ended: nothing is ever rewritten, and a
process that is killed loses only the call it was in. What recording itself costs is printed by ``make bench BENCH=recording``.
"""

import functools
import inspect
import logging
import os
import re
import threading
import time
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from studylib.errors import InputError
from studylib.machine import hardware
from studylib.machine.process_memory import PeakMemory
from studylib.results.records import append_sealed, unsealed
from studylib.results.results import Results

log = logging.getLogger(__name__)

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,59}")
_FOLDER = "recorded"


@dataclass(frozen=True)
class Call:
    """One recorded call. ``rss_*_bytes`` are the process's; ``rss_peak_bytes`` is None where the system does not tell it.

    ``process`` names the process: values of one are alike. ``alone``: no other recording of another thread or task ran meanwhile;
    otherwise the memory is that of all of them.
    """

    name: str
    process: str
    host_id: str
    started_at: str
    ns: int
    rss_before_bytes: int
    rss_after_bytes: int
    rss_peak_bytes: int | None
    status: str
    reason: str
    alone: bool


class recorded:
    """Record time and memory under ``name`` into ``results``.

    >>> @sl.recorded("preprocess", results)       # doctest: +SKIP
    ... def preprocess(image): ...
    >>> with sl.recorded("load", results): ...    # doctest: +SKIP

    An exception is recorded as a failed call and goes on. Works for nested calls, threads and ``async def``; an asynchronous call's time
    is from its start to its end, whatever else the loop did meanwhile. On Linux it resets the process's own peak of resident memory
    (VmHWM), so that each call has its own. Show with ``sl.tables.recorded(results)``.

    Raises `InputError` for a name that is no plain file name, and for generators: calling one runs nothing.
    """

    def __init__(self, name: str, results: Results):
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InputError(
                f"the name of a recording is {str(name)[:80]!r}; allowed are 1 to 60 small letters, digits, '_', '-' and '.', "
                "the first a letter or digit. Name what is recorded, such as 'preprocess'."
            )
        if not isinstance(results, Results):
            given = type(results).__name__
            raise InputError(f"recorded('{name}', …) was given a {given}; give it results: study.results, or sl.Results(folder).")
        self.name, self.results, self._open = name, results, None

    def __call__(self, function):
        """``function`` with every call recorded."""
        kind = _lazy_kind(function)
        if kind or not callable(function) or inspect.isclass(function):
            raise InputError(f"'{self.name}' cannot record {_named(function)}: {kind or 'it is no function'}.{_instead(kind)}")
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def timed(*arguments, **options):
                with recorded(self.name, self.results):
                    return await function(*arguments, **options)
        else:

            @functools.wraps(function)
            def timed(*arguments, **options):
                with recorded(self.name, self.results):
                    return self._whole(function(*arguments, **options), function)

        return timed

    def __enter__(self):
        if self._open is not None:
            raise InputError(f"this recording of '{self.name}' is open already. Write sl.recorded('{self.name}', results) for each block.")
        self._open = running = _Running()
        running.begin()
        return self

    def __exit__(self, kind, error, _) -> None:
        ended_ns = time.perf_counter_ns()
        running, self._open = self._open, None
        running.end()
        reason = "" if kind is None else f"{kind.__name__}: {error}".partition("\n")[0][:500]
        call = Call(
            name=self.name,
            process=_process(os.getpid()),
            host_id=_host_id(),
            started_at=running.started_at,
            ns=ended_ns - running.started_ns,
            rss_before_bytes=running.before,
            rss_after_bytes=running.after,
            rss_peak_bytes=running.peak,
            status="ok" if kind is None else "failed",
            reason=reason,
            alone=running.alone,
        )
        append_sealed(self.results.raw / _FOLDER / f"{self.name}.jsonl", vars(call))

    def _whole(self, answer, function):
        """``answer``, unless it is a promise whose work is still to come."""
        if inspect.isgenerator(answer) or inspect.iscoroutine(answer) or inspect.isasyncgen(answer):
            kind = f"it returned a {type(answer).__name__.replace('_', ' ')}, whose work is still to come"
            raise InputError(f"'{self.name}' cannot record {_named(function)}: {kind}.{_instead(kind)}")
        return answer


def calls(results: Results) -> list[Call]:
    """Every recorded call, by name and in the order of ending; lines that do not match their seal are left out with a warning."""
    found = []
    for path in sorted((results.raw / _FOLDER).glob("*.jsonl")):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        read = [_call(line) for line in lines if line]
        found += [call for call in read if call]
        if None in read:
            log.warning("%d of %d lines of %s are damaged; they are left out.", read.count(None), len(read), path.name)
    return found


def by_process(found: list[Call], what: str) -> list[np.ndarray]:
    """``what`` (a field of `Call`, ``growth_bytes`` or ``peak_bytes``) of the calls that did not fail, an array for each process.

    Memory only of calls that ran alone; what the system does not tell is left out.
    """
    measures = {
        "growth_bytes": lambda call: call.rss_after_bytes - call.rss_before_bytes,
        "peak_bytes": lambda call: None if call.rss_peak_bytes is None else call.rss_peak_bytes - call.rss_before_bytes,
    }
    counted = [call for call in found if call.status == "ok" and (call.alone or what not in measures)]
    value_of = measures.get(what, lambda call: getattr(call, what))
    groups: dict[str, list[int]] = {}
    for call in counted:
        if value_of(call) is not None:
            groups.setdefault(call.process, []).append(value_of(call))
    return [np.array(values, float) for values in groups.values()]


class _Running:
    """A recording that has begun."""

    def __init__(self):
        self.outer, self.alone = _CURRENT.get(), True

    def begin(self) -> None:
        with _LOCK:
            self.before = _MEMORY.begin(self)
            for other in _ACTIVE - set(self._outwards()):
                other.alone = self.alone = False
            _ACTIVE.add(self)
        _CURRENT.set(self)
        self.started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.started_ns = time.perf_counter_ns()

    def end(self) -> None:
        with _LOCK:
            self.after, self.peak = _MEMORY.end(self)
            _ACTIVE.discard(self)
        if _CURRENT.get() is self:
            _CURRENT.set(self.outer)

    def _outwards(self):
        outer = self.outer
        while outer is not None:
            yield outer
            outer = outer.outer


_CURRENT: ContextVar[_Running | None] = ContextVar("recording", default=None)
_ACTIVE: set[_Running] = set()
_LOCK = threading.Lock()
_MEMORY = PeakMemory()


def _forked() -> None:
    """A forked child has none of its parent's other threads."""
    global _LOCK
    _LOCK = threading.Lock()
    _ACTIVE.intersection_update({_CURRENT.get()})


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


@functools.cache
def _process(pid: int) -> str:
    return f"{pid}-{time.time_ns()}"


@functools.cache
def _host_id() -> str:
    return hardware.probe().id


def _call(line: str) -> Call | None:
    record = unsealed(line)
    try:
        call = Call(**record)
        datetime.fromisoformat(call.started_at)
        sound = all(isinstance(size, int) for size in (call.ns, call.rss_before_bytes, call.rss_after_bytes))
        return call if sound and call.status in ("ok", "failed") else None
    except (TypeError, ValueError):
        return None


def _lazy_kind(function) -> str:
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        return "it is a generator, and calling it runs nothing"
    return f"it is a {type(function).__name__}" if isinstance(function, staticmethod | classmethod) else ""


def _instead(kind: str) -> str:
    if "method" in kind:
        return " Put @sl.recorded below it, next to the function."
    return " Record the loop that consumes it: `with sl.recorded(…):`." if kind else " Give it a function."


def _named(function) -> str:
    return getattr(function, "__qualname__", None) or getattr(function, "__name__", None) or repr(function)[:80]
