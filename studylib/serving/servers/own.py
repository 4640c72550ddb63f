"""Our own front, with any runtime behind it: so that runtimes are compared behind the same one."""

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import ClassVar

import studylib
from studylib.params.paths import root
from studylib.runtimes.settings import text
from studylib.serving.clients import Address
from studylib.serving.servers.base import Running, Server, Wishes, version_folder

_NEEDED = ("fastapi", "uvicorn", "grpc", "orjson", "prometheus_client")


class Own(Server):
    """FastAPI and grpc.aio on one event loop (`studylib.serving.own`)."""

    name: ClassVar[str] = "own"
    backends: ClassVar[dict[str, str]] = {"onnxruntime": "onnx", "tensorflow": "saved_model", "litert": "tflite", "openvino": "openvino"}
    wires: ClassVar[tuple[str, ...]] = ("v2_grpc", "v2_binary", "v2_json", "tfs_grpc", "tfs_rest")
    times: ClassVar[bool] = True
    code: ClassVar[tuple[str, ...]] = ("studylib.serving.own.serve",)

    def why_not(self, backend: str) -> str | None:
        missing = [name for name in _NEEDED if not importlib.util.find_spec(name)]
        return f"the package {missing[0]} is not installed; `make install` brings it" if missing else None

    def version(self) -> str:
        return studylib.__version__

    def environment(self, wishes: Wishes) -> dict[str, str]:
        path = os.pathsep.join(filter(None, [str(root()), os.environ.get("PYTHONPATH")]))
        counts = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(wishes.threads))
        return super().environment(wishes) | counts | {"PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONUNBUFFERED": "1"}

    def started(self, versions: Path, model: str, words: list[str], ports: dict[str, int] | None = None) -> Running:
        """A server of a folder of versions, once it has answered; ``words``: what it is told. Raises `TrialError`."""
        ports = ports or {"rest": 0, "grpc": 0}
        told = ["--model", model, *words, "--rest-port", str(ports["rest"]), "--grpc-port", str(ports["grpc"])]
        command = [sys.executable, "-m", "studylib.serving.own", str(versions), *told, "--with-parent"]
        return self.begun(command, Wishes(versions, "", model=model))

    def command(self, wishes: Wishes, folder: Path) -> list[str]:
        told = {
            "--model": wishes.model,
            "--runtime": wishes.backend,
            "--options": text(wishes.settings),
            "--threads": wishes.threads,
            "--sessions": wishes.sessions,
            "--batch": wishes.batch,
            "--wait-ms": wishes.wait_ms,
            "--rest-port": 0,
            "--grpc-port": 0,
        }
        arguments = [word for name, value in told.items() for word in (name, str(value)) if value != ""]
        return [sys.executable, "-m", "studylib.serving.own", str(version_folder(wishes, folder)), *arguments, "--with-parent"]

    def address(self, running: Running, wishes: Wishes, timeout_s: float) -> Address:
        facts = json.loads(running.line('{"ready"', timeout_s))
        return Address("127.0.0.1", {"rest": facts["rest"], "grpc": facts["grpc"]}, wishes.model)
