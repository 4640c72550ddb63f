"""What every runtime is: something that opens an artifact and answers queries."""

import importlib.metadata
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from studylib.artifact import package_version
from studylib.errors import InputError, lookup, suggestion
from studylib.hardware import Host

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

    @abstractmethod
    def placement(self) -> str:
        """The provider that really runs, by its own name."""


class Runtime(ABC):
    """A way to run artifacts of one format. Imports nothing heavy before `activate`."""

    name: ClassVar[str]
    format: ClassVar[str]
    package: ClassVar[str]
    providers: ClassVar[tuple[str, ...]] = ("cpu",)
    # What can be set when a file is opened: allowed values by name, the default first. Runtimes take unknown keys in silence.
    settings: ClassVar[dict[str, tuple[str, ...]]] = {}
    # Those of them that may change answers: such a setting is held against the source model like a file of its own.
    answering: ClassVar[frozenset[str]] = frozenset()

    @property
    def version(self) -> str:
        return package_version(self.package)

    def why_not(self, provider: str, host: Host) -> str | None:
        """Why this runtime cannot use ``provider`` on ``host``, or None when it can."""
        if provider not in self.providers:
            return f"{self.name} has no provider '{provider}'; it has {', '.join(self.providers)}"
        try:
            package_version(self.package)
        except importlib.metadata.PackageNotFoundError:
            return f"the package {self.package} is not installed"
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

    @abstractmethod
    def load(self, path: Path, options: Options) -> Session:
        """Open the file. Raises `RefusedError` when it would not run on ``options.provider``."""

    def open(self, path: Path, options: Options) -> Session:
        """Activate and load in one call."""
        self.activate(options)
        return self.load(path, options)
