"""Where a model comes from and what its outputs mean: what an evaluation is held against."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Version:
    """A retrained version of a model, by its keys: the ``source`` of what is made of it, and its own outputs."""

    source: str
    source_format: str
    reference: str


@dataclass(frozen=True, kw_only=True)
class Origin(Version):
    """A model as it was given. ``stream``: of a model that hands its state on, the ``states`` and ``chunk_s``.

    ``versions``: by the recipe that trains each. ``independent``, ``data``: of the samples, as in `Criteria`.
    """

    samples: str
    task: str
    independent: bool
    data: str
    stream: dict[str, Any] | None = None
    versions: dict[str, Version] = field(default_factory=dict)

    def version(self, base: str) -> Version:
        """What the files of a retrained version are held against; of any other, the model itself."""
        return self.versions.get(base, self)
