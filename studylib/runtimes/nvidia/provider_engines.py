"""What ONNX Runtime's TensorRT provider is told: which precisions it may compute in, and where the engines that it builds are kept."""

import hashlib
import threading
from pathlib import Path

from studylib.artifacts.code import code_digest
from studylib.artifacts.store import content_hash, derived_key, write_text
from studylib.machine import hardware
from studylib.runtimes.nvidia import engine_cache

_SEAL = ".sha256"
# Sessions beside each other may have built at the same time.
_LOCK = threading.Lock()

Shapes = dict[str, tuple[int, ...]]


class KeptEngines:
    """The folder of the engines of one file for one set of shapes, in which the provider writes and reads by itself.

    It would open whatever lies there, and widen an engine to every shape that it meets: so each set of shapes has its own folder, and
    a file that is not what its maker left is removed before the provider sees it. `seal` gives new files their hash. ``built``: how
    many engines were new. ``settings``: the session's. Source: ONNX Runtime's documentation, "TensorRT EP Caches".
    """

    def __init__(self, path: Path, shapes: Shapes, settings: dict[str, str]):
        host = hardware.probe()
        facts = {"shapes": {name: list(shape) for name, shape in shapes.items()}, "settings": settings}
        facts |= {"gpu": host.nvidia_gpu or host.device_tree}
        key = derived_key("onnxruntime/tensorrt", facts, (content_hash(path),), code_digest(type(self)), ("onnxruntime",))
        self.folder, self.built = engine_cache.folder() / key, 0
        self.folder.mkdir(parents=True, exist_ok=True)
        with _LOCK:
            for file in self._files():
                if _sealed(file) != _hash(file):
                    file.unlink()
                    _seal_of(file).unlink(missing_ok=True)

    def options(self, file: Path) -> dict[str, str]:
        """What the provider is told of the ONNX ``file``: its own precisions and no others, and where engines are kept."""
        types = precisions(file)
        allowed = {"trt_fp16_enable": "float16" in types, "trt_int8_enable": "int8" in types}
        kept = {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(self.folder)}
        return {name: str(int(value)) for name, value in allowed.items()} | kept

    def seal(self) -> None:
        """Give every new or rewritten file its hash. To be called when the provider has built what a query needed."""
        with _LOCK:
            for file in self._files():
                found = _hash(file)
                if _sealed(file) != found:
                    write_text(_seal_of(file), found)
                    self.built += file.suffix == ".engine"

    def _files(self) -> list[Path]:
        return [file for file in sorted(self.folder.iterdir()) if file.is_file() and not file.name.endswith(_SEAL)]


def precisions(path: Path) -> set[str]:
    """``float16`` and ``int8``, as far as the file computes in them: by its weights, and by its quantized tensors."""
    import onnx

    graph = onnx.load(str(path), load_external_data=False).graph
    halves = any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in graph.initializer)
    integers = any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in graph.node)
    return {name for name, found in (("float16", halves), ("int8", integers)) if found}


def fixed_shapes(path: Path) -> Shapes:
    """The shapes of the inputs where the file fixes them all; otherwise none, and queries decide."""
    import onnx

    graph = onnx.load(str(path), load_external_data=False).graph
    weights = {tensor.name for tensor in graph.initializer}
    axes = {one.name: one.type.tensor_type.shape.dim for one in graph.input if one.name not in weights}
    fixed = all(axis.HasField("dim_value") and axis.dim_value >= 0 for dims in axes.values() for axis in dims)
    return {name: tuple(axis.dim_value for axis in dims) for name, dims in axes.items()} if fixed else {}


def _seal_of(file: Path) -> Path:
    return file.with_name(file.name + _SEAL)


def _sealed(file: Path) -> str | None:
    try:
        return _seal_of(file).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
