"""Programs that ``torch.export.save`` wrote (``.pt2``). Loading one may run code: `from_torch.why_unsafe` is asked first."""

from collections import Counter
from pathlib import Path


def look(path: Path, shapes: dict | None) -> dict:
    import torch

    program = torch.export.load(path)
    nodes = [node for node in program.graph.nodes if node.op == "call_function"]
    weights = list(program.state_dict.values())
    ends = {node.name: node.meta["val"] for node in program.graph.nodes if "val" in node.meta}
    sizes: Counter = Counter()
    for tensor in weights:
        sizes[str(tensor.dtype).removeprefix("torch.")] += tensor.numel() * tensor.element_size()
    outputs = [ends[name] for name in program.graph_signature.user_outputs]
    return {
        "operators": dict(Counter(str(node.target).removesuffix(".default") for node in nodes).most_common()),
        "parameters": sum(tensor.numel() for tensor in weights),
        "weight_bytes": dict(sizes),
        "macs": None,
        "macs_why": "they are counted in the ONNX file that is made of it",
        "opset": {"torch": torch.__version__},
        "inputs": [_described(name, ends[name]) for name in program.graph_signature.user_inputs],
        "outputs": [_described(f"output_{index}", value) for index, value in enumerate(outputs)],
    }


def _described(name: str, value) -> dict:
    """A size that torch left open is a symbol and not a number."""
    shape = [size if isinstance(size, int) else None for size in value.shape]
    return {"name": name, "shape": shape, "dtype": str(value.dtype).removeprefix("torch.")}
