"""ONNX Runtime with one execution provider, and never a silent fall-back to the CPU."""

import contextlib
import ctypes
import importlib.util
import io
import os
import re
from pathlib import Path
from typing import ClassVar

from studylib.errors import ArtifactError, RefusedError, said
from studylib.machine import nvml
from studylib.machine.hardware import Host, why_no_nvidia_gpu
from studylib.runtimes.base import SESSIONS, Inputs, Options, Outputs, Runtime, Session
from studylib.runtimes.nvidia.provider_engines import KeptEngines, Shapes, fixed_shapes
from studylib.runtimes.signature import Signature, TensorSpec

_PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "nnapi": "NnapiExecutionProvider",
}
# Built into the package, where it has them at all; the others are libraries of their own beside it.
_BUILT_IN = ("xnnpack", "coreml", "nnapi")
_REMEDY = "`make nvidia` brings it (on a Jetson: NVIDIA's own build)"
_LEVELS = {"all": "ORT_ENABLE_ALL", "layout": "ORT_ENABLE_LAYOUT", "extended": "ORT_ENABLE_EXTENDED", "basic": "ORT_ENABLE_BASIC"}
_LEVELS |= {"disable": "ORT_DISABLE_ALL"}
# Types that numpy calls otherwise.
_TYPES = {"float": "float32", "double": "float64"}
INT8_SUMS = "int8_sums"
# Its entry in a session's configuration: sums that cannot saturate.
EXACT_SUMS = ("session.x64quantprecision", "1")


class OnnxRuntime(Runtime):
    """An ``.onnx`` file, all graph optimizations on unless set otherwise. Source: ``onnxruntime.InferenceSession``.

    Settings: ``graph`` (level of its optimizations), ``execution`` and ``inter_threads`` (whether branches of the graph run
    beside each other, on how many threads), ``arena`` and ``pattern`` (memory that is kept, and planned ahead, between
    queries), ``spinning`` (idle threads that wait busily), ``int8_sums`` (in how many bits pairs of int8 products are added on
    x86 processors without VNNI: 16 is faster and may saturate; others add them in 32 whatever is set), ``sessions`` beside each other.
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
        INT8_SUMS: ("16", "32"),
        SESSIONS: ("1", "2", "4", "8"),
    }
    answering: ClassVar[frozenset[str]] = frozenset(("graph", INT8_SUMS))

    def why_not(self, provider: str, host: Host) -> str | None:
        reason = why_no_nvidia_gpu(host) if provider in nvml.PROVIDERS else None
        reason = reason or super().why_not(provider, host)
        if reason or provider == "cpu":
            return reason
        if self._has(provider):
            return None
        remedy = f"; {_REMEDY}" if provider in nvml.PROVIDERS else ""
        return f"this build of ONNX Runtime ({self.version}) has no {_PROVIDERS[provider]}{remedy}"

    def _has(self, provider: str) -> bool:
        """Whether this build has the provider; only one that is built in needs the package imported."""
        if provider in _BUILT_IN:
            import onnxruntime

            return _PROVIDERS[provider] in onnxruntime.get_available_providers()
        return any(_capi().glob(f"*onnxruntime_providers_{provider}.*"))

    def activate(self, options: Options) -> None:
        if options.provider == "tensorrt":
            # TensorRT would take TF32 for float32; its provider has no option against it, NVIDIA's libraries heed this.
            os.environ["NVIDIA_TF32_OVERRIDE"] = "0"
        import onnxruntime  # noqa: F401

        if options.provider in nvml.PROVIDERS:
            _preload(options.provider)

    def _load(self, path: Path, options: Options) -> Session:
        # Weights of over 2 GB lie beside the graph, so such an artifact is a folder.
        file = path / "model.onnx" if path.is_dir() else path
        settings = self._session_options(options)
        if options.provider == "tensorrt":
            return _ByShapes(path, file, options, settings)
        return _Session(file, options.provider, settings, _provider_options(options))

    def _session_options(self, options: Options):
        import onnxruntime

        chosen, found = {name: self.setting(options, name) for name in self.settings}, onnxruntime.SessionOptions()
        # XNNPACK has threads of its own, and two pools would fight for the same cores.
        found.intra_op_num_threads = 1 if options.provider == "xnnpack" else options.threads
        found.inter_op_num_threads = int(chosen["inter_threads"])
        found.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, _LEVELS[chosen["graph"]])
        found.execution_mode = getattr(onnxruntime.ExecutionMode, f"ORT_{chosen['execution'].upper()}")
        found.enable_cpu_mem_arena, found.enable_mem_pattern = chosen["arena"] == "on", chosen["pattern"] == "on"
        for kind in ("intra_op", "inter_op"):
            found.add_session_config_entry(f"session.{kind}.allow_spinning", "1" if chosen["spinning"] == "on" else "0")
        if chosen[INT8_SUMS] == "32":
            found.add_session_config_entry(*EXACT_SUMS)
        # Who runs which node is kept: a provider takes what it can, and leaves the rest to the CPU in silence.
        found.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        return found


def _provider_options(options: Options) -> dict[str, str]:
    """What a provider is told: float32 is computed in float32 (TF32 keeps 10 bits of 23), and threads are as everywhere."""
    return {"cuda": {"use_tf32": "0"}, "xnnpack": {"intra_op_num_threads": str(options.threads)}}.get(options.provider, {})


def _preload(provider: str) -> None:
    """Load NVIDIA's libraries from their packages (nvidia-cudnn-cu13, tensorrt_libs ...), where the loader does not look."""
    import onnxruntime

    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it misses; `_why_not_taken` says so where it matters
        onnxruntime.preload_dlls()
    if provider == "tensorrt":
        with contextlib.suppress(ImportError):
            importlib.import_module("tensorrt")


def _why_not_taken(provider: str) -> str:
    """Which library the provider's own lacks, as the loader says it, and what to install."""
    if provider not in nvml.PROVIDERS:
        return ""
    try:
        ctypes.CDLL(str(_capi() / f"libonnxruntime_providers_{provider}.so"))
    except OSError as error:
        missing = Path(str(error).partition(":")[0]).name
        wanted = re.fullmatch(r"libnv(?:infer|onnxparser)\.so\.(\d+)", missing)
        built_for = f" (this build asks for TensorRT {wanted[1]})" if wanted else ""
        return f": {missing} cannot be loaded{built_for}; {_REMEDY}"
    return f"; {_REMEDY}"


def _exact(settings) -> str:
    """What may be the reason that a file does not open: with exact sums it takes some weights for others."""
    with contextlib.suppress(RuntimeError):  # an entry that nobody added
        key, value = EXACT_SUMS
        if settings.get_session_config_entry(key) == value:
            return f" (with {key}={value} it opens no weights that several products share; static_wi8_ai8_reduce_range opens without)"
    return ""


def _capi() -> Path:
    return Path(importlib.util.find_spec("onnxruntime").origin).parent / "capi"


class _Session(Session):
    def __init__(self, file: Path, provider: str, settings, told: dict[str, str]):
        import onnxruntime

        wanted = _PROVIDERS[provider]
        try:
            self._session = onnxruntime.InferenceSession(str(file), settings, providers=[(wanted, told)])
        except Exception as error:  # its classes derive from nothing else
            words = f"ONNX Runtime {onnxruntime.__version__} does not open {file.name}: {said(error)}"
            raise ArtifactError(f"{words}{_exact(settings)}") from error
        self._outputs = [output.name for output in self._session.get_outputs()]
        if self._session.get_providers()[0] != wanted:
            took = self._session.get_providers()[0]
            raise RefusedError(f"{wanted} was asked for and {took} took the graph{_why_not_taken(provider)}")

    def run(self, inputs: Inputs) -> Outputs:
        try:
            return dict(zip(self._outputs, self._session.run(self._outputs, inputs), strict=True))
        except Exception as error:  # its classes derive from nothing else
            raise ArtifactError(said(error, "ONNX Runtime refuses this query")) from error

    def placement(self) -> str:
        return self._session.get_providers()[0]

    def signature(self) -> Signature:
        return Signature(*(tuple(map(_spec, ports)) for ports in (self._session.get_inputs(), self._session.get_outputs())))

    def nodes(self) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = {}
        for part in self._session.get_provider_graph_assignment_info():
            kinds = found.setdefault(part.ep_name, {})
            for node in part.get_nodes():
                kinds[node.op_type] = kinds.get(node.op_type, 0) + 1
        return found


class _ByShapes(Session):
    """TensorRT's provider: a session, and with it an engine, for each set of shapes, opened by the first query that has them.

    One session for all would widen its engine to every shape, and its speed would depend on what was asked before.
    """

    def __init__(self, path: Path, file: Path, options: Options, settings):
        self._path, self._file, self._options, self._settings = path, file, options, settings
        self._opened: dict[tuple, tuple[_Session, KeptEngines]] = {}
        shapes = fixed_shapes(file)
        if shapes:
            self._open(shapes)

    def run(self, inputs: Inputs) -> Outputs:
        shapes = {name: values.shape for name, values in inputs.items()}
        found = self._opened.get(_order(shapes))
        if found:
            return found[0].run(inputs)
        session, engines = self._open(shapes)
        answered = session.run(inputs)
        engines.seal()
        return answered

    def placement(self) -> str:
        return next((session.placement() for session, _ in self._opened.values()), _PROVIDERS[self._options.provider])

    def nodes(self) -> dict[str, dict[str, int]]:
        return next((session.nodes() for session, _ in self._opened.values()), {})

    def disturbances(self) -> dict[str, float]:
        return {"engines_built": sum(engines.built for _, engines in self._opened.values())}

    def _open(self, shapes: Shapes) -> tuple[_Session, KeptEngines]:
        engines = KeptEngines(self._path, shapes, self._options.settings)
        session = _Session(self._file, self._options.provider, self._settings, engines.options(self._file))
        engines.seal()  # of fixed shapes, the engine is there already
        self._opened[_order(shapes)] = session, engines
        return session, engines


def _spec(port) -> TensorSpec:
    """An input or output as ONNX Runtime tells it: ``tensor(float)``, and words for sizes that are free."""
    kind = port.type.removeprefix("tensor(").removesuffix(")")
    return TensorSpec(port.name, _TYPES.get(kind, kind), tuple(size if isinstance(size, int) else None for size in port.shape))


def _order(shapes: Shapes) -> tuple:
    return tuple(sorted(shapes.items()))
