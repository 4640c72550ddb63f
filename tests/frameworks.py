"""What runs, trains or converts models: packages that reading results needs none of, and `make test FAST=1` neither."""

import importlib.abc
import sys

import pytest

FRAMEWORKS = frozenset(
    ("tensorflow", "keras", "tf_keras", "tf2onnx", "onnx", "onnxruntime", "openvino", "ai_edge_litert", "ai_edge_quantizer", "torch")
) | {"coremltools", "tensorrt", "cuda", "tensorflow_model_optimization", "mlperf_loadgen"}


class Skipping(importlib.abc.MetaPathFinder):
    """Skips the test, or the file, that would import a framework."""

    def find_spec(self, fullname: str, path, target=None) -> None:
        if fullname.partition(".")[0] in FRAMEWORKS:
            raise pytest.skip.Exception(f"FAST=1: needs {fullname}", allow_module_level=True)


def skip_what_imports_them() -> None:
    sys.meta_path.insert(0, Skipping())
