"""PyTorch programs (``.pt2``) to LiteRT by litert-torch, without a detour over ONNX."""

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from studylib.errors import RefusedError
from studylib.formats.torch_files import missing_torch, why_unsafe
from studylib.models.zoo import Samples
from studylib.recipes.base import Recipe
from studylib.recipes.convert.to_litert import require_a_run

_ADVICE = "Keep this model in PyTorch's way to ONNX, or replace that operation"


@dataclass(frozen=True)
class TorchToLiteRT(Recipe):
    """An exported program to LiteRT: inputs by their names, outputs ``output_0``, …, as on the way to ONNX; checked by one run.

    A dynamic batch stays so where litert-torch can translate it; otherwise it is fixed at 1, and the notes say why.
    ``trust``: load a file that holds pickled objects. Raises `RefusedError`. Source: ``litert_torch.convert``.
    """

    name: ClassVar[str] = "fp32"
    target: ClassVar[str] = "tflite"
    source_format: ClassVar[str] = "torch"
    packages: ClassVar[tuple[str, ...]] = ("litert-torch", "torch", "ai-edge-litert")

    trust: bool = False

    def missing(self) -> str | None:
        """What must be installed first, or None."""
        return missing_torch("torch", "litert_torch")

    def write(self, source: Path, folder: Path, calibration: Samples | None) -> tuple[Path, dict]:
        reason = self.missing() or (None if self.trust else why_unsafe(source))
        if reason:
            raise RefusedError(reason)
        path = folder / "model.tflite"
        content, notes = _converted(source, folder / "written.tflite")
        path.write_bytes(content)
        return path, notes


def _converted(source: Path, scratch: Path) -> tuple[bytes, dict]:
    import torch

    program = torch.export.load(source)
    names = list(program.graph_signature.user_inputs)
    values = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder" and node.name in names}
    odd = [name for name in names if not isinstance(values.get(name), torch.Tensor)]
    if odd:
        raise RefusedError(f"the input '{odd[0]}' of {source.name} is no tensor, and a LiteRT file takes only tensors")
    try:
        content = _written(program, {name: values[name] for name in names}, scratch, True)
        require_a_run(content)
        return content, {}
    except RefusedError as refusal:
        if not any(not isinstance(size, int) for value in values.values() for size in value.shape):
            raise RefusedError(f"{refusal}. {_ADVICE}") from None
        reason = str(refusal)
    try:
        content = _written(program, {name: values[name] for name in names}, scratch, False)
        require_a_run(content)
    except RefusedError as refusal:
        raise RefusedError(f"{refusal}, also with the batch fixed at 1. {_ADVICE}") from None
    return content, {"batch": f"fixed at 1: with a dynamic batch, {reason}"}


def _written(program, values: dict, scratch: Path, dynamic: bool) -> bytes:
    """The file's bytes. ``values``: what the program declares of each input. Raises `RefusedError` in litert-torch's own words."""
    import litert_torch
    import torch

    class Named(torch.nn.Module):
        """The program under the names of its inputs, which litert-torch takes from keywords."""

        def __init__(self):
            super().__init__()
            self.program = program.module()

        def forward(self, **inputs):
            return self.program(*(inputs[name] for name in values))

    open_axes = {name: [axis for axis, size in enumerate(value.shape) if not isinstance(size, int)] for name, value in values.items()}
    samples = {
        name: torch.zeros([size if isinstance(size, int) else 2 if dynamic else 1 for size in value.shape], dtype=value.dtype)
        for name, value in values.items()
    }
    shapes = {"inputs": {name: dict.fromkeys(axes, torch.export.Dim.AUTO) or None for name, axes in open_axes.items()}}
    module = Named()
    module.training = False  # `eval` asks the program itself, which cannot be asked
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            made = litert_torch.convert(module, sample_kwargs=samples, dynamic_shapes=shapes if dynamic else None, enable_x64=True)
            made.export(str(scratch))
        return scratch.read_bytes()
    # What litert-torch, torch and the compiler below them raise where they meet something they were not written for.
    except (RuntimeError, ValueError, LookupError, AttributeError, TypeError, AssertionError, NotImplementedError) as error:
        raise RefusedError(f"litert-torch stopped ({type(error).__name__}: {' '.join(str(error).split())[:250]})") from None
    finally:
        scratch.unlink(missing_ok=True)
