"""Servers of others whose packages do not fit beside ours: each in an environment of its own, with a runtime of ours behind."""

import json
from pathlib import Path
from typing import ClassVar

from studylib.artifacts.environments import Environment, foreign
from studylib.artifacts.store import package_version
from studylib.params.paths import root
from studylib.runtimes import RUNTIMES
from studylib.serving.behind.opened import Told
from studylib.serving.clients import Address
from studylib.serving.servers.base import Running, Server, Wishes, free_port


class Apart(Server):
    """``packages`` of the server itself, the first of which is the server; a runtime's own package comes along at our version.

    ``module``: of ours, which is run in its environment and becomes the server.
    """

    packages: ClassVar[tuple[str, ...]]
    module: ClassVar[str]

    def environment_of(self, backend: str) -> Environment:
        """Where it runs with one of its ``backends``."""
        package = RUNTIMES[backend].package
        return Environment(f"{self.name}/{backend}", (*self.packages, f"{package}=={package_version(package)}"))

    def why_not(self, backend: str) -> str | None:
        if not self.environment_of(backend).is_here:
            return f"{self.name} is not installed here; `make peers` brings it"
        return self.why_no_start()

    def why_no_start(self) -> str | None:
        """Why it would not start where it is installed."""
        return None

    def version(self) -> str:
        return self.packages[0].partition("==")[2]

    def environment(self, wishes: Wishes) -> dict[str, str]:
        counts = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(wishes.threads))
        return foreign() | counts | {"PYTHONPATH": str(root()), "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONUNBUFFERED": "1"}

    def command(self, wishes: Wishes, folder: Path) -> list[str]:
        told = Told(
            path=str(wishes.path.resolve()),
            runtime=wishes.backend,
            model=wishes.model,
            folder=str(folder),
            rest=free_port(),
            grpc=free_port(),
            threads=wishes.threads,
            sessions=wishes.sessions,
            batch=wishes.batch,
            wait_ms=wishes.wait_ms,
            settings=wishes.settings,
        )
        (folder / "told.json").write_text(told.words, encoding="utf-8")
        return [str(self.environment_of(wishes.backend).python), "-m", self.module, told.words]

    def address(self, running: Running, wishes: Wishes, timeout_s: float) -> Address:
        told = Told(**json.loads((running.folder / "told.json").read_text(encoding="utf-8")))
        return Address("127.0.0.1", {"rest": told.rest, "grpc": told.grpc}, wishes.model)
