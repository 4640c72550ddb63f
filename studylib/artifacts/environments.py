"""Python environments of their own, made on demand: for tools and servers whose packages do not fit beside ours."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from studylib.errors import StudyError
from studylib.params.paths import root

_TIMEOUT_S = 1800
# Their last words, of a process that failed.
_LINES = 3


class EnvironmentFailedError(StudyError):
    """An environment could not be made, or what ran in it failed."""


@dataclass(frozen=True)
class Environment:
    """``packages`` at these versions; ``name``: whose they are, for messages."""

    name: str
    packages: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Where it is, or will be."""
        return root() / ".venv-peers" / hashlib.sha256(json.dumps(self.packages).encode()).hexdigest()[:12]

    @property
    def programs(self) -> Path:
        return self.folder / ("Scripts" if os.name == "nt" else "bin")

    @property
    def python(self) -> Path:
        return self.programs / "python"

    @property
    def is_here(self) -> bool:
        return (self.folder / ".complete").exists()

    def install(self, write=print) -> None:
        """Make it, once for these packages. Raises `EnvironmentFailedError`."""
        if self.is_here:
            return
        write(f"{self.name}: installing {', '.join(self.packages)}")
        shutil.rmtree(self.folder, ignore_errors=True)
        uv = Path(sys.executable).with_name("uv")
        try:
            run(self.name, [uv, "venv", "--quiet", "--python", sys.executable, self.folder])
            run(self.name, [uv, "pip", "install", "--quiet", "--python", self.python, *self.packages])
        except EnvironmentFailedError as error:
            words = f"{error}; it could not be installed and is left out. Once a package index can be reached, run it again"
            raise EnvironmentFailedError(words) from None
        (self.folder / ".complete").touch()


def run(name: str, command: list, environment: dict[str, str] | None = None, folder: Path | None = None) -> None:
    """A command of ``name`` to its end. Raises `EnvironmentFailedError` with its last words."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, env=environment or foreign(), cwd=folder)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvironmentFailedError(f"{name}: {error}") from None
    if done.returncode:
        words = " | ".join(done.stderr.strip().splitlines()[-_LINES:])
        raise EnvironmentFailedError(f"{name} ended with {done.returncode}: {words}")


def foreign() -> dict[str, str]:
    """Our variables without those that lead to our own packages."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
