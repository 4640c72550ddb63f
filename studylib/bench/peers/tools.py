"""The other tools: what each is given, where it runs, and what it makes."""

import hashlib
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from studylib.artifacts.environments import Environment, foreign, run
from studylib.artifacts.store import Artifact, Store
from studylib.models.zoo import Samples

# They run where their tool is installed and we are not.
SCRIPTS = Path(__file__).parents[3] / "requirements" / "peers"
# What a script writes: a file, or for OpenVINO a folder with the graph and its weights.
_MADE = {"onnx": "model.onnx", "tflite": "model.tflite", "openvino": "model"}


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
        return self.environment.python

    @property
    def environment(self) -> Environment:
        return Environment(self.name, self.packages)

    def install(self, write=print) -> None:
        """Make its environment, once for these packages. Raises `EnvironmentFailedError`."""
        self.environment.install(write)

    def make(self, source: Artifact, samples: Artifact, store: Store) -> Artifact:
        """What it makes of the float file ``source`` with calibration ``samples``, kept in ``store``. Raises `EnvironmentFailedError`."""
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
        # In a folder of its own: tools leave caches where they are started.
        with tempfile.TemporaryDirectory(prefix="studylib-") as here:
            run(self.name, command, foreign() | {"OLIVE_DISABLE_TELEMETRY": "1"}, Path(here))

    @staticmethod
    def _digest(facts) -> str:
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
