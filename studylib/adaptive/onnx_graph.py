"""The layers of a prepared ONNX file, by names that outlast a rebuild, and the graph they stand in."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from studylib.adaptive.layers import DYNAMIC, FLOAT, STATIC, Layer, Operator, short_names
from studylib.errors import RefusedError

# Which inputs of an operator are its weights.
_WEIGHTS = {"Conv": (1,), "ConvTranspose": (1,), "Gemm": (1,), "MatMul": (0, 1), "LSTM": (1, 2)}
_STATIC = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_DYNAMIC = ("Conv", "Gemm", "MatMul", "LSTM")
ACTIVATIONS = frozenset(("Relu", "Clip"))
# Converters and optimizers count such names up, and the count differs from one conversion to the next.
_COUNTED = re.compile(r"__\d+$|^Conv_\d+$|^$")
_SUFFIXES = re.compile(r"(/MatMulAddFusion|/merged_input|/ReadVariableOp|:\d+)+$")


@dataclass(frozen=True)
class OnnxGraph:
    """``graph``: of a file of `studylib.recipes.quantize.onnx_calibration.prepared`; ``file``: whose name errors say."""

    graph: object
    file: str

    @classmethod
    def read(cls, path: Path, file: str | None = None) -> "OnnxGraph":
        import onnx

        return cls(onnx.load(path).graph, file or path.name)

    @cached_property
    def nodes(self) -> dict[str, str]:
        """Layer name to node name, in the order of the graph."""
        found = [node for node in self.graph.node if len(self._precisions(node)) > 1]
        if not found:
            raise RefusedError(f"{self.file} has no operator that can be quantized ({', '.join(_WEIGHTS)} in float32)")
        names = short_names([self._lasting_name(node) for node in found])
        return dict(zip(names, (node.name for node in found), strict=True))

    @cached_property
    def layers(self) -> list[Layer]:
        by_name = {node.name: node for node in self.graph.node}
        pairs = [(name, by_name[node]) for name, node in self.nodes.items()]
        return [Layer(name, node.op_type, self._parameters(node), self._precisions(node)) for name, node in pairs]

    @property
    def operators(self) -> list[Operator]:
        return [Operator(node.name, node.op_type, self._activations(node), tuple(node.output)) for node in self.graph.node]

    def traces(self, name: str) -> set[str]:
        """What a runtime may call the layer in a profile: its node, its outputs, and those of activations behind it."""
        node = next(node for node in self.graph.node if node.name == self.nodes[name])
        found = {node.name, node.output[0]}
        while (reader := self._only_reader(node)) is not None and reader.op_type in ACTIVATIONS | {"Add"}:
            found |= {reader.name, reader.output[0]}
            if reader.op_type not in ACTIVATIONS:
                break
            node = reader
        return found

    def _only_reader(self, node):
        readers = self._readers.get(node.output[0], [])
        return readers[0] if len(readers) == 1 else None

    @cached_property
    def _readers(self) -> dict[str, list]:
        found: dict[str, list] = {}
        for node in self.graph.node:
            for name in node.input:
                found.setdefault(name, []).append(node)
        return found

    @cached_property
    def _sizes(self) -> dict[str, int]:
        """How many values each constant holds, by its name."""
        sizes = {tensor.name: _count(tensor.dims) for tensor in self.graph.initializer}
        for node in self.graph.node:
            if node.op_type == "Constant":
                sizes[node.output[0]] = sum(_count(attribute.t.dims) for attribute in node.attribute if attribute.name == "value")
        return sizes

    @cached_property
    def _float_weights(self) -> set[str]:
        import onnx

        return {tensor.name for tensor in self.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}

    @cached_property
    def _integers(self) -> set[str]:
        """Values that come out of integers: of a file that is quantized already."""
        return {name for node in self.graph.node if node.op_type in ("DequantizeLinear", "DynamicQuantizeLinear") for name in node.output}

    def _activations(self, node) -> tuple[str, ...]:
        return tuple(name for name in node.input if name and name not in self._sizes)

    def _parameters(self, node) -> int:
        return sum(self._sizes.get(name, 0) for name in node.input)

    def _precisions(self, node) -> tuple[str, ...]:
        if node.op_type not in _WEIGHTS or self._integers & set(node.input):
            return (FLOAT,)
        constant = [node.input[place] in self._float_weights for place in _WEIGHTS[node.op_type]]
        right = constant[-1] if node.op_type == "MatMul" else all(constant)
        dynamic = (DYNAMIC,) if node.op_type in _DYNAMIC and right and _is_product(node) else ()
        return (FLOAT, *dynamic, *((STATIC,) if node.op_type in _STATIC else ()))

    def _lasting_name(self, node) -> str:
        """The node's own name or its weights'; where both are counted up, the name of what comes out of it, or behind it."""
        for name in (node.name, *(node.input[place] for place in _WEIGHTS[node.op_type] if node.input[place] in self._sizes)):
            if "/" in name and not _COUNTED.search(_plain(name)):
                return _plain(name)
        ahead, seen = [node], set()
        while ahead:
            one = ahead.pop(0)
            for name in one.output:
                if not _COUNTED.search(_plain(name)):
                    return f"{_plain(name)}:{node.op_type}"
                ahead += [reader for reader in self._readers.get(name, []) if reader.name not in seen and not seen.add(reader.name)]
        return node.name


def _plain(name: str) -> str:
    """Without what a fusion and the number of an output append."""
    return _SUFFIXES.sub("", name)


def _is_product(node) -> bool:
    """A Gemm that is a product and a bias only, which dynamic quantization splits it into."""
    return node.op_type != "Gemm" or all(
        a.name == "transB" or (a.name in ("alpha", "beta") and a.f == 1) or (a.name == "transA" and a.i == 0) for a in node.attribute
    )


def _count(dims) -> int:
    count = 1
    for size in dims:
        count *= size
    return count
