"""ONNX graphs drawn by shape and type: operators that fit what is there, of any opset, with weights of any rank."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.fuzz.drawn import Drawn, chance, one_of

_OPSETS = (7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23)
_TYPES = ("float32",) * 12 + ("float16", "float64", "int64", "int32", "uint8", "bool")
_FLOATS = ("float32", "float16", "float64")
# Of each opset, an IR version of its time.
_IR = {7: 3, 8: 3, 9: 4, 10: 5, 11: 6, 12: 7, 13: 7, 14: 7, 15: 8, 16: 8, 17: 8, 18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11}


@dataclass
class Graph:
    """What is built so far. A tensor is (name, shape of one sample with its batch axis, numpy type)."""

    rng: np.random.Generator
    opset: int
    nodes: list = field(default_factory=list)
    weights: list = field(default_factory=list)
    spoken: list = field(default_factory=list)
    number: int = 0

    def fresh(self) -> str:
        self.number += 1
        return f"t{self.number}"

    def weight(self, values: np.ndarray) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def normal(self, shape, dtype: str, size: float = 1.0) -> str:
        return self.weight((self.rng.normal(size=shape) * size).astype(dtype))

    def integers(self, *values: int) -> str:
        return self.weight(np.array(values, np.int64))

    def node(self, kind: str, inputs: list[str], **attributes) -> str:
        name = self.fresh()
        self.nodes.append(helper.make_node(kind, inputs, [name], name=f"{kind}_{name}", **attributes))
        self.spoken.append(kind)
        return name


def draw(rng: np.random.Generator, folder: Path) -> Drawn:
    """An ONNX file of one to eight operators in ``folder``."""
    model, words = build(rng)
    path = folder / "model.onnx"
    onnx.save(model, path)
    if chance(rng, 0.15):
        quantized = _quantized(rng, path, folder)
        if quantized:
            return Drawn(quantized[0], "onnx", f"{words}, {quantized[1]}")
    return Drawn(path, "onnx", words)


def build(rng: np.random.Generator):
    """(model, words)."""
    graph = Graph(rng, one_of(rng, _OPSETS))
    # A name, a number that says dynamic, or a fixed one.
    batch = one_of(rng, ("batch", "batch", "N", "unk__1", -1, 1, 1, 3))
    sides = [_input(graph, number) for number in range(1 + chance(rng, 0.15))]
    given = [(name, [batch, *shape[1:]], dtype) for name, shape, dtype in sides]
    ends = [_grown(graph, side) for side in sides]
    outputs = ends if len(ends) == 1 else [_joined(graph, ends)]
    if chance(rng, 0.15) and graph.nodes and sides[0] not in outputs:
        outputs.append(_grown(graph, sides[0]))
    outputs = list({name: (name, shape, dtype) for name, shape, dtype in outputs}.values())
    values = [helper.make_tensor_value_info(n, _type(dtype), shape) for n, shape, dtype in given]
    told = [helper.make_tensor_value_info(n, _type(dtype), None) for n, _, dtype in outputs]
    old = _IR[graph.opset] < 4
    as_inputs = old or chance(rng, 0.1)
    if as_inputs:
        values += [helper.make_tensor_value_info(w.name, w.data_type, list(w.dims)) for w in graph.weights]
    made = helper.make_graph(graph.nodes, "drawn", values, told, graph.weights)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", graph.opset)], ir_version=_IR[graph.opset])
    words = f"opset {graph.opset}, batch {batch}, {[dtype for _, _, dtype in given]}{', weights as inputs' if as_inputs else ''}: "
    return model, words + " ".join(graph.spoken)


def _type(dtype: str) -> int:
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


def _input(graph: Graph, number: int):
    rng, dtype = graph.rng, one_of(graph.rng, _TYPES)
    rank = int(rng.integers(1, 5))
    shape = [1, *(int(rng.integers(2, 9)) for _ in range(rank - 1))]
    if rank == 4:
        shape = [1, one_of(rng, (1, 3, 4)), int(rng.integers(6, 14)), int(rng.integers(6, 14))]
    return f"input_{number}", shape, dtype


def _grown(graph: Graph, tensor):
    rng = graph.rng
    if tensor[2] not in _FLOATS:
        tensor = _embedded(graph, tensor)
    for _ in range(int(rng.integers(1, 6))):
        table = [*_ANY, *{2: _RANK_2, 3: _RANK_3, 4: _RANK_4}.get(len(tensor[1]), [])]
        tensor = one_of(rng, table)(graph, tensor) or tensor
    if tensor[0].startswith("input_"):
        tensor = _elementwise(graph, tensor)
    return tensor


def _joined(graph: Graph, ends):
    flat = []
    for name, shape, dtype in ends:
        size = int(np.prod(shape[1:])) if len(shape) > 1 else 1
        reshaped = graph.node("Reshape", [name, graph.integers(-1, size)])
        flat.append(reshaped if dtype == "float32" else graph.node("Cast", [reshaped], to=TensorProto.FLOAT))
        ends[len(flat) - 1] = (flat[-1], [1, size], "float32")
    return graph.node("Concat", flat, axis=1), [1, sum(end[1][1] for end in ends)], "float32"


def _embedded(graph: Graph, tensor):
    name, shape, dtype = tensor
    if dtype in ("int64", "int32") and len(shape) < 4 and chance(graph.rng, 0.7):
        width = int(graph.rng.integers(2, 6))
        return graph.node("Gather", [graph.normal((4, width), "float32"), name]), [*shape, width], "float32"
    return graph.node("Cast", [name], to=TensorProto.FLOAT), shape, "float32"


def _elementwise(graph: Graph, tensor):
    name, shape, dtype = tensor
    kinds = ["Relu", "Sigmoid", "Tanh", "LeakyRelu", "Abs", "Neg", "Elu", "Softplus", "Identity"]
    kinds += ["Erf"] if graph.opset >= 9 else []
    kinds += ["HardSwish", "HardSigmoid"] if graph.opset >= 14 else []
    kinds = [kind for kind in kinds if dtype == "float32" or kind in ("Relu", "Sigmoid", "Tanh", "Abs", "Neg", "Identity")]
    return graph.node(one_of(graph.rng, kinds), [name]), shape, dtype


def _with_constant(graph: Graph, tensor):
    """A constant of the last axis, of [1, last] or of a scalar, on either side."""
    name, shape, dtype = tensor
    last = shape[-1] if len(shape) > 1 else 1
    constant = graph.normal(one_of(graph.rng, ([last], [1, last] if len(shape) > 1 else [1], [])), dtype)
    kind, swapped = one_of(graph.rng, ("Add", "Mul", "Sub")), chance(graph.rng, 0.3)
    return graph.node(kind, [constant, name] if swapped else [name, constant]), shape, dtype


def _normalised(graph: Graph, tensor):
    name, shape, dtype = tensor
    if len(shape) < 2:
        return None
    if graph.opset >= 17 and dtype == "float32" and chance(graph.rng, 0.5):
        scale = graph.weight(graph.rng.uniform(0.5, 1.5, shape[-1]).astype(dtype))
        return graph.node("LayerNormalization", [name, scale, graph.normal([shape[-1]], dtype)], axis=-1), shape, dtype
    # Before opset 13 it flattens to two axes at `axis`: the last one is the same in both.
    return graph.node("Softmax", [name], axis=len(shape) - 1), shape, dtype


def _transposed(graph: Graph, tensor):
    name, shape, dtype = tensor
    if len(shape) < 3:
        return None
    order = [0, *(1 + graph.rng.permutation(len(shape) - 1)).tolist()]
    return graph.node("Transpose", [name], perm=order), [shape[axis] for axis in order], dtype


def _reshaped(graph: Graph, tensor):
    """Flat; now and then with the batch of 1 written into the target, as careless exporters do."""
    name, shape, dtype = tensor
    if len(shape) < 2:
        return None
    size = int(np.prod(shape[1:]))
    target = one_of(graph.rng, ((-1, size), (-1, size), (0, -1), (1, -1)))
    return graph.node("Reshape", [name, graph.integers(*target)]), [1, size], dtype


def _reduced(graph: Graph, tensor):
    name, shape, dtype = tensor
    if len(shape) < 3 or graph.opset >= 18:
        return None
    return graph.node(one_of(graph.rng, ("ReduceMean", "ReduceMax")), [name], axes=[len(shape) - 1], keepdims=0), shape[:-1], dtype


def _cut(graph: Graph, tensor):
    name, shape, dtype = tensor
    if len(shape) < 2 or shape[-1] < 3 or graph.opset < 10:
        return None
    inputs = [name, graph.integers(1), graph.integers(shape[-1]), graph.integers(len(shape) - 1)]
    return graph.node("Slice", inputs), [*shape[:-1], shape[-1] - 1], dtype


def _doubled(graph: Graph, tensor):
    name, shape, dtype = tensor
    if len(shape) < 2:
        return None
    return graph.node("Concat", [name, name], axis=len(shape) - 1), [*shape[:-1], 2 * shape[-1]], dtype


def _gemm(graph: Graph, tensor):
    name, shape, dtype = tensor
    units, turned = int(graph.rng.integers(1, 24)), chance(graph.rng, 0.5)
    weight = graph.normal((units, shape[1]) if turned else (shape[1], units), dtype, 0.5)
    bias = graph.normal(one_of(graph.rng, ([units], [1, units])), dtype)
    attributes = {"transB": int(turned)} | ({"alpha": 0.5, "beta": 2.0} if chance(graph.rng, 0.2) else {})
    return graph.node("Gemm", [name, weight, bias], **attributes), [1, units], dtype


def _matmul(graph: Graph, tensor):
    name, shape, dtype = tensor
    units = int(graph.rng.integers(1, 24))
    values = graph.rng.normal(size=(shape[-1], units)).astype(dtype) / 2
    turned = chance(graph.rng, 0.2)
    weight = graph.node("Transpose", [graph.weight(values.T)], perm=[1, 0]) if turned else graph.weight(values)
    product = graph.node("MatMul", [name, weight])
    if chance(graph.rng, 0.6):
        bias = graph.normal(one_of(graph.rng, ([units], [1, units])), dtype)
        product = graph.node("Add", [product, bias])
    return product, [*shape[:-1], units], dtype


def _conv(graph: Graph, tensor):
    name, shape, dtype = tensor
    channels, *sizes = shape[1:]
    if min(sizes) < 3:
        return None
    groups = one_of(graph.rng, [g for g in (1, 1, channels) if channels % g == 0])
    filters, kernel = groups * int(graph.rng.integers(1, 5)), one_of(graph.rng, (1, 3))
    weight = graph.normal((filters, channels // groups, *[kernel] * len(sizes)), dtype, 0.5)
    inputs = [name, weight, *([graph.normal([filters], dtype)] if chance(graph.rng, 0.7) else [])]
    padded = chance(graph.rng, 0.5)
    edge = kernel // 2 if padded else 0
    made = graph.node("Conv", inputs, kernel_shape=[kernel] * len(sizes), group=groups, pads=[edge] * 2 * len(sizes))
    return made, [1, filters, *(size + 2 * edge - kernel + 1 for size in sizes)], dtype


def _batch_normalised(graph: Graph, tensor):
    name, shape, dtype = tensor
    scale, variance = (graph.weight(graph.rng.uniform(0.5, 1.5, shape[1]).astype(dtype)) for _ in range(2))
    inputs = [name, scale, graph.normal([shape[1]], dtype), graph.normal([shape[1]], dtype, 0.3), variance]
    return graph.node("BatchNormalization", inputs), shape, dtype


def _pooled(graph: Graph, tensor):
    name, shape, dtype = tensor
    if chance(graph.rng, 0.4):
        return graph.node("GlobalAveragePool", [name]), [*shape[:2], *[1] * (len(shape) - 2)], dtype
    if min(shape[2:]) < 2:
        return None
    kind, attributes = one_of(graph.rng, ("MaxPool", "AveragePool")), {"kernel_shape": [2] * (len(shape) - 2)}
    return graph.node(kind, [name], strides=[2] * (len(shape) - 2), **attributes), [*shape[:2], *(size // 2 for size in shape[2:])], dtype


_ANY = (_elementwise, _with_constant, _normalised, _transposed, _reshaped, _reduced, _cut, _doubled)
_RANK_2 = (_gemm, _gemm, _matmul, _matmul)
_RANK_3 = (_matmul, _matmul, _conv, _batch_normalised)
_RANK_4 = (_conv, _conv, _conv, _batch_normalised, _pooled, _matmul)


def _quantized(rng: np.random.Generator, path: Path, folder: Path) -> tuple[Path, str] | None:
    """The file quantized as its author may have done, where ONNX Runtime's quantizer takes it."""
    import logging

    from onnxruntime.quantization import QuantFormat, quantize_dynamic, quantize_static

    target, logger = folder / "quantized.onnx", logging.getLogger()
    before, logger.disabled = logger.disabled, True
    try:
        if chance(rng, 0.4):
            quantize_dynamic(path, target)
            return target, "quantized dynamically"
        format = one_of(rng, (QuantFormat.QDQ, QuantFormat.QOperator))
        quantize_static(path, target, _Reader(rng, path), quant_format=format)
        return target, f"quantized statically as {format.name}"
    except Exception:  # what the quantizer does not take stays as it was drawn
        return None
    finally:
        logger.disabled = before


class _Reader:
    """Four queries of normal values, or of small whole numbers."""

    def __init__(self, rng, path: Path):
        graph = onnx.load(path).graph
        weights = {tensor.name for tensor in graph.initializer}
        self.inputs = [value for value in graph.input if value.name not in weights]
        self.queries = [{value.name: _values(rng, value) for value in self.inputs} for _ in range(4)]

    def get_next(self):
        return self.queries.pop() if self.queries else None


def _values(rng, value) -> np.ndarray:
    shape = [axis.dim_value if axis.dim_value > 0 else 1 for axis in value.type.tensor_type.shape.dim]
    dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    return (rng.normal(size=shape) if dtype.kind == "f" else rng.integers(0, 2, shape)).astype(dtype)
