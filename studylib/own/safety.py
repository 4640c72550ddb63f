"""Which model files would run code of their own when they are loaded."""

from pathlib import Path

# Operators of a graph that call Python, or that read and write files wherever the graph says.
_UNSAFE_OPERATORS = {"PyFunc", "PyFuncStateless", "EagerPyFunc", "ReadFile", "WriteFile", "MatchingFiles"}


def why_unsafe(path: Path, format: str) -> str | None:
    """What in the file would run code or touch other files, in words, or None. Nothing of the file is run to find out."""
    if format.startswith("keras"):
        from studylib.recipes import keras_safety

        return keras_safety.why_unsafe(path)
    if format == "torch":
        from studylib.recipes import from_torch

        return from_torch.TorchToOnnx().missing() or from_torch.why_unsafe(path)
    return _why_unsafe_graph(path) if format == "saved_model" else None


def _why_unsafe_graph(path: Path) -> str | None:
    from google.protobuf import text_format
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    from studylib.errors import ArtifactError

    binary = path / "saved_model.pb"
    try:
        if binary.exists():
            saved = SavedModel.FromString(binary.read_bytes())
        else:
            saved = text_format.Parse((path / "saved_model.pbtxt").read_text(encoding="utf-8"), SavedModel())
    except (DecodeError, text_format.ParseError, ValueError):
        raise ArtifactError(f"{path.name}/saved_model.pb is damaged or cut off: it does not decode. Export it again") from None
    for graph in (meta.graph_def for meta in saved.meta_graphs):
        nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
        found = next((node for node in nodes if node.op in _UNSAFE_OPERATORS), None)
        if found is not None:
            return f"the SavedModel holds the operator {found.op} ('{found.name}'), which runs Python or touches files"
    return None
