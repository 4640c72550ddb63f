"""The configuration to deploy: which file, which runtime, which settings."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Chosen:
    """``path``: the model's file or folder. ``name``: under which it is served. ``options``: of the runtime, as text."""

    name: str
    label: str
    path: Path
    runtime: str
    threads: int
    options: str

    @property
    def arguments(self) -> list[str]:
        """What the server is told."""
        told = {"--model": self.name, "--runtime": self.runtime, "--threads": str(self.threads), "--options": self.options}
        return [word for name, value in told.items() if value for word in (name, value)]

    def versions(self, folder: Path) -> Path:
        """``folder`` with this model as its only version, or the next one where another lies there already; it appears by a rename."""
        folder.mkdir(parents=True, exist_ok=True)
        found = sorted((inner for inner in folder.iterdir() if inner.name.isdigit()), key=lambda inner: int(inner.name))
        if found and _same(found[-1], self.path):
            return folder
        writing = folder / ".writing"
        shutil.rmtree(writing, ignore_errors=True)
        if self.path.is_dir() and (self.path / "saved_model.pb").is_file():
            shutil.copytree(self.path, writing)
        else:
            writing.mkdir()
            (shutil.copytree if self.path.is_dir() else shutil.copy)(self.path, writing / self.path.name)
        writing.rename(folder / str(int(found[-1].name) + 1 if found else 1))
        return folder


def _same(version: Path, path: Path) -> bool:
    """Whether a version holds this very model."""
    from studylib.artifacts.store import content_hash

    inner = version if (path / "saved_model.pb").is_file() else version / path.name
    return inner.exists() and content_hash(inner) == content_hash(path)


def served_name(model: str) -> str:
    """A model's name as paths and Kubernetes take it: small letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-")[:50] or "model"
