"""TensorFlow Serving itself, where somebody has installed it: a program on the path, or its image and a container engine that answers."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import ClassVar

from studylib.errors import TrialError
from studylib.serving.clients import Address
from studylib.serving.servers.base import Running, Server, Wishes, free_port, version_folder

PROGRAM = "tensorflow_model_server"
_IMAGE = "tensorflow/serving"
_ENGINES = ("docker", "podman")
_WAYS = (
    f"TensorFlow Serving is not here: no {PROGRAM} on the path and no container engine with the image {_IMAGE}. Ways to get it: Google's "
    f"Debian package tensorflow-model-server, or `docker pull {_IMAGE}`"
)
_ASKED_S = 20


class TensorFlowServing(Server):
    """REST and gRPC of TensorFlow Serving. Source: github.com/tensorflow/serving."""

    name: ClassVar[str] = "tensorflow_serving"
    backends: ClassVar[dict[str, str]] = {"tensorflow": "saved_model"}
    wires: ClassVar[tuple[str, ...]] = ("tfs_grpc", "tfs_rest")

    def why_not(self, backend: str) -> str | None:
        return None if shutil.which(PROGRAM) or self._engine() else _WAYS

    def version(self) -> str:
        if shutil.which(PROGRAM):
            told = _output([PROGRAM, "--version"])
            found = re.search(r"ModelServer: ([\w.+-]+)", told)
            return found[1] if found else "unknown"
        return _output([self._engine(), "image", "inspect", "--format", "{{.Id}}", _IMAGE]).strip()[:19] or "unknown"

    @staticmethod
    def _engine() -> str | None:
        """A container engine that answers and has the image."""
        found = filter(shutil.which, _ENGINES)
        return next((name for name in found if _output([name, "image", "inspect", "--format", "{{.Id}}", _IMAGE]).strip()), None)

    def command(self, wishes: Wishes, folder: Path) -> list[str]:
        rest, grpc = free_port(), free_port()
        (folder / "ports").write_text(f"{rest} {grpc}", encoding="utf-8")
        arguments = [f"--model_name={wishes.model}", f"--tensorflow_intra_op_parallelism={wishes.threads}"]
        arguments += [f"--tensorflow_inter_op_parallelism={wishes.threads}"]
        if wishes.batch > 1:
            (folder / "batching.txt").write_text(batching_file(wishes), encoding="utf-8")
        if shutil.which(PROGRAM):
            batching = ["--enable_batching=true", f"--batching_parameters_file={folder / 'batching.txt'}"] if wishes.batch > 1 else []
            base = version_folder(wishes, folder)
            return [PROGRAM, f"--port={grpc}", f"--rest_api_port={rest}", f"--model_base_path={base}", *arguments, *batching]
        pinned = [f"--cpuset-cpus={','.join(map(str, wishes.cpus))}"] if wishes.cpus else []
        mounts = ["-v", f"{wishes.path.resolve()}:/models/{wishes.model}/1:ro"]
        batching = ["--enable_batching=true", "--batching_parameters_file=/batching.txt"] if wishes.batch > 1 else []
        mounts += ["-v", f"{folder / 'batching.txt'}:/batching.txt:ro"] if wishes.batch > 1 else []
        ports = ["-p", f"127.0.0.1:{grpc}:8500", "-p", f"127.0.0.1:{rest}:8501"]
        # Its name is that of its own folder: no two servers have the same.
        return [
            self._engine(),
            "run",
            "--rm",
            f"--name={folder.name}",
            "--memory=4g",
            *pinned,
            *ports,
            *mounts,
            _IMAGE,
            *arguments,
            *batching,
        ]

    def address(self, running: Running, wishes: Wishes, timeout_s: float) -> Address:
        rest, grpc = (running.folder / "ports").read_text(encoding="utf-8").split()
        return Address("127.0.0.1", {"rest": int(rest), "grpc": int(grpc)}, wishes.model, "")

    def pid(self, running: Running) -> int:
        if shutil.which(PROGRAM):
            return super().pid(running)
        told = _output([self._engine(), "inspect", "--format", "{{.State.Pid}}", running.folder.name]).strip()
        if not told.isdigit() or not Path(f"/proc/{told}").is_dir():
            raise TrialError("the process in the container is not seen from here, so that its memory and processor time cannot be measured")
        return int(told)


def batching_file(wishes: Wishes) -> str:
    """TensorFlow Serving's file of batching parameters (protobuf text)."""
    facts = {
        "max_batch_size": wishes.batch,
        "batch_timeout_micros": round(1000 * wishes.wait_ms),
        "num_batch_threads": wishes.sessions,
        "max_enqueued_batches": 256,
    }
    return "".join(f"{name} {{ value: {value} }}\n" for name, value in facts.items())


def _output(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_ASKED_S, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
