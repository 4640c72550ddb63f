"""An ONNX file as quantizers want it: a recent opset, shapes inferred, batch normalization folded, plain products, every node named."""

import logging
import tempfile
from pathlib import Path

from studylib.errors import RefusedError, said, unpathed
from studylib.recipes.quantize import onnx_tidied

# From the best to what always works: without the optimizer, then without shapes.
_WAYS = ({}, {"skip_optimization": True}, {"skip_optimization": True, "skip_onnx_shape": True})
_NOTE = "studylib.preparation"


def prepared(source: Path, folder: Path) -> Path:
    """Write ``folder/prepared.onnx`` and return its path. What could not be done is told by `preparation_note`."""
    import onnx
    from google.protobuf.message import DecodeError
    from onnxruntime.quantization import quant_pre_process

    with tempfile.TemporaryDirectory(dir=folder, prefix="preparing-") as scratch, _Complaints() as complaints:
        path, given = Path(scratch) / "model.onnx", Path(scratch) / source.name
        try:
            model, old = onnx_tidied.modern(onnx.load(source))
        except DecodeError as error:
            raise RefusedError(f"ONNX Runtime cannot prepare {source.name} for quantization: {type(error).__name__}: {error}") from None
        complaints.told += [old] if old else []
        onnx.save(model, given)
        for way in _WAYS:
            try:
                # Symbolic shape inference fails on some tf2onnx graphs; the plain inference is enough here.
                quant_pre_process(given, path, skip_symbolic_shape=True, **way)
                model = onnx.load(path)
                break
            except Exception as error:  # whatever a pass of the optimizer raises: the next way does without it
                complaints.told.append(said(error))
        else:
            raise RefusedError(f"ONNX Runtime cannot prepare {source.name} for quantization: {unpathed(complaints.told[-1], given)[:300]}")
    onnx_tidied.tidy(model)
    _name_nodes(model)
    if complaints.told:
        model.metadata_props.add(key=_NOTE, value=f"not optimized before quantization ({unpathed(complaints.told[0], given)[:300]})")
    onnx.save(model, folder / "prepared.onnx")
    return folder / "prepared.onnx"


class _Complaints(logging.Handler):
    """What ``quant_pre_process`` logs where it goes on with an unoptimized model: the last line of each traceback."""

    def __init__(self):
        super().__init__(logging.ERROR)
        self.told: list[str] = []
        self.logger = logging.getLogger("onnxruntime.quantization.shape_inference")

    def emit(self, record: logging.LogRecord) -> None:
        lines = record.getMessage().strip().splitlines()
        if len(lines) > 1:
            self.told.append(lines[-1])

    def __enter__(self) -> "_Complaints":
        self.logger.addHandler(self)
        self.logger.propagate = False
        return self

    def __exit__(self, *of_error) -> None:
        self.logger.removeHandler(self)
        self.logger.propagate = True


def preparation_note(model: Path) -> str | None:
    """What `prepared` could not do, in words, or None."""
    import onnx

    return next((entry.value for entry in onnx.load(model, load_external_data=False).metadata_props if entry.key == _NOTE), None)


def _name_nodes(model) -> None:
    """Give every node a name that no other has; nodes are chosen by their names."""
    taken = set()
    for index, node in enumerate(model.graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.name or node.op_type}_{index}"
        taken.add(node.name)
