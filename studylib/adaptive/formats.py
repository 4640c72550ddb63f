"""The formats in which layers can have a precision of their own."""

from studylib.adaptive.layers import Surgeon
from studylib.adaptive.litert import LiteRTSurgeon
from studylib.adaptive.onnx import OnnxSurgeon
from studylib.adaptive.openvino import OpenVINOSurgeon
from studylib.errors import lookup

FORMATS: dict[str, Surgeon] = {surgeon.format: surgeon for surgeon in (OnnxSurgeon(), LiteRTSurgeon(), OpenVINOSurgeon())}


def surgeon_of(format: str) -> Surgeon:
    """Raises `UnknownNameError` for a format without layers of their own precision."""
    return lookup(FORMATS, "format", format)
