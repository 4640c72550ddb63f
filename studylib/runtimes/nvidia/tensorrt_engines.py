"""Engines that TensorRT builds of one ONNX file: each for one GPU and exactly the shapes that are asked for."""

import functools
import json
from pathlib import Path

from studylib.artifacts.code import code_digest
from studylib.artifacts.store import content_hash, derived_key
from studylib.errors import RefusedError
from studylib.runtimes.nvidia import engine_cache
from studylib.runtimes.nvidia.cuda_memory import Gpu

Shapes = dict[str, tuple[int, ...]]


class Engines:
    """Engines of the file at ``path`` for a ``provider`` (cuda, dla) and a GPU, built where none is kept.

    ``settings``: every setting of the runtime by name. The file is only read by TensorRT when something has to be built:
    a process that finds its engine needs neither the time nor the memory for that. ``built`` counts engines.
    """

    def __init__(self, path: Path, provider: str, settings: dict[str, str], gpu: Gpu):
        # Weights of over 2 GB lie beside the graph, so such an artifact is a folder.
        self._file = path / "model.onnx" if path.is_dir() else path
        self._provider, self._settings, self._gpu = provider, settings, gpu
        self._content, self.built = content_hash(path), 0

    @functools.cached_property
    def inputs(self) -> Shapes:
        """The shapes of the inputs by name as the file has them, -1 for an axis of any length."""
        key = self._key("inputs")
        found = engine_cache.kept(key)
        if found is None:
            _, network, _ = self._read()
            tensors = [network.get_input(index) for index in range(network.num_inputs)]
            found = json.dumps({tensor.name: [int(length) for length in tensor.shape] for tensor in tensors}).encode()
            engine_cache.keep(key, found)
        return {name: tuple(shape) for name, shape in json.loads(found).items()}

    def engine(self, shapes: Shapes) -> bytes:
        """The serialized engine for inputs of these shapes. Raises `RefusedError` with TensorRT's words when it builds none."""
        key = self._key({name: list(shape) for name, shape in shapes.items()})
        found = engine_cache.kept(key)
        if found is None:
            found = self._built(shapes)
            engine_cache.keep(key, found)
        return found

    def _key(self, shapes) -> str:
        facts = {"provider": self._provider, "settings": self._settings, "shapes": shapes}
        facts |= {"gpu": self._gpu.name, "capability": self._gpu.capability}
        return derived_key("tensorrt", facts, (self._content,), code_digest(type(self)), ("tensorrt",))

    def _read(self):
        """Builder, network and the parser that owns the network's weights."""
        import tensorrt as trt

        log = logger()
        builder = trt.Builder(log)
        # Types are the file's own, float16 and int8 included. Since TensorRT 11 that is so without the flag.
        strongly = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
        network = builder.create_network(0 if strongly is None else 1 << int(strongly))
        parser = trt.OnnxParser(network, log)
        if not parser.parse_from_file(str(self._file)):
            errors = [parser.get_error(index).desc() for index in range(parser.num_errors)]
            raise RefusedError(f"TensorRT does not read this file: {_line('; '.join(errors)) or log.words()}")
        return builder, network, parser

    def _built(self, shapes: Shapes) -> bytes:
        import tensorrt as trt

        builder, network, parser = self._read()
        config = builder.create_builder_config()
        config.clear_flag(trt.BuilderFlag.TF32)  # float32 is computed in float32: TF32 keeps 10 bits of 23
        config.builder_optimization_level = int(self._settings["optimization"])
        if self._settings["workspace_mb"] != "default":
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, int(self._settings["workspace_mb"]) * 2**20)
        if self._provider == "dla":
            if not builder.num_DLA_cores:
                raise RefusedError(
                    f"TensorRT {trt.__version__} sees no DLA beside {self._gpu.name}: Jetson AGX Orin and Orin NX have one, and not every "
                    "version of TensorRT drives it. Take tensorrt/cuda here"
                )
            # Without the flag GPU_FALLBACK: a layer that the DLA cannot take is refused, and not given to the GPU in silence.
            config.default_device_type, config.DLA_core = trt.DeviceType.DLA, 0
        if any(-1 in shape for shape in self.inputs.values()):
            profile = builder.create_optimization_profile()
            for name, shape in shapes.items():
                profile.set_shape(name, shape, shape, shape)
            config.add_optimization_profile(profile)
        made = builder.build_serialized_network(network, config)
        del parser  # it owns the weights, so it had to live until here
        if made is None:
            raise RefusedError(f"TensorRT builds no engine of this file for {self._provider}: {logger().words()}")
        self.built += 1
        return bytes(made)


@functools.cache
def logger():
    """The logger of this process: TensorRT goes on with the first that it is given. It keeps errors, which are told nowhere else."""
    import tensorrt as trt

    class Log(trt.ILogger):
        def __init__(self):
            trt.ILogger.__init__(self)
            self._errors: list[str] = []

        def log(self, severity, msg) -> None:
            if severity in (trt.Logger.INTERNAL_ERROR, trt.Logger.ERROR):
                self._errors.append(msg)

        def words(self) -> str:
            """The errors since they were last asked for, in one line."""
            told, self._errors = self._errors, []
            return _line("; ".join(told)) or "it says no reason"

    return Log()


def _line(words: str) -> str:
    return " ".join(words.split())[:400]
