"""ONNX Runtime with one execution provider, and never a silent fall-back to the CPU."""

import importlib.util
from pathlib import Path
from typing import ClassVar

from studylib.errors import RefusedError
from studylib.hardware import Host
from studylib.runtimes.base import Inputs, Options, Outputs, Runtime, Session

_PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}


class OnnxRuntime(Runtime):
    """An ``.onnx`` file, all graph optimizations on. Source: ``onnxruntime.InferenceSession``."""

    name: ClassVar[str] = "onnxruntime"
    format: ClassVar[str] = "onnx"
    package: ClassVar[str] = "onnxruntime"
    providers: ClassVar[tuple[str, ...]] = tuple(_PROVIDERS)

    def why_not(self, provider: str, host: Host) -> str | None:
        reason = super().why_not(provider, host)
        if reason or provider == "cpu":
            return reason
        # Each provider is a library of its own beside the package: looking for it imports nothing.
        folder = Path(importlib.util.find_spec("onnxruntime").origin).parent / "capi"
        if any(folder.glob(f"*onnxruntime_providers_{provider}.*")):
            return None
        return f"this build of ONNX Runtime ({self.version}) has no {_PROVIDERS[provider]}"

    def activate(self, options: Options) -> None:
        import onnxruntime  # noqa: F401

    def load(self, path: Path, options: Options) -> Session:
        return _Session(path, options)


class _Session(Session):
    def __init__(self, path: Path, options: Options):
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = options.threads
        settings.inter_op_num_threads = 1
        wanted = _PROVIDERS[options.provider]
        if options.provider != "cpu":
            settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        # Weights of over 2 GB lie beside the graph, so such an artifact is a folder.
        file = path / "model.onnx" if path.is_dir() else path
        self._session = onnxruntime.InferenceSession(str(file), settings, providers=[wanted])
        self._outputs = [output.name for output in self._session.get_outputs()]
        if self._session.get_providers()[0] != wanted:
            raise RefusedError(f"{wanted} was asked for and {self._session.get_providers()[0]} took the graph")

    def run(self, inputs: Inputs) -> Outputs:
        return dict(zip(self._outputs, self._session.run(self._outputs, inputs), strict=True))

    def placement(self) -> str:
        return self._session.get_providers()[0]
