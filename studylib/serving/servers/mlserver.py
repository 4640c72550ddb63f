"""Seldon's MLServer."""

from typing import ClassVar

from studylib.serving.servers.apart import Apart


class MLServer(Apart):
    """The Open Inference Protocol, without its binary extension. Source: SeldonIO/MLServer."""

    name: ClassVar[str] = "mlserver"
    backends: ClassVar[dict[str, str]] = {"onnxruntime": "onnx", "tensorflow": "saved_model"}
    wires: ClassVar[tuple[str, ...]] = ("v2_grpc", "v2_json")
    # With newer uvloop its parallel workers do not start.
    packages: ClassVar[tuple[str, ...]] = ("mlserver==1.7.1", "uvloop==0.21.0")
    module: ClassVar[str] = "studylib.serving.behind.mlserver"
    code: ClassVar[tuple[str, ...]] = (module,)
