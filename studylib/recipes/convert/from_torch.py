"""PyTorch programs exported by ``torch.export.save`` (``.pt2``) to ONNX, without running what such a file may hold besides a graph."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from studylib.errors import RefusedError
from studylib.formats.onnx_files import save
from studylib.formats.torch_files import missing_torch, why_unsafe
from studylib.models.zoo import Samples
from studylib.recipes.base import Recipe


@dataclass(frozen=True)
class TorchToOnnx(Recipe):
    """An exported program to ONNX: inputs by their names, outputs ``output_0``, …, dynamic axes kept.

    ``trust``: load a file that holds pickled objects. Raises `RefusedError` with what the file holds, with the operator
    that has no translation, or when the checker or ONNX Runtime do not take the result.
    Source: ``torch.onnx.export`` with ``dynamo``.
    """

    name: ClassVar[str] = "fp32"
    target: ClassVar[str] = "onnx"
    source_format: ClassVar[str] = "torch"
    packages: ClassVar[tuple[str, ...]] = ("torch", "onnxscript", "onnx", "onnxruntime")

    opset: int = 18
    trust: bool = False

    def missing(self) -> str | None:
        """What must be installed first, or None."""
        return missing_torch("torch", "onnxscript")

    def write(self, source: Path, folder: Path, calibration: Samples | None) -> Path:
        reason = self.missing() or (None if self.trust else why_unsafe(source))
        if reason:
            raise RefusedError(reason)
        import onnx

        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            # torch may put large weights beside the file; they belong into it while it can hold them.
            self._export(source).save(Path(scratch) / "model.onnx")
            model = onnx.load(Path(scratch) / "model.onnx")
            _name_batch_axis(model)
            path = save(model, folder)
        _require_opens(path)
        return path if path.parent == folder else path.parent

    def _export(self, source: Path):
        import torch

        try:
            program = torch.export.load(source)
            outputs = [f"output_{index}" for index in range(len(program.graph_signature.user_outputs))]
            return torch.onnx.export(program, (), dynamo=True, opset_version=self.opset, output_names=outputs, verbose=False)
        except (RuntimeError, ValueError, KeyError, AttributeError, TypeError) as error:
            detail = " ".join(f"{error.__cause__ or error}".split())[:400]
            raise RefusedError(f"torch {torch.__version__} cannot turn {source.name} into ONNX: {detail}") from None


def _name_batch_axis(model) -> None:
    """``s40`` to ``batch``, wherever the symbol of the first input's first axis stands."""
    first = next((value.type.tensor_type.shape.dim[0] for value in model.graph.input if value.type.tensor_type.shape.dim), None)
    if first is None or not first.dim_param:
        return
    symbol = first.dim_param
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for axis in value.type.tensor_type.shape.dim:
            if axis.dim_param == symbol:
                axis.dim_param = "batch"


def _require_opens(path: Path) -> None:
    import onnx
    import onnxruntime

    try:
        onnx.checker.check_model(path, full_check=True)
        onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, RuntimeError, ValueError) as error:
        raise RefusedError(f"the ONNX file was written and does not open: {' '.join(str(error).split())[:300]}") from None
