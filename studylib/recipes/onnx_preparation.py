"""An ONNX file as quantizers want it: shapes inferred, batch normalization folded, every node with a name of its own."""

import tempfile
from pathlib import Path

from studylib.errors import RefusedError

# From the best to what always works: without the optimizer, then without shapes.
_WAYS = ({}, {"skip_optimization": True}, {"skip_optimization": True, "skip_onnx_shape": True})
_NOTE = "studylib.preparation"


def prepared(source: Path, folder: Path) -> Path:
    """Write ``folder/prepared.onnx`` and return its path. What could not be done is told by `preparation_note`."""
    import onnx
    from onnxruntime.quantization import quant_pre_process

    reasons = []
    with tempfile.TemporaryDirectory(dir=folder, prefix="preparing-") as scratch:
        for way in _WAYS:
            try:
                # Symbolic shape inference fails on some tf2onnx graphs; the plain inference is enough here.
                quant_pre_process(source, Path(scratch) / "model.onnx", skip_symbolic_shape=True, **way)
                model = onnx.load(Path(scratch) / "model.onnx")
                break
            except Exception as error:  # whatever a pass of the optimizer raises: the next way does without it
                reasons.append(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
        else:
            raise RefusedError(f"ONNX Runtime cannot prepare {source.name} for quantization: {reasons[-1]}")
    _name_nodes(model)
    if reasons:
        model.metadata_props.add(key=_NOTE, value=f"not optimized before quantization ({reasons[0]})")
    onnx.save(model, folder / "prepared.onnx")
    return folder / "prepared.onnx"


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
