"""NVIDIA's Triton Inference Server, of the wheel nvidia-pytriton, which holds its Python backend alone: runtimes of ours compute there."""

import ctypes.util
import sys
import sysconfig
from pathlib import Path
from typing import ClassVar

from studylib.serving.servers.apart import Apart


class Triton(Apart):
    """The Open Inference Protocol. Source: triton-inference-server/pytriton."""

    name: ClassVar[str] = "triton"
    backends: ClassVar[dict[str, str]] = {"onnxruntime": "onnx", "tensorflow": "saved_model"}
    wires: ClassVar[tuple[str, ...]] = ("v2_grpc", "v2_binary", "v2_json")
    # With numpy 2 it answers tensors without values.
    packages: ClassVar[tuple[str, ...]] = ("nvidia-pytriton==0.7.0", "numpy==1.26.4")
    module: ClassVar[str] = "studylib.serving.behind.triton"
    code: ClassVar[tuple[str, ...]] = (module,)

    def why_no_start(self) -> str | None:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        beside = Path(sysconfig.get_config_var("LIBDIR") or "", f"libpython{version}.so.1.0")
        if beside.exists() or ctypes.util.find_library(f"python{version}"):
            return None
        return f"triton needs libpython{version}.so.1.0; Debian's package libpython{version} brings it"
