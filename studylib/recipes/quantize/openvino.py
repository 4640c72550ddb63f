"""Post-training quantization of OpenVINO's files. Source: ``nncf``, Intel's own."""

import contextlib
import io
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from studylib.errors import RefusedError, said
from studylib.models.zoo import Samples
from studylib.recipes import root_logging
from studylib.recipes.base import Recipe
from studylib.recipes.convert.to_openvino import openvino_without_telemetry, require_compiles
from studylib.recipes.quantize import calibration_check

# What holds weights that can be multiplied as integers.
PRODUCTS = ("MatMul", "Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData")


@dataclass(frozen=True)
class Static(Recipe):
    """Weights int8 with a scale for each channel, activations int8 with ranges from calibration samples, biases corrected for both.

    ``mixed``: activations on both sides of zero get a range of its own for each side. ``fast_correction``: biases are corrected from
    the ranges of each layer alone; otherwise on samples, layer after layer.
    """

    name: ClassVar[str] = "static_wi8_ai8"
    target: ClassVar[str] = "openvino"
    source_format: ClassVar[str] = "openvino"
    learns_from: ClassVar[str] = "calibration"
    packages: ClassVar[tuple[str, ...]] = ("openvino", "nncf")

    mixed: bool = True
    fast_correction: bool = True

    def write(self, source: Path, folder: Path, samples: Samples | None) -> tuple[Path, dict]:
        model = openvino_without_telemetry().Core().read_model(source / "model.xml")
        if not any(node.get_type_name() in PRODUCTS for node in model.get_ordered_ops()):
            raise RefusedError(
                f"{source.name} holds no product or convolution: there is nothing to compute in int8. Keep this model in float"
            )
        wanted = {_name(port): _shape(port) for port in model.inputs}
        notes = calibration_check.check(samples, wanted)
        made = quantized(model, samples.under(wanted), self.mixed, self.fast_correction)
        written = folder / "model"
        openvino_without_telemetry().save_model(made, written / "model.xml", compress_to_fp16=False)
        require_compiles(written)
        return written, notes


def quantized(model, samples: Samples, mixed: bool = True, fast_correction: bool = True):
    """The model in memory with everything in int8 that can be. Arguments as in `Static`. Raises `RefusedError`."""
    with root_logging.kept(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        import nncf

        logging.getLogger("nncf").setLevel(logging.ERROR)
        data = nncf.Dataset(range(len(samples)), lambda index: samples.batch(index, 1))
        preset = nncf.QuantizationPreset.MIXED if mixed else nncf.QuantizationPreset.PERFORMANCE
        try:
            return nncf.quantize(model, data, preset=preset, subset_size=len(samples), fast_bias_correction=fast_correction)
        except (MemoryError, KeyboardInterrupt):
            raise
        except Exception as error:  # a quantizer may raise anything where a graph is not what it was written for
            raise RefusedError(said(error, "nncf refused the model")) from error


def _name(port) -> str:
    return min(port.get_names(), key=len)


def _shape(port) -> tuple[int | None, ...] | None:
    shape = port.get_partial_shape()
    if shape.rank.is_dynamic:
        return None
    return tuple(None if size.is_dynamic else size.get_length() for size in shape)
