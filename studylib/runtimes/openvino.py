"""OpenVINO: Intel's runtime, here on its intermediate representation."""

import sys
from pathlib import Path
from typing import ClassVar

import numpy as np

from studylib.errors import ArtifactError, RefusedError
from studylib.machine.hardware import Host
from studylib.runtimes.base import Inputs, Options, Runtime, Session
from studylib.runtimes.signature import Signature, TensorSpec

_DEVICES = {"cpu": "CPU", "gpu": "GPU", "npu": "NPU"}
_WHAT = {"gpu": "Intel GPU", "npu": "Intel NPU"}


class OpenVino(Runtime):
    """A folder with ``model.xml`` and ``model.bin``, one query at a time. Source: ``openvino.Core.compile_model``.

    CPU and GPU compute in the model's own float32: by themselves they take bfloat16 or float16 where the device has it.
    An NPU has no float32. Settings: ``hint`` (what the device is asked to be good at) and ``streams`` (queries that it may
    compute at once, each on its share of the threads); one query at a time has one stream.
    """

    name: ClassVar[str] = "openvino"
    format: ClassVar[str] = "openvino"
    package: ClassVar[str] = "openvino"
    providers: ClassVar[tuple[str, ...]] = tuple(_DEVICES)
    settings: ClassVar[dict[str, tuple[str, ...]]] = {
        "hint": ("latency", "throughput", "cumulative_throughput"),
        "streams": ("1", "2", "4", "auto"),
    }

    def why_not(self, provider: str, host: Host) -> str | None:
        reason = super().why_not(provider, host)
        if reason or provider == "cpu":
            return reason
        return _why_no_device(provider)

    def activate(self, options: Options) -> None:
        _openvino()

    def _load(self, path: Path, options: Options) -> Session:
        reason = None if options.provider == "cpu" else _why_no_device(options.provider)
        if reason:
            raise RefusedError(reason)
        chosen = {name: self.setting(options, name) for name in self.settings}
        return _Session(path, options.provider, _properties(options, **chosen))


class _Session(Session):
    def __init__(self, path: Path, provider: str, properties: dict[str, str]):
        self._model = _openvino().Core().compile_model(Path(path) / "model.xml", _DEVICES[provider], properties)
        self._request = self._model.create_infer_request()
        self._inputs = {name: port for port in self._model.inputs for name in port.get_names()}
        self._outputs = [_output_name(port) for port in self._model.outputs]

    def run(self, inputs: Inputs) -> dict[str, np.ndarray]:
        try:
            given = {self._inputs[name]: values for name, values in inputs.items()}
        except KeyError as error:
            raise ArtifactError(f"the model has the inputs {sorted(self._inputs)}, and {error} was given") from None
        if len(given) != len(self._model.inputs):
            raise ArtifactError(f"the model has the inputs {sorted(self._inputs)}, and only {sorted(inputs)} were given")
        # Shared inputs save a copy in; outputs are copied, because the next query overwrites the model's own memory.
        answered = self._request.infer(given, share_inputs=True, share_outputs=False)
        return {name: answered[index] for index, name in enumerate(self._outputs)}

    def placement(self) -> str:
        return ", ".join(self._model.get_property("EXECUTION_DEVICES"))

    def signature(self) -> Signature:
        inputs = tuple(_spec(min(port.get_names(), key=len), port) for port in self._model.inputs)
        return Signature(inputs, tuple(_spec(name, port) for name, port in zip(self._outputs, self._model.outputs, strict=True)))


def _properties(options: Options, hint: str, streams: str) -> dict[str, str]:
    """The device's properties; the thread count is one of the CPU alone."""
    found = {"PERFORMANCE_HINT": hint.upper(), "NUM_STREAMS": streams.upper()}
    if options.provider == "cpu":
        found["INFERENCE_NUM_THREADS"] = str(options.threads)
    if options.provider != "npu":
        found["INFERENCE_PRECISION_HINT"] = "f32"
    return found


def _why_no_device(provider: str) -> str | None:
    devices = _openvino().Core().available_devices
    if any(device.split(".")[0] == _DEVICES[provider] for device in devices):
        return None
    return f"OpenVINO sees no {_WHAT[provider]} on this machine, only {', '.join(devices)}; its driver must be installed"


def _spec(name: str, port) -> TensorSpec:
    shape = port.get_partial_shape()
    sizes = () if shape.rank.is_dynamic else tuple(None if size.is_dynamic else size.get_length() for size in shape)
    return TensorSpec(name, np.dtype(port.get_element_type().to_dtype()).name, sizes)


def _output_name(port) -> str:
    """The name of the result; the tensor alone may carry names of several results, or of nodes before it."""
    result = port.get_node().get_friendly_name().removesuffix("/sink_port_0")
    names = port.get_names()
    return result if result in names or not names else sorted(names)[0]


def _openvino():
    """The package without its telemetry, which reports even its import over the network; it has a silent stand-in for itself."""
    sys.modules.setdefault("openvino_telemetry", None)
    import openvino

    return openvino
