"""Stands in for hardware that is absent: an NVIDIA GPU, its CUDA runtime and TensorRT. It proves nothing about their speed or kernels.

It does what they would be asked to do, and keeps their rules: "device memory" is memory of its own, reached by address; what a
stream was asked for happens when somebody waits for it, and not before; an engine takes the shapes of its profile and no others,
and computes with ONNX Runtime what lies at the addresses it was told. Wrong copies, shapes or types give wrong numbers.
"""

import base64
import ctypes
import enum
import json
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import numpy as np

# Operators that the DLA of this stand-in takes, and one that its parser does not know.
DLA_TAKES, UNKNOWN = {"MatMul", "Conv", "Relu"}, "NonZero"


class cudaError_t(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorInvalidValue = 1
    cudaErrorMemoryAllocation = 2
    cudaErrorNoDevice = 100


class cudaMemcpyKind(enum.IntEnum):
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2


class Nvidia:
    """A machine with one GPU. ``builds`` and ``reads`` count engines built and files read; ``fails``: planted codes by function."""

    def __init__(self, dla_cores: int = 1):
        self.dla_cores, self.builds, self.reads = dla_cores, [], 0
        self.fails: dict[str, cudaError_t] = {}
        self.blocks: dict[int, np.ndarray] = {}
        self.streams: dict[int, list] = {}
        self.name, self.major, self.minor = b"Stand-in GPU\0", 8, 7

    def modules(self) -> dict[str, ModuleType]:
        """What an import of ``tensorrt`` and ``cuda.bindings.runtime`` finds."""
        runtime = _module("cuda.bindings.runtime", **self._cuda(), cudaError_t=cudaError_t, cudaMemcpyKind=cudaMemcpyKind)
        bindings = _module("cuda.bindings", runtime=runtime)
        found = [runtime, bindings, _module("cuda", bindings=bindings), _tensorrt(self)]
        return {module.__name__: module for module in found}

    def _cuda(self) -> dict:
        def cudaGetDevice():
            return 0

        def cudaGetDeviceProperties(device):
            return SimpleNamespace(name=self.name, major=self.major, minor=self.minor)

        def cudaMalloc(size):
            block = np.full(size, 0xAB, np.uint8)  # never zeros, which a forgotten copy might pass for
            self.blocks[block.ctypes.data] = block
            return block.ctypes.data

        def cudaFree(address):
            return cudaError_t.cudaErrorInvalidValue if self.blocks.pop(address, None) is None else None

        def cudaStreamCreate():
            self.streams[len(self.streams) + 1] = []
            return len(self.streams)

        def cudaStreamDestroy(stream):
            return None

        def cudaMemcpyAsync(target, source, size, kind, stream):
            device = target if kind == cudaMemcpyKind.cudaMemcpyHostToDevice else source
            if device not in self.blocks or size > self.blocks[device].nbytes:
                return cudaError_t.cudaErrorInvalidValue
            self.streams[stream].append(lambda: ctypes.memmove(target, source, size))
            return None

        def cudaStreamSynchronize(stream):
            asked, self.streams[stream] = self.streams[stream], []
            for work in asked:
                work()

        def cudaGetErrorString(code):
            return {2: b"out of memory", 100: b"no CUDA-capable device is detected"}.get(int(code), b"invalid argument")

        functions = [value for value in locals().values() if callable(value)]
        return {function.__name__: self._coded(function) for function in functions}

    def _coded(self, function):
        """As the bindings have it: a tuple of the code and the result, if there is one."""

        def coded(*arguments):
            code = self.fails.get(function.__name__, cudaError_t.cudaSuccess)
            found = None if code else function(*arguments)
            if isinstance(found, cudaError_t):
                code, found = found, None
            return (code,) if found is None else (code, found)

        coded.__name__ = function.__name__
        return coded


def _module(name: str, **content) -> ModuleType:
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    vars(module).update(content)
    return module


class DataType(enum.Enum):
    FLOAT, HALF, INT64 = "float32", "float16", "int64"


class TensorIOMode(enum.Enum):
    INPUT, OUTPUT = 1, 2


class DeviceType(enum.Enum):
    GPU, DLA = 0, 1


class BuilderFlag(enum.IntEnum):
    TF32, GPU_FALLBACK = 6, 3


class MemoryPoolType(enum.Enum):
    WORKSPACE = 0


class NetworkDefinitionCreationFlag(enum.IntEnum):
    EXPLICIT_BATCH, STRONGLY_TYPED = 0, 1


class ILogger:
    def __init__(self):
        self.made = True


class Logger(ILogger):
    INTERNAL_ERROR, ERROR, WARNING = range(3)


def _tensorrt(machine: Nvidia) -> ModuleType:
    """The module ``tensorrt``, as far as the study uses it. Source of the names: NVIDIA's Python API of TensorRT 10 and 11."""

    class Builder:
        num_DLA_cores = machine.dla_cores

        def __init__(self, logger):
            assert logger.made, "a logger calls the constructor of ILogger"
            self._logger = logger

        def create_network(self, flags):
            return SimpleNamespace(flags=flags, model=None, num_inputs=0)

        def create_builder_config(self):
            return Config()

        def create_optimization_profile(self):
            return Profile()

        def build_serialized_network(self, network, config):
            model, dla = network.model, config.default_device_type is DeviceType.DLA
            if not network.flags & 1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED:
                return self._refuse("the network is not strongly typed")
            refused = [node.op_type for node in model.graph.node if node.op_type not in DLA_TAKES]
            if dla and refused and BuilderFlag.GPU_FALLBACK not in config.flags:
                return self._refuse(f"{refused[0]} cannot run on DLA\n and GPU fallback is not enabled")
            shapes = {value.name: _shape(value) for value in model.graph.input}
            if any(-1 in shape for shape in shapes.values()):
                if len(config.profiles) != 1 or set(config.profiles[0].shapes) != set(shapes):
                    return self._refuse("network has dynamic inputs, but no optimization profile has been defined")
                shapes = config.profiles[0].shapes
            machine.builds.append({"shapes": shapes, "level": config.builder_optimization_level, "pools": config.pools, "dla": dla})
            content = {"model": base64.b64encode(model.SerializeToString()).decode(), "shapes": shapes, "dla": dla}
            return memoryview(json.dumps(content | {"tf32": BuilderFlag.TF32 in config.flags}).encode())

        def _refuse(self, words):
            self._logger.log(Logger.WARNING, "a warning that is no reason")
            self._logger.log(Logger.ERROR, words)

    class Config:
        def __init__(self):
            self.flags, self.profiles, self.pools = {BuilderFlag.TF32}, [], {}
            self.builder_optimization_level, self.default_device_type, self.DLA_core = 3, DeviceType.GPU, -1

        def clear_flag(self, flag):
            self.flags.discard(flag)

        def set_memory_pool_limit(self, pool, size):
            self.pools[pool.name] = size

        def add_optimization_profile(self, profile):
            self.profiles.append(profile)
            return len(self.profiles) - 1

    class Profile:
        def __init__(self):
            self.shapes = {}

        def set_shape(self, name, least, usual, most):
            assert least == usual == most, "engines here are for exact shapes"
            self.shapes[name] = tuple(usual)

    class OnnxParser:
        def __init__(self, network, logger):
            self._network, self._errors = network, []

        @property
        def num_errors(self):
            return len(self._errors)

        def get_error(self, index):
            return SimpleNamespace(desc=lambda: self._errors[index])

        def parse_from_file(self, path):
            import onnx

            machine.reads += 1
            try:
                model = onnx.load(path)  # with the weights that lie beside it
                onnx.checker.check_model(model)
                if any(node.op_type == UNKNOWN for node in model.graph.node):
                    raise ValueError(f"In node 0 with operator: {UNKNOWN}:\n  No importer registered")
            except Exception as error:
                self._errors.append(f"{error}")
                return False
            inputs = [SimpleNamespace(name=value.name, shape=_shape(value)) for value in model.graph.input]
            self._network.model, self._network.num_inputs, self._network.get_input = model, len(inputs), inputs.__getitem__
            return True

    class Runtime:
        DLA_core = -1

        def __init__(self, logger):
            self._logger = logger

        def deserialize_cuda_engine(self, content):
            try:
                found = json.loads(bytes(content))
            except ValueError:
                self._logger.log(Logger.ERROR, "magicTag != rt::kSERIALIZED_ENGINE_MAGIC_NUMBER")
                return None
            return Engine(found) if found["dla"] == (self.DLA_core >= 0) else None

    class Engine:
        def __init__(self, content):
            import onnx
            import onnxruntime

            model = base64.b64decode(content["model"])
            self.content, self.session = content, onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
            graph = onnx.load_from_string(model).graph
            self.inputs, self.outputs = ([value.name for value in end] for end in (graph.input, graph.output))
            types = {value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)}
            self.types = {name: np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind)) for name, kind in types.items()}

        @property
        def num_io_tensors(self):
            return len(self.inputs) + len(self.outputs)

        def get_tensor_name(self, index):
            return (*self.inputs, *self.outputs)[index]

        def get_tensor_mode(self, name):
            return TensorIOMode.INPUT if name in self.inputs else TensorIOMode.OUTPUT

        def get_tensor_dtype(self, name):
            return DataType(self.types[name].name)

        def create_execution_context(self):
            return Context(self)

    class Context:
        def __init__(self, engine):
            self._engine, self._shapes, self._addresses = engine, {}, {}

        def set_input_shape(self, name, shape):
            self._shapes[name] = tuple(shape)
            return list(shape) == list(self._engine.content["shapes"][name])

        def get_tensor_shape(self, name):
            if name in self._shapes:
                return self._shapes[name]
            zeros = {name: np.zeros(shape, self._engine.types[name]) for name, shape in self._shapes.items()}
            return self._engine.session.run([name], zeros)[0].shape

        def set_tensor_address(self, name, address):
            self._addresses[name] = address
            return True

        def execute_async_v3(self, stream_handle):
            if set(self._addresses) != {*self._engine.inputs, *self._engine.outputs}:
                return False
            machine.streams[stream_handle].append(self._compute)
            return True

        def _compute(self):
            engine = self._engine
            inputs = {name: self._at(name, self._shapes[name]) for name in engine.inputs}
            for name, values in zip(engine.outputs, engine.session.run(engine.outputs, inputs), strict=True):
                self._at(name, values.shape)[...] = values

        def _at(self, name, shape):
            """The tensor as it lies in device memory; what TF32 would make of it, where nobody switched that off."""
            kind, block = self._engine.types[name], machine.blocks[self._addresses[name]]
            values = block[: int(np.prod(shape)) * kind.itemsize].view(kind).reshape(shape)
            if not self._engine.content["tf32"] or name in self._engine.outputs or kind != np.float32:
                return values
            return (values.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)

    def nptype(kind):
        return np.dtype(kind.value).type

    return _module(
        "tensorrt", Builder=Builder, OnnxParser=OnnxParser, Runtime=Runtime, ILogger=ILogger, Logger=Logger, nptype=nptype,
        BuilderFlag=BuilderFlag, DeviceType=DeviceType, MemoryPoolType=MemoryPoolType, TensorIOMode=TensorIOMode,
        NetworkDefinitionCreationFlag=NetworkDefinitionCreationFlag, __version__="10.3.0",
    )  # fmt: skip


def _shape(value) -> tuple[int, ...]:
    return tuple(axis.dim_value if axis.HasField("dim_value") else -1 for axis in value.type.tensor_type.shape.dim)
