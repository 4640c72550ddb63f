"""A file that was written is opened and asked once before anybody says that it was made; and what of it is still float is told."""

from collections import Counter
from pathlib import Path

import numpy as np

from studylib.errors import RefusedError, said
from studylib.formats import quantized
from studylib.formats.rewrites import graphs
from studylib.models.zoo import Samples

# Sizes to try for dynamic axes; whole numbers are 0 and 1, which every table of embeddings has.
_SIZES = (1, 8, 64, 128, 224, 256, 512)
_PRODUCTS = (*quantized.ONNX_OPERATORS, *quantized.ONNX_RECURRENT)

Query = dict[str, np.ndarray]


def query_for(source: Path, samples: Samples | None) -> Query | None:
    """One query that ``source`` answers: the first sample, or invented values; None when it answers none of those."""
    if samples is not None and len(samples):
        return samples.batch(0, 1)
    session = opened(source, "the source file")
    for size in _SIZES:
        query = _invented(session, size)
        try:
            session.run(None, query)
        except Exception:  # a shape that it does not like; the next size
            continue
        return query
    return None


def _invented(session, size: int) -> Query:
    rng, found = np.random.default_rng(0), {}
    for tensor in session.get_inputs():
        shape = [1 if axis == 0 and not _fixed(one) else one if _fixed(one) else size for axis, one in enumerate(tensor.shape)]
        kind = tensor.type.removeprefix("tensor(").removesuffix(")")
        dtype = np.dtype({"float": "float32", "double": "float64", "string": "object"}.get(kind, kind if "float8" not in kind else "uint8"))
        found[tensor.name] = rng.normal(size=shape).astype(dtype) if dtype.kind == "f" else rng.integers(0, 2, shape).astype(dtype)
    return found


def _fixed(size) -> bool:
    return isinstance(size, int) and size >= 0


def opened(path: Path, what: str):
    """A session on the CPU. Raises `RefusedError` in one line when ONNX Runtime does not open ``path``."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    except Exception as error:  # its classes derive from nothing else
        raise RefusedError(said(error, f"opening {what}")) from error


def require_runs(target: Path, query: Query | None) -> None:
    """Raise `RefusedError` unless ONNX Runtime opens the file just written and, where there is a ``query``, answers it."""
    session = opened(target, "the written file")
    if query is None:
        return
    try:
        session.run(None, query)
    except Exception as error:
        raise RefusedError(said(error, "running the written file")) from error


def left_in_float(source: Path, target: Path) -> str:
    """The products that ``target`` computes in float, in words. Raises `RefusedError` when nothing in it is quantized."""
    import onnx

    model = onnx.load(target, load_external_data=False)
    nodes = [node for graph in graphs(model.graph) for node in graph.node]
    integers = {"DequantizeLinear", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "ConvInteger", "MatMulInteger", "MatMulNBits", "QGemm"}
    if not any(node.op_type in integers or node.op_type.startswith("QLinear") for node in nodes):
        raise RefusedError(f"nothing of {source.name} was quantized: {_why_nothing(source)}")
    dequantized = {name for node in nodes if node.op_type == "DequantizeLinear" for name in node.output}
    left = Counter(node.op_type for node in nodes if node.op_type in _PRODUCTS and not dequantized & set(node.input[:3]))
    return quantized.told(left) if left else ""


def _why_nothing(source: Path) -> str:
    import onnx

    model = onnx.load(source, load_external_data=False)
    here = Counter(node.op_type for node in model.graph.node if node.op_type in _PRODUCTS)
    inner = Counter(n.op_type for graph in list(graphs(model.graph))[1:] for n in graph.node if n.op_type in _PRODUCTS)
    holders = sorted({node.op_type for node in model.graph.node if any(attribute.HasField("g") for attribute in node.attribute)})
    if inner:
        return f"its {quantized.told(inner)} stand inside {', '.join(holders)}, where ONNX Runtime's quantizers do not reach"
    constants = {tensor.name for tensor in model.graph.initializer} | {n.output[0] for n in model.graph.node if n.op_type == "Constant"}
    fixed = Counter(n.op_type for n in model.graph.node if n.op_type in _PRODUCTS and constants & set(n.input[:2]))
    if fixed:
        return f"ONNX Runtime has no integer form of its {quantized.told(fixed)} in this recipe"
    return f"the weights of its {quantized.told(here)} are no constants of the graph" if here else "it has no product with weights"
