"""The other tools: what each is given, where it runs, and what it makes."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from studylib.artifacts.store import Artifact, Store
from studylib.errors import StudyError
from studylib.models.zoo import Samples
from studylib.params.paths import root

# They run where their tool is installed and we are not.
SCRIPTS = Path(__file__).parents[3] / "requirements" / "peers"
_TIMEOUT_S = 1800
# What a script writes: a file, or for OpenVINO a folder with the graph and its weights.
_MADE = {"onnx": "model.onnx", "tflite": "model.tflite", "openvino": "model"}
# Their last words, of a process that failed.
_LINES = 3


class PeerError(StudyError):
    """A tool could not be installed, or made nothing of a model."""


@dataclass(frozen=True)
class Peer:
    """A tool with its defaults. ``reads``: the format of the float file that it is given; ``recipe``: what ours is most like.

    ``packages``: what is installed for it, at these versions, in an environment of its own. What it makes is run by ``runtime``.
    """

    name: str
    script: str
    packages: tuple[str, ...]
    reads: str
    runtime: str
    format: str
    recipe: str = "static_wi8_ai8"
    wish: str = ""

    @property
    def python(self) -> Path:
        return self._folder / ("Scripts" if os.name == "nt" else "bin") / "python"

    @property
    def _folder(self) -> Path:
        return root() / ".venv-peers" / self._digest(self.packages)[:12]

    def install(self, write=print) -> None:
        """Make its environment, once for these packages. Raises `PeerError`."""
        if (self._folder / ".complete").exists():
            return
        write(f"{self.name}: installing {', '.join(self.packages)}")
        shutil.rmtree(self._folder, ignore_errors=True)
        uv = Path(sys.executable).with_name("uv")
        try:
            self._run([uv, "venv", "--quiet", "--python", sys.executable, self._folder])
            self._run([uv, "pip", "install", "--quiet", "--python", self.python, *self.packages])
        except PeerError as error:
            raise PeerError(
                f"{error}; it could not be installed and is left out. Once a package index can be reached, run it again"
            ) from None
        (self._folder / ".complete").touch()

    def make(self, source: Artifact, samples: Artifact, store: Store) -> Artifact:
        """What it makes of the float file ``source`` with calibration ``samples``, kept in ``store``. Raises `PeerError`."""
        script = SCRIPTS / self.script
        told = (self.packages, script.read_text(encoding="utf-8"), self.wish, source.sha256, samples.sha256)

        def write(folder: Path) -> Path:
            with tempfile.TemporaryDirectory(prefix="studylib-") as given:
                inputs, made = Path(given) / "samples.npz", folder / _MADE[self.format]
                np.savez(inputs, **Samples.load(samples.path).inputs)
                if not made.suffix:
                    made.mkdir()
                self._run([self.python, script, source.path, inputs, made, *([self.wish] if self.wish else [])])
            return made

        facts = {"format": self.format, "precision": f"{self.recipe} by {self.name}", "model": source.model}
        return store.make(self._digest(told), facts, write)

    def _run(self, command: list) -> None:
        try:
            # In a folder of its own: tools leave caches where they are started.
            with tempfile.TemporaryDirectory(prefix="studylib-") as here:
                done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, env=_environment(), cwd=here)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PeerError(f"{self.name}: {error}") from None
        if done.returncode:
            raise PeerError(f"{self.name} ended with {done.returncode}: {' | '.join(done.stderr.strip().splitlines()[-_LINES:])}")

    @staticmethod
    def _digest(facts) -> str:
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _environment() -> dict[str, str]:
    """Ours without what leads to our own packages, or tells somebody that we are here."""
    left_out = ("PYTHONPATH", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if name not in left_out} | {"OLIVE_DISABLE_TELEMETRY": "1"}
