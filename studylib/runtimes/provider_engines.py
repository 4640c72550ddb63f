"""What ONNX Runtime's TensorRT provider is told: which precisions it may compute in, and where the engines that it builds are kept."""

import hashlib
from pathlib import Path

from studylib.artifact import content_hash, derived_key, write_text
from studylib.runtimes import engine_cache

_SEAL = ".sha256"


class KeptEngines:
    """The folder of one file's engines, in which the provider writes and reads by itself.

    It would open whatever lies there: so a file that is not what its maker left is removed before the provider sees it, and what
    is new gets its hash when `seal` is called. ``built`` counts the engines that were new. Source: ONNX Runtime's documentation,
    "TensorRT EP Caches".
    """

    def __init__(self, path: Path):
        self.folder = engine_cache.folder() / derived_key("onnxruntime/tensorrt", {}, (content_hash(path),), (), ("onnxruntime",))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.built = 0
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
        """Give every new file its hash. To be called when the provider has built what a query needed."""
        for file in self._files():
            if _sealed(file) is None:
                write_text(_seal_of(file), _hash(file))
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


def _seal_of(file: Path) -> Path:
    return file.with_name(file.name + _SEAL)


def _sealed(file: Path) -> str | None:
    try:
        return _seal_of(file).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
