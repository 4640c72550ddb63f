"""What every runtime is: something that opens an artifact and answers queries."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from studylib.artifacts.store import package_version
from studylib.errors import InputError, RefusedError, lookup, suggestion
from studylib.machine.hardware import Host
from studylib.runtimes.signature import Signature

# The setting that opens a file several times, so that parts of a query are answered beside each other.
SESSIONS = "sessions"

# Parts of the names of operators that carry the arithmetic of a model; and Core ML's names, of which parts would mean others too.
_COMPUTING = ("Conv", "MatMul", "Gemm", "Attention", "LSTM", "GRU", "RNN", "Einsum")
_COMPUTING_COREML = ("conv", "conv_transpose", "linear", "matmul", "einsum", "scaled_dot_product_attention", "lstm", "gru", "rnn")

Inputs = dict[str, np.ndarray]
Outputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class Options:
    """How to open an artifact: ``provider`` is cpu or an accelerator's name, ``threads`` is always explicit.

    ``settings``: what differs from the runtime's defaults (`Runtime.settings`), by name.
    """

    provider: str = "cpu"
    threads: int = 1
    settings: dict[str, str] = field(default_factory=dict)


class Session(ABC):
    """An opened artifact. ``clock`` gives nanoseconds; only a replayed session brings its own."""

    clock: Callable[[], int] = staticmethod(time.perf_counter_ns)

    @abstractmethod
    def run(self, inputs: Inputs) -> Outputs:
        """Answer one query: inputs by name to outputs by name, quantized ones back in real numbers."""

    def anew(self, inputs: Inputs) -> Outputs:
        """Answer one query as if it were the first: a file that keeps a state from query to query begins again."""
        return self.run(inputs)

    @abstractmethod
    def placement(self) -> str:
        """The provider that really runs, by its own name."""

    def signature(self) -> Signature:
        """Its inputs and outputs. Raises `RefusedError` where the runtime does not tell them."""
        raise RefusedError(f"{type(self).__module__.rsplit('.', 1)[-1]} does not tell the inputs of a file, so it cannot be served")

    def nodes(self) -> dict[str, dict[str, int]]:
        """How many nodes of each kind each provider runs, by the runtime's own names; empty where it does not tell."""
        return {}

    def beside(self) -> list["Session"]:
        """Sessions that may be asked at once, each by a thread of its own: this one alone, but where others answer for it."""
        return [self]

    @property
    def process(self) -> int | None:
        """The process that computes, where that is not this one."""
        return None

    def begin(self) -> None:
        """From now on values are taken: what this session counts begins anew."""
        return None

    def served(self) -> dict:
        """What a server and the wire to it took since `begin`; empty where the answers are made in this process."""
        return {}

    def close(self) -> None:
        """Let go of what does not end with this process by itself."""
        return None

    def disturbances(self) -> dict[str, float]:
        """What this session did that a measurement of it must not contain, by the names of `studylib.machine.disturbance_limits.Limits`."""
        return {}


def why_fallen_back(provider: str, session: Session) -> str | None:
    """Why a session that was asked for an accelerator is none, as far as the runtime tells; None when it is.

    What computes decides: nodes that only work out shapes belong on the CPU, and every provider leaves them there.
    """
    told = session.nodes()
    if provider == "cpu" or not told:
        return None
    wanted, kinds = session.placement(), {}
    for where, counts in told.items():
        for kind, count in counts.items():
            if kind in _COMPUTING_COREML or any(part in kind for part in _COMPUTING):
                kinds.setdefault(where == wanted, {})[kind] = kinds.get(where == wanted, {}).get(kind, 0) + count
    elsewhere, here = kinds.get(False, {}), kinds.get(True, {})
    if told.get(wanted) and not elsewhere:
        return None
    lost, all_of_them = sum(elsewhere.values()), sum(elsewhere.values()) + sum(here.values())
    if not lost:
        return f"fell back: {wanted} took none of the {sum(sum(counts.values()) for counts in told.values())} nodes"
    others = ", ".join(sorted(set(told) - {wanted}))
    return f"fell back: {lost} of {all_of_them} nodes that compute ({', '.join(sorted(elsewhere))}) ran on {others}, not on {wanted}"


class Parallel(Session):
    """Several sessions of one file beside each other: each answers its share of a query's samples, in a thread of its own."""

    def __init__(self, sessions: list[Session]):
        self._sessions, self._pool = sessions, ThreadPoolExecutor(len(sessions))

    def run(self, inputs: Inputs) -> Outputs:
        size = len(next(iter(inputs.values())))
        cuts = [size * part // len(self._sessions) for part in range(len(self._sessions) + 1)]
        parts = [
            (session, {name: values[start:end] for name, values in inputs.items()})
            for session, start, end in zip(self._sessions, cuts, cuts[1:], strict=False)
            if end > start
        ]
        answers = list(self._pool.map(lambda part: part[0].run(part[1]), parts))
        return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}

    def placement(self) -> str:
        return self._sessions[0].placement()

    def signature(self) -> Signature:
        return self._sessions[0].signature()

    def nodes(self) -> dict[str, dict[str, int]]:
        return self._sessions[0].nodes()

    def disturbances(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for session in self._sessions:
            for name, value in session.disturbances().items():
                found[name] = found.get(name, 0) + value
        return found


class Runtime(ABC):
    """A way to run artifacts of one format. Imports nothing heavy before `activate`."""

    name: ClassVar[str]
    format: ClassVar[str]
    package: ClassVar[str]
    providers: ClassVar[tuple[str, ...]] = ("cpu",)
    # What can be set when a file is opened: allowed values by name, the default first. Runtimes take unknown keys in silence.
    settings: ClassVar[dict[str, tuple[str, ...]]] = {}
    # Whether it keeps to the threads that it is told; otherwise they are no setting of it.
    heeds_threads: ClassVar[bool] = True
    # Those of them that may change answers: such a setting is held against the source model like a file of its own.
    answering: ClassVar[frozenset[str]] = frozenset()

    @property
    def version(self) -> str:
        return package_version(self.package)

    @property
    def code(self) -> tuple[type | str, ...]:
        """What of our own code decides how it answers (`studylib.artifacts.code.code_digest`)."""
        return (type(self),)

    def why_not(self, provider: str, host: Host) -> str | None:
        """Why this runtime cannot use ``provider`` on ``host``, or None when it can."""
        if provider not in self.providers:
            return f"{self.name} has no provider '{provider}'; it has {', '.join(self.providers)}"
        try:
            package_version(self.package)
        except ModuleNotFoundError:
            return f"the package {self.package} is not installed (pip install {self.package})"
        return None

    def setting(self, options: Options, name: str) -> str:
        """The value of one setting: as chosen, or the default. Raises `InputError` for one that does not exist."""
        self.check(options.settings)
        return options.settings.get(name, self.settings[name][0])

    def check(self, settings: dict[str, str]) -> None:
        """Raise `InputError` for a setting or a value that this runtime does not have."""
        for name, value in settings.items():
            allowed = lookup(self.settings, f"setting of {self.name}", name)
            if value not in allowed:
                words = f"{self.name}: the setting {name} is '{value}'; allowed are {', '.join(allowed)}."
                raise InputError(words + suggestion(value, allowed))

    @abstractmethod
    def activate(self, options: Options) -> None:
        """Import the framework and set what is set once per process."""

    def load(self, path: Path, options: Options) -> Session:
        """Open the file. Raises `RefusedError` when it would not run on ``options.provider``.

        With the setting ``sessions`` above 1 it is opened so many times, each with its share of the threads.
        """
        self.check(options.settings)
        count = int(options.settings.get(SESSIONS, 1))
        if count == 1:
            return self._load(path, options)
        if count > options.threads:
            raise RefusedError(f"{count} sessions need a thread each, and there are {options.threads}")
        own = {name: value for name, value in options.settings.items() if name != SESSIONS}
        return Parallel([self._load(path, replace(options, threads=share, settings=own)) for share in _shares(options.threads, count)])

    @abstractmethod
    def _load(self, path: Path, options: Options) -> Session:
        """Open the file once; ``options.settings`` were checked."""

    def open(self, path: Path, options: Options) -> Session:
        """Activate and load in one call."""
        self.activate(options)
        return self.load(path, options)


def _shares(threads: int, count: int) -> list[int]:
    """``threads`` dealt out as evenly as may be: 5 among 2 are 3 and 2."""
    return [threads // count + (part < threads % count) for part in range(count)]
