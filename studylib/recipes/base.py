"""What every recipe is: a frozen configuration that turns one artifact into another."""

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

from studylib.artifacts.code import code_digest
from studylib.artifacts.store import Artifact, Store, derived_key, package_version
from studylib.errors import RefusedError
from studylib.models.zoo import Samples
from studylib.results.records import PLAIN, is_plain

_LESSONS = {
    "calibration": "calibration samples; give real training samples",
    "training": "training samples; give real training samples",
    "search": "a search, which the study makes before; run `make study`",
}


@dataclass(frozen=True)
class Recipe(ABC):
    """Called with an artifact and a store, gives the new artifact, built only when the store does not hold it.

    ``name``: the recipe's name in the table. ``target``: format it writes. ``source_format``: format it reads.
    ``learns_from``: what it needs beside: nothing (""), ``calibration`` or ``training`` samples, a ``search``.
    ``float_result``: whether what it writes still computes in float32, as with ``fp32``, so that other recipes may go on
    from it. ``packages``: whose versions decide the result. Its own code, and all that it uses, decide it too; ``modules``: of those
    the ones that it runs by name, in a process of their own. Fields are its configuration; nothing else is.
    """

    name: ClassVar[str]
    target: ClassVar[str]
    source_format: ClassVar[str]
    learns_from: ClassVar[str] = ""
    float_result: ClassVar[bool] = False
    packages: ClassVar[tuple[str, ...]]
    modules: ClassVar[tuple[str, ...]] = ()

    def missing(self) -> str | None:
        """Which package it lacks here, in words, or None when it can run."""
        for package in self.packages:
            try:
                package_version(package)
            except ModuleNotFoundError:
                return f"the package {package} is not installed"
        return None

    def why_not(self, artifact: Artifact) -> str | None:
        """Why this recipe cannot take ``artifact``, or None when it can."""
        if artifact.format != self.source_format:
            return f"{artifact.name} is {artifact.format}; {self.name} to {self.target} starts from {self.source_format}"
        # A plain conversion keeps what the source is.
        if not artifact.is_float and not (self.name == PLAIN and is_plain(artifact.precision)):
            return f"{artifact.name} is already {artifact.precision}; start from its fp32 artifact"
        return None

    def key(self, parent: str, lessons: str | None = None) -> str:
        """The key of what this recipe makes of the artifact with key ``parent``, known without making it."""
        parents = (parent, lessons) if self.learns_from else (parent,)
        return derived_key(self._made_by, asdict(self), parents, code_digest(type(self), *self.modules), self.packages)

    def __call__(self, artifact: Artifact, store: Store, lessons: Artifact | None = None) -> Artifact:
        """The artifact this recipe makes. ``lessons``: what it learns from. Raises `RefusedError` with the reason of `why_not`."""
        reason = self.why_not(artifact)
        if reason is None and self.learns_from and lessons is None:
            reason = f"{self.name} needs {_LESSONS[self.learns_from]}"
        if reason is not None:
            raise RefusedError(reason)
        key = self.key(artifact.key, lessons.key if lessons else None)
        step = {"made_by": self._made_by, "from": artifact.format, "config": asdict(self), "key": key}
        facts = {
            "format": self.target,
            "precision": composed(artifact.precision, self.name),
            "is_float": (self.name == PLAIN and artifact.is_float) or self.float_result,
            "model": artifact.model,
            "lineage": (*artifact.lineage, step),
        }

        def write(folder: Path) -> Path:
            written = self.begin(artifact.path, folder, lessons and lessons.path, store.unfinished(key))
            path, notes = written if isinstance(written, tuple) else (written, {})
            step.update({"notes": notes} if notes else {})
            return path

        return store.make(key, facts, write)

    def begin(self, source: Path, folder: Path, lessons: Path | None, unfinished: Path) -> Path | tuple[Path, dict]:
        """`write` from what lies in ``lessons``; one that takes long keeps in ``unfinished`` what it shall not have to do again."""
        return self.write(source, folder, Samples.load(lessons) if self.learns_from else None)

    @abstractmethod
    def write(self, source: Path, folder: Path, samples: Samples | None) -> Path | tuple[Path, dict]:
        """Write the new file or folder into ``folder`` and return its path, with notes for the lineage where it has some.

        Notes say what was assumed or repaired on the way, as plain JSON. Raises `RefusedError` with the reason and the
        layer it comes from when there is no translation.
        """

    @property
    def _made_by(self) -> str:
        return f"{self.source_format} to {self.target}.{type(self).__name__}"


def composed(before: str, name: str) -> str:
    """The name of what recipe ``name`` makes of an artifact that was made by ``before``: a plain conversion adds nothing to a name."""
    return "_".join(part for part in (before, name) if not is_plain(part)) or before
