"""Where a job runs: what an executor hands its process beside the job, and what of it has to do with this machine alone."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from studylib.artifacts.store import Store

DECIDES_NOTHING = "where files lie"


@dataclass(frozen=True, kw_only=True)
class Site:
    """``store``: the folder of artifacts, from which keys are resolved. ``given``: where lies what the user gave (`named`).

    ``spawned_ns``: when the process was started, by `time.perf_counter_ns`. ``cpus``: the processors it is fixed to.
    ``memory_group``: the control group that holds it to its limit. ``exchange``: a folder for what passes between process and
    executor beside the result, such as a phone's answers. ``takes_turns``: whether it measures in blocks, as it is asked to.
    """

    store: str
    given: dict[str, Any] = field(default_factory=dict)
    spawned_ns: int = 0
    cpus: list[int] | None = None
    memory_group: str | None = None
    exchange: str | None = None
    takes_turns: bool = False

    @property
    def artifacts(self) -> Store:
        return Store(Path(self.store))

    @property
    def folder(self) -> Path:
        """Where process and executor exchange files."""
        return Path(self.exchange)

    def path(self, key: str) -> Path:
        """Where an artifact's content lies. Its hash was checked by who sent the job: a measured process reads no file twice."""
        return self.artifacts.place(key)
