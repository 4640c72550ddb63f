"""SavedModel or ONNX to OpenVINO's intermediate representation: a folder with ``model.xml`` and ``model.bin``."""

import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from studylib.errors import RefusedError, said
from studylib.formats.mixed_precision import refuse_half
from studylib.models.zoo import Samples
from studylib.recipes import root_logging
from studylib.recipes.base import Recipe
from studylib.recipes.convert import to_litert


@dataclass(frozen=True)
class _ToOpenVino(Recipe):
    name: ClassVar[str] = "fp32"
    target: ClassVar[str] = "openvino"
    packages: ClassVar[tuple[str, ...]] = ("openvino",)

    def write(self, source: Path, folder: Path, calibration: Samples | None) -> Path:
        if self.source_format == "saved_model":
            refuse_half(
                source, "OpenVINO computes it in float32 on most processors, so that its answers are not this model's", ("bfloat16",)
            )
        openvino = openvino_without_telemetry()
        try:
            model = _translated(openvino.convert_model, source)
        except RefusedError as refusal:
            if self.source_format != "saved_model" or "VarHandleOp" not in str(refusal):
                raise
            # `tf.saved_model.save` of a whole Keras model keeps its variables where this frontend does not look.
            with tempfile.TemporaryDirectory(dir=folder, prefix="alone-") as alone:
                to_litert.write_again(source, Path(alone))
                model = _translated(openvino.convert_model, Path(alone))
        written = folder / "model"
        # The default stores weights as float16, which would be another recipe.
        openvino.save_model(model, written / "model.xml", compress_to_fp16=False)
        require_compiles(written)
        return written


@dataclass(frozen=True)
class SavedModelToOpenVino(_ToOpenVino):
    """SavedModel to OpenVINO IR, names and dynamic axes kept. Source: ``openvino.convert_model``, its TensorFlow frontend."""

    source_format: ClassVar[str] = "saved_model"


@dataclass(frozen=True)
class OnnxToOpenVino(_ToOpenVino):
    """ONNX to OpenVINO IR, names and dynamic axes kept. Source: ``openvino.convert_model``, its ONNX frontend."""

    source_format: ClassVar[str] = "onnx"


def _translated(convert: Callable, source: Path):
    """The model in memory. Raises `RefusedError` with the operators that OpenVINO does not know."""
    from openvino.frontend import GeneralFailure, OpConversionFailure
    from openvino.tools.ovc.error import Error

    try:
        with root_logging.kept():
            return convert(source)
    # What its own passes find wrong comes as a plain RuntimeError.
    except (Error, GeneralFailure, OpConversionFailure, RuntimeError) as error:
        raise RefusedError(_reason(str(error))) from None


def _reason(text: str) -> str:
    """The operators, which stand at the end of a long log of where each pass stopped; and why, where a translation exists and stops."""
    at = re.search(r"While validating ONNX node '<Node\((\w+)\): ([^>]*)>'", text)
    open_shape = re.search(r"(rank has to be known \(static\)|Unsupported input type dynamic|rank is dynamic)", text)
    if at and open_shape:
        return (
            f"OpenVINO stops at {at[1]} '{at[2]}': what comes into it has no known number of axes, as behind If, Loop or a Reshape to a "
            "computed shape. OpenVINO has the operator; export the model without these, or with fixed shapes"
        )
    grouped = re.search(r"Data batch channel count \((\d+)\) does not match filter input channel count \((\d+)\)", text)
    if grouped:
        return (
            f"OpenVINO's reader of TensorFlow graphs knows no grouped convolution (one here takes {grouped[1]} channels, its filters "
            f"{grouped[2]} each). Convert the model to ONNX and give that file: from ONNX OpenVINO reads them"
        )
    found = re.search(r"(?:Conversion is failed for|No conversion rule found for operations): (.*)", text)
    if found is None:
        return "OpenVINO refused the model: " + said(" ".join(text.split())[-300:])
    if at:
        why = re.search(r"FrontEnd API failed with \w+:\s*(.+)", text[at.end() :])
        return f"OpenVINO stops at {at[1]} '{at[2]}'{': ' + said(why[1]) if why else ''}. Keep this model as it is"
    return f"OpenVINO has no translation for {found[1].strip()}. Keep this model as it is, or replace the layers that make these operators"


def openvino_without_telemetry():
    """The package without its telemetry, which reports even its import over the network; it has a silent stand-in for itself."""
    sys.modules.setdefault("openvino_telemetry", None)
    import openvino

    return openvino


def require_compiles(folder: Path) -> None:
    """Raises `RefusedError` when the processor's plugin cannot take the files in ``folder``."""
    try:
        openvino_without_telemetry().Core().compile_model(folder / "model.xml", "CPU")
    except RuntimeError as error:
        raise RefusedError("the OpenVINO files were written and do not compile: " + " ".join(str(error).split())[-300:]) from None
