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


_LEVELS = {"all": "ORT_ENABLE_ALL", "layout": "ORT_ENABLE_LAYOUT", "extended": "ORT_ENABLE_EXTENDED", "basic": "ORT_ENABLE_BASIC"}
_LEVELS |= {"disable": "ORT_DISABLE_ALL"}


class OnnxRuntime(Runtime):
    """An ``.onnx`` file, all graph optimizations on unless set otherwise. Source: ``onnxruntime.InferenceSession``.

    Settings: ``graph`` (level of its optimizations), ``execution`` and ``inter_threads`` (whether branches of the graph run
    beside each other, on how many threads), ``arena`` and ``pattern`` (memory that is kept, and planned ahead, between
    queries), ``spinning`` (idle threads that wait busily).
    """

    name: ClassVar[str] = "onnxruntime"
    format: ClassVar[str] = "onnx"
    package: ClassVar[str] = "onnxruntime"
    providers: ClassVar[tuple[str, ...]] = tuple(_PROVIDERS)
    settings: ClassVar[dict[str, tuple[str, ...]]] = {
        "graph": tuple(_LEVELS),
        "execution": ("sequential", "parallel"),
        "inter_threads": ("1", "2", "4", "8"),
        "arena": ("on", "off"),
        "pattern": ("on", "off"),
        "spinning": ("on", "off"),
    }
    answering: ClassVar[frozenset[str]] = frozenset(("graph",))

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
        return _Session(path, options, self._session_options(options))

    def _session_options(self, options: Options):
        import onnxruntime

        chosen, found = {name: self.setting(options, name) for name in self.settings}, onnxruntime.SessionOptions()
        found.intra_op_num_threads, found.inter_op_num_threads = options.threads, int(chosen["inter_threads"])
        found.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, _LEVELS[chosen["graph"]])
        found.execution_mode = getattr(onnxruntime.ExecutionMode, f"ORT_{chosen['execution'].upper()}")
        found.enable_cpu_mem_arena, found.enable_mem_pattern = chosen["arena"] == "on", chosen["pattern"] == "on"
        for kind in ("intra_op", "inter_op"):
            found.add_session_config_entry(f"session.{kind}.allow_spinning", "1" if chosen["spinning"] == "on" else "0")
        if options.provider != "cpu":
            found.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        return found


class _Session(Session):
    def __init__(self, path: Path, options: Options, settings):
        import onnxruntime

        wanted = _PROVIDERS[options.provider]
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
