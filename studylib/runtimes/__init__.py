"""Runtimes by name. Adding one: a file here, a line in the table; the contract tests find it."""

from studylib.runtimes.base import SESSIONS as SESSIONS
from studylib.runtimes.base import Options as Options
from studylib.runtimes.base import Runtime as Runtime
from studylib.runtimes.base import Session as Session
from studylib.runtimes.base import why_fallen_back as why_fallen_back
from studylib.runtimes.coreml import CoreML
from studylib.runtimes.litert import LiteRT
from studylib.runtimes.nvidia.tensorrt import TensorRT
from studylib.runtimes.onnxruntime import OnnxRuntime
from studylib.runtimes.openvino import OpenVino
from studylib.runtimes.replay import Replay
from studylib.runtimes.tensorflow import TensorFlow

# A table: what is looked up in it is named by whoever asks (`studylib.artifacts.code`).
DECIDES_NOTHING = ("RUNTIMES",)

_ALL = (TensorFlow(), LiteRT(), OnnxRuntime(), TensorRT(), OpenVino(), CoreML(), Replay())
RUNTIMES: dict[str, Runtime] = {runtime.name: runtime for runtime in _ALL}


def split_name(name: str) -> tuple[str, str]:
    """``onnxruntime/cuda`` to (onnxruntime, cuda); without a provider, cpu."""
    runtime, _, provider = name.partition("/")
    return runtime, provider or "cpu"
