"""A session behind another's server, by what was told to its process."""

import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

from studylib.machine.processes import die_with_parent
from studylib.runtimes import RUNTIMES, Options, Session
from studylib.runtimes.signature import TensorSpec


@dataclass(frozen=True)
class Told:
    """What is served and how, as JSON between processes. ``folder``: of this server alone; ``rest``, ``grpc``: its ports."""

    path: str
    runtime: str
    model: str
    folder: str
    rest: int
    grpc: int
    threads: int = 1
    sessions: int = 1
    batch: int = 1
    wait_ms: float = 0.0
    settings: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_command_line(cls) -> "Told":
        """That of this process, which ends with the one that started it."""
        die_with_parent()
        return cls(**json.loads(sys.argv[1]))

    @property
    def words(self) -> str:
        """The same as JSON."""
        return json.dumps(asdict(self))

    def session(self) -> Session:
        """The file in its runtime."""
        return RUNTIMES[self.runtime].load(Path(self.path), Options("cpu", self.threads, self.settings))


def axes(spec: TensorSpec) -> list[int]:
    """Its shape as the Open Inference Protocol has it: -1 for what is free."""
    return [-1 if size is None else size for size in spec.shape]
