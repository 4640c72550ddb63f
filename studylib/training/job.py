"""What a training process is asked to do, and how it answers."""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Job:
    """One training. ``source``: the `.keras` model it starts from. ``samples``: training samples (`studylib.models.zoo.Samples`).

    ``target``: an empty folder; the technique writes its result there and nothing else. ``unfinished``: a folder that
    outlives a killed process, for checkpoints. ``options``: the recipe's configuration.
    """

    technique: str
    source: Path
    samples: Path
    target: Path
    unfinished: Path
    seed: int
    options: dict

    def to_json(self) -> str:
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> "Job":
        facts = json.loads(text)
        return cls(**facts | {name: Path(facts[name]) for name in ("source", "samples", "target", "unfinished")})


def say(stage: str) -> None:
    """Tell whoever waits what is being done now."""
    print(json.dumps({"stage": stage}), flush=True, file=sys.stdout)
