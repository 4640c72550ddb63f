"""TensorRT itself, beside ONNX Runtime's provider of that name: an engine of the whole graph, or a refusal."""

import importlib.util
from pathlib import Path
from typing import ClassVar

import numpy as np

from studylib.errors import ArtifactError, InputError, RefusedError, TrialError
from studylib.machine.hardware import Host, is_jetson, why_no_nvidia_gpu
from studylib.runtimes.base import Inputs, Options, Outputs, Runtime, Session
from studylib.runtimes.nvidia.cuda_memory import DeviceArray, Stream, gpu
from studylib.runtimes.nvidia.tensorrt_engines import Engines, Shapes, logger

# The first with networks whose types are the file's own; before, TensorRT chose the precision itself.
_OLDEST = 10


class TensorRT(Runtime):
    """An ``.onnx`` file on an NVIDIA GPU (``cuda``) or on the DLA of a Jetson board. Source: ``tensorrt.Builder``.

    An engine is built for exactly the shapes that are asked for, when a file of fixed shapes is opened, or by the first query
    of its shapes, and kept (`studylib.runtimes.nvidia.engine_cache`). A repetition that built one is measured again: the cold start of its
    first attempt shows the build apart. Precision is the file's: float32 without TF32, float16, int8 where it has quantize and
    dequantize nodes. Threads have no part in it.

    Settings: ``workspace_mb`` (the most GPU memory that a layer may work in, in MiB; by default all there is),
    ``optimization`` (how long the builder tries out kernels, 0 to 5; 3 is TensorRT's own).
    """

    name: ClassVar[str] = "tensorrt"
    format: ClassVar[str] = "onnx"
    package: ClassVar[str] = "tensorrt"
    providers: ClassVar[tuple[str, ...]] = ("cuda", "dla")
    heeds_threads: ClassVar[bool] = False
    settings: ClassVar[dict[str, tuple[str, ...]]] = {
        "workspace_mb": ("default", "256", "1024", "4096"),
        "optimization": ("3", "0", "1", "2", "4", "5"),
    }
    # Both decide which kernels compute, and so how sums are rounded.
    answering: ClassVar[frozenset[str]] = frozenset(settings)

    def why_not(self, provider: str, host: Host) -> str | None:
        reason = _why_no_device(provider, host) if provider in self.providers else None
        reason = reason or super().why_not(provider, host)
        if reason:
            return reason
        if importlib.util.find_spec("cuda") is None or importlib.util.find_spec("cuda.bindings") is None:
            return "the package cuda-python is not installed (pip install cuda-python)"
        if int(self.version.split(".")[0]) < _OLDEST:
            return f"TensorRT {self.version} chooses the precision itself; {_OLDEST}.0 or newer keeps the file's (pip install -U tensorrt)"
        return None

    def activate(self, options: Options) -> None:
        import tensorrt  # noqa: F401
        from cuda.bindings import runtime  # noqa: F401

    def _load(self, path: Path, options: Options) -> Session:
        if options.provider not in self.providers:
            raise InputError(f"{self.name} has no provider '{options.provider}'; it has {', '.join(self.providers)}")
        return _Session(Path(path), options.provider, {name: self.setting(options, name) for name in self.settings})


class _Session(Session):
    def __init__(self, path: Path, provider: str, settings: dict[str, str]):
        import tensorrt as trt

        self._gpu, self._provider, self._stream = gpu(), provider, Stream()
        self._engines = Engines(path, provider, settings, self._gpu)
        self._runtime = trt.Runtime(logger())
        if provider == "dla":
            self._runtime.DLA_core = 0
        self._opened: dict[tuple, _Engine] = {}
        if not any(-1 in shape for shape in self._engines.inputs.values()):
            self._open(self._engines.inputs)

    def run(self, inputs: Inputs) -> Outputs:
        opened = self._opened.get(_order(inputs))
        if opened is None:
            self._check(inputs)
            opened = self._open({name: values.shape for name, values in inputs.items()})
        return opened.run(inputs)

    def placement(self) -> str:
        return self._gpu.name if self._provider == "cuda" else f"DLA core 0 of {self._gpu.name}"

    def disturbances(self) -> dict[str, float]:
        return {"engines_built": self._engines.built}

    def _open(self, shapes: Shapes) -> "_Engine":
        opened = _Engine(self._runtime, self._engines.engine(shapes), shapes, self._stream)
        self._opened[tuple(sorted(shapes.items()))] = opened
        return opened

    def _check(self, inputs: Inputs) -> None:
        """Raise in words for inputs that the file does not take; TensorRT would begin a build and end it in its own."""
        taken = self._engines.inputs
        if set(inputs) != set(taken):
            raise ArtifactError(f"the file has the inputs {sorted(taken)}, and {sorted(inputs)} were given")
        for name, values in inputs.items():
            fixed = taken[name]
            if len(fixed) != values.ndim or any(size not in (-1, given) for size, given in zip(fixed, values.shape, strict=True)):
                raise RefusedError(f"the file takes '{name}' with the shape {list(fixed)}, and {list(values.shape)} was asked for")


class _Engine:
    """One engine and its tensors in the GPU's memory, which every query of its shapes uses again."""

    def __init__(self, runtime, content: bytes, shapes: Shapes, stream: Stream):
        import tensorrt as trt

        self._stream = stream
        self._engine = runtime.deserialize_cuda_engine(content)
        self._context = self._engine and self._engine.create_execution_context()
        if not self._context:
            remedy = "The GPU's memory may be used up; after a new driver, delete outputs/.engines"
            raise TrialError(f"TensorRT does not open the engine that it built: {logger().words()}. {remedy}")
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        inputs = [name for name in names if self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        for name in inputs:
            self._do(self._context.set_input_shape(name, shapes[name]))
        tensors = {name: self._tensor(trt, name) for name in names}
        self._inputs = {name: tensors[name] for name in inputs}
        self._outputs = {name: tensors[name] for name in names if name not in inputs}

    def run(self, inputs: Inputs) -> Outputs:
        # Kept until the copies are done, which go on after this method asked for them.
        given = {name: np.asarray(inputs[name], order="C") for name in self._inputs}
        for name, target in self._inputs.items():
            if given[name].dtype != target.dtype:
                raise ArtifactError(f"the file takes '{name}' as {target.dtype}, and {given[name].dtype} was given")
            self._stream.upload(given[name], target)
        self._do(self._context.execute_async_v3(self._stream.handle))
        outputs = {name: self._stream.download(source) for name, source in self._outputs.items()}
        self._stream.wait()
        return outputs

    def _tensor(self, trt, name: str) -> DeviceArray:
        shape = tuple(self._context.get_tensor_shape(name))
        if any(length < 0 for length in shape):
            raise RefusedError(f"the shape {list(shape)} of '{name}' depends on the values of the inputs; take onnxruntime for this file")
        found = DeviceArray(shape, trt.nptype(self._engine.get_tensor_dtype(name)))
        self._do(self._context.set_tensor_address(name, found.address))
        return found

    def _do(self, done: bool) -> None:
        if not done:
            raise TrialError(f"TensorRT failed: {logger().words()}")


def _order(inputs: Inputs) -> tuple:
    return tuple(sorted((name, values.shape) for name, values in inputs.items()))


def _why_no_device(provider: str, host: Host) -> str | None:
    """Why the hardware for ``provider`` is not here, or None as far as files tell."""
    if provider == "dla" and not is_jetson(host):
        return "no DLA is visible: NVIDIA's Jetson AGX Orin and Orin NX boards have one"
    return why_no_nvidia_gpu(host)
