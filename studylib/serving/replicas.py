"""Several servers of one folder of versions behind nginx, which balances over them and asks another one where one has gone."""

import contextlib
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from studylib.errors import Kind, RefusedError, TrialError
from studylib.serving.clients import Address
from studylib.serving.deployment.files import rendered
from studylib.serving.servers.base import Running, free_port
from studylib.serving.servers.own import Own

_READY_S = 10.0


def why_not() -> str | None:
    """Why there are no replicas here, or None."""
    return None if shutil.which("nginx") else "nginx is not installed here (Debian: apt-get install nginx-light)"


class Replicas:
    """``count`` servers of ``versions`` with nginx in front; ``words``: what each server is told (`studylib.serving.own`).

    A context: what was started ends with it. Raises `RefusedError` where nginx is not installed.
    """

    def __init__(self, versions: Path, count: int, words: list[str], model: str = "model"):
        reason = why_not()
        if reason:
            raise RefusedError(reason)
        self.versions, self.words, self.model = versions, words, model
        self._stack = contextlib.ExitStack()
        self.servers: list[Running] = []
        try:
            for _ in range(count):
                self.servers.append(self._started())
            self.address, self._nginx = self._balanced()
        except BaseException:
            self._stack.close()
            raise

    def _started(self, ports: dict[str, int] | None = None) -> Running:
        """One more server, on the ports of one that has gone or on any."""
        return self._stack.enter_context(Own().started(self.versions, self.model, self.words, ports))

    def _balanced(self) -> tuple[Address, subprocess.Popen]:
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="studylib-nginx-")))
        ports = {"rest": free_port(), "grpc": free_port()}
        servers = [{"host": "127.0.0.1", **one.address.ports} for one in self.servers]
        told = {"servers": servers, "listen": "127.0.0.1", "rest_port": ports["rest"], "grpc_port": ports["grpc"], "folder": str(folder)}
        (folder / "nginx.conf").write_text(rendered("nginx.conf", **told, old_nginx=is_old()), encoding="utf-8")
        command = ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log"), "-g", "daemon off;"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._stack.callback(_ended, process)
        until = time.monotonic() + _READY_S
        while not _answers(ports["rest"]):
            if process.poll() is not None or time.monotonic() > until:
                log = (folder / "error.log").read_text(encoding="utf-8", errors="replace")[-300:]
                raise TrialError(f"nginx does not answer; it said: {log or 'nothing'}", Kind.ERROR)
            time.sleep(0.02)
        return Address("127.0.0.1", ports, self.model), process

    def kill(self, place: int) -> None:
        """End one server as if its machine had gone."""
        self.servers[place].process.kill()
        self.servers[place].process.wait()

    def restart(self, place: int) -> None:
        """Start it again where it was."""
        self.servers[place] = self._started(self.servers[place].address.ports)

    def __enter__(self) -> "Replicas":
        return self

    def __exit__(self, *_) -> None:
        self._stack.close()


def is_old() -> bool:
    """Whether this nginx has HTTP/2 as a word of ``listen``: before 1.25.1."""
    told = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=False).stderr
    found = re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", told)
    return bool(found) and tuple(map(int, found.groups())) < (1, 25, 1)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def _ended(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
