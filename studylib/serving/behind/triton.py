"""Triton Inference Server with a runtime of ours in its Python backend. Source: triton-inference-server/python_backend, README."""

import json
import os
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from studylib.runtimes.signature import Signature, TensorSpec
from studylib.serving.behind.opened import Told, axes
from studylib.serving.wires.datatypes import v2

# Triton tells its Python process no PYTHONPATH.
_MODEL = "import sys\n\nsys.path.insert(0, {root!r})\n\nfrom studylib.serving.behind.triton import TritonPythonModel as TritonPythonModel\n"


class TritonPythonModel:
    """What Triton asks, by the names that it looks for. Requests that it puts together are computed as one."""

    def initialize(self, args: dict) -> None:
        """Open the file."""
        told = json.loads(args["model_config"])["parameters"]["told"]["string_value"]
        self._session = Told(**json.loads(told)).session()

    def execute(self, requests: list) -> list:
        """An answer for each request; where they cannot be computed, all say why."""
        import triton_python_backend_utils as triton

        asked = [{one.name(): one.as_numpy() for one in request.inputs()} for request in requests]
        try:
            together = {name: np.concatenate([one[name] for one in asked]) for name in asked[0]} if asked[1:] else asked[0]
            answered = self._session.run(together)
        except Exception as error:  # it is the server's to tell, and the next request's to be answered
            return [triton.InferenceResponse([], triton.TritonError(str(error))) for _ in requests]
        ends = np.cumsum([len(next(iter(one.values()))) for one in asked[:-1]])
        parts = {name: np.split(values, ends) if len(ends) else [values] for name, values in answered.items()}
        return [triton.InferenceResponse([triton.Tensor(name, parts[name][place]) for name in parts]) for place in range(len(requests))]


def config(told: Told, signature: Signature) -> str:
    """Triton's ``config.pbtxt``. Source: triton-inference-server/common, ``model_config.proto``."""
    batches = told.batch > 1 and signature.takes_batches

    def tensor(side: str, spec: TensorSpec) -> str:
        kind = v2(spec.dtype)
        return f'{side} {{ name: "{spec.name}" data_type: TYPE_{kind} dims: {axes(spec)[1:] if batches else axes(spec)} }}'

    return "\n".join(
        (
            f'name: "{told.model}"',
            'backend: "python"',
            f"max_batch_size: {told.batch if batches else 0}",
            *(tensor("input", spec) for spec in signature.inputs),
            *(tensor("output", spec) for spec in signature.outputs),
            f"instance_group {{ kind: KIND_CPU count: {told.sessions} }}",
            *([f"dynamic_batching {{ max_queue_delay_microseconds: {round(1000 * told.wait_ms)} }}"] if batches else []),
            f'parameters {{ key: "told" value: {{ string_value: {json.dumps(told.words)} }} }}',
            "",
        )
    )


def main() -> None:
    """Write the folders that Triton reads, and become Triton."""
    told = Told.from_command_line()
    folder, root = Path(told.folder), Path(__file__).parents[3]
    repository, backend = folder / "models" / told.model, folder / "backends" / "python"
    (repository / "1").mkdir(parents=True)
    (repository / "1" / "model.py").write_text(_MODEL.format(root=str(root)), encoding="utf-8")
    (repository / "config.pbtxt").write_text(config(told, told.session().signature()), encoding="utf-8")
    packages = Path(find_spec("pytriton").origin).parents[1]
    server = packages / "pytriton" / "tritonserver"
    backend.mkdir(parents=True)
    stub = server / "python_backend_stubs" / f"{sys.version_info.major}.{sys.version_info.minor}" / "triton_python_backend_stub"
    for file in (*(server / "backends" / "python").iterdir(), stub):
        (backend / file.name).symlink_to(file)
    libraries = [packages / "nvidia_pytriton.libs", Path(sysconfig.get_config_var("LIBDIR"))]
    # Its Python process takes the interpreter that PATH names first.
    os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    os.environ["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, (*map(str, libraries), os.environ.get("LD_LIBRARY_PATH"))))
    arguments = {
        "model-repository": folder / "models",
        "backend-directory": folder / "backends",
        "http-address": "127.0.0.1",
        "grpc-address": "127.0.0.1",
        "http-port": told.rest,
        "grpc-port": told.grpc,
        "allow-metrics": "false",
        "exit-timeout-secs": 10,
    }
    program = server / "bin" / "tritonserver"
    told_to = ["--disable-auto-complete-config", *(f"--{name}={value}" for name, value in arguments.items())]
    os.execv(program, [str(program), *told_to])


if __name__ == "__main__":
    main()
