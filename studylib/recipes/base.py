"""What every recipe is: a frozen configuration that turns one artifact into another."""

import importlib.metadata
import inspect
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

from studylib.artifact import Artifact, Store, derived_key, package_version
from studylib.errors import RefusedError
from studylib.zoo import Samples


@dataclass(frozen=True)
class Recipe(ABC):
    """Called with an artifact and a store, gives the new artifact, built only when the store does not hold it.

    ``name``: the recipe's name in the table. ``target``: format it writes. ``source_format``: format it reads.
    ``calibrated``: whether it needs samples. ``packages``: whose versions decide the result. ``helpers``: files beside
    its own that decide it too. Fields are its configuration; nothing else is.
    """

    name: ClassVar[str]
    target: ClassVar[str]
    source_format: ClassVar[str]
    calibrated: ClassVar[bool] = False
    packages: ClassVar[tuple[str, ...]]
    helpers: ClassVar[tuple[str, ...]] = ()

    def missing(self) -> str | None:
        """Which package it lacks here, in words, or None when it can run."""
        for package in self.packages:
            try:
                package_version(package)
            except importlib.metadata.PackageNotFoundError:
                return f"the package {package} is not installed"
        return None

    def why_not(self, artifact: Artifact) -> str | None:
        """Why this recipe cannot take ``artifact``, or None when it can."""
        if artifact.format != self.source_format:
            return f"{artifact.name} is {artifact.format}; {self.name} to {self.target} starts from {self.source_format}"
        if artifact.precision != "fp32":
            return f"{artifact.name} is already {artifact.precision}; start from its fp32 artifact"
        return None

    def key(self, parent: str, calibration: str | None = None) -> str:
        """The key of what this recipe makes of the artifact with key ``parent``, known without making it."""
        parents = (parent, calibration) if self.calibrated else (parent,)
        home = Path(inspect.getfile(type(self)))
        sources = (home, *(home.parent / name for name in self.helpers))
        return derived_key(self._made_by, asdict(self), parents, sources, self.packages)

    def __call__(self, artifact: Artifact, store: Store, calibration: Artifact | None = None) -> Artifact:
        """The artifact this recipe makes. Raises `RefusedError` with the reason of `why_not`."""
        reason = self.why_not(artifact)
        if reason is None and self.calibrated and calibration is None:
            reason = f"{self.name} needs calibration samples; give real training samples"
        if reason is not None:
            raise RefusedError(reason)
        key = self.key(artifact.key, calibration.key if calibration else None)
        step = {"made_by": self._made_by, "from": artifact.format, "config": asdict(self), "key": key}
        facts = {
            "format": self.target,
            "precision": self.name,
            "model": artifact.model,
            "lineage": (*artifact.lineage, step),
        }
        samples = Samples.load(calibration.path) if self.calibrated else None

        def write(folder: Path) -> Path:
            written = self.write(artifact.path, folder, samples)
            path, notes = written if isinstance(written, tuple) else (written, {})
            step.update({"notes": notes} if notes else {})
            return path

        return store.make(key, facts, write)

    @abstractmethod
    def write(self, source: Path, folder: Path, calibration: Samples | None) -> Path | tuple[Path, dict]:
        """Write the new file or folder into ``folder`` and return its path, with notes for the lineage where it has some.

        Notes say what was assumed or repaired on the way, as plain JSON. Raises `RefusedError` with the reason and the
        layer it comes from when there is no translation.
        """

    @property
    def _made_by(self) -> str:
        return f"{type(self).__module__}.{type(self).__name__}"
