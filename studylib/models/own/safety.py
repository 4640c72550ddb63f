"""Which model files would run code of their own when they are loaded."""

import re
from pathlib import Path

# Operators of a graph that call Python, or that read and write files, sockets or databases wherever the graph says.
# Of summaries, those of TensorFlow 1 only pack numbers into a text (`_PACKING`); all others write.
_PACKING = re.compile(r"^((Scalar|Histogram|Tensor|Image|Audio|Merge)Summary(V2)?)$")
_UNSAFE = re.compile(
    r"PyFunc|^ReadFile|^WriteFile|^MatchingFiles|^Print|Summary|^ImportEvent$|SaveDataset|SnapshotDataset|SqlDataset|LookupTableExport|ImmutableConst"
    r"|^Rpc|TextLineReader|WholeFileReader|TFRecord|FixedLengthRecord|DebugIdentity|DebugNumeric|Checkpoint(Reader|Writer)"
)
# Every SavedModel saves and restores its variables, in functions of its own that only its saver calls.
_SAVER = re.compile(r"^(Save|SaveV2|SaveSlices|ShardedFilename|MergeV2Checkpoints|Restore|RestoreV2|RestoreSlice)$")
_SAVER_FUNCTION = re.compile(r"^__inference__traced_(save|restore)_\d+$")


def why_unsafe(path: Path, format: str) -> str | None:
    """What in the file would run code or touch other files, in words, or None. Nothing of the file is run to find out."""
    if format.startswith("keras"):
        from studylib.formats import keras_safety

        return keras_safety.why_unsafe(path)
    if format == "torch":
        from studylib.formats import torch_files

        return torch_files.missing_torch("torch", "onnxscript") or torch_files.why_unsafe(path)
    return _why_unsafe_graph(path) if format == "saved_model" else None


def _why_unsafe_graph(path: Path) -> str | None:
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    from studylib.errors import ArtifactError

    try:
        saved = SavedModel.FromString((path / "saved_model.pb").read_bytes())
    except DecodeError:
        raise ArtifactError(f"{path.name}/saved_model.pb is damaged or cut off: it does not decode. Export it again") from None
    for graph in (meta.graph_def for meta in saved.meta_graphs):
        parts = [("", graph.node), *((function.signature.name, function.node_def) for function in graph.library.function)]
        for name, nodes in parts:
            found = next((node for node in nodes if _acts(node, name)), None)
            if found is not None:
                return f"the SavedModel holds the operator {found.op} ('{found.name}'), which runs Python or touches files"
    return None


def _acts(node, function: str) -> bool:
    """Whether the node does more than compute. ``function``: the one it stands in, empty for the graph itself."""
    saves = _SAVER.match(node.op) and function and not _SAVER_FUNCTION.match(function)
    return bool((_UNSAFE.search(node.op) and not _PACKING.match(node.op)) or saves)
