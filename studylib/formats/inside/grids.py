"""The grids of whole numbers on which the inputs and outputs of a quantized file lie: real number = (whole number - zero point) × scale."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

Ends = dict[str, dict[str, "Grid"]]


@dataclass(frozen=True)
class Grid:
    """``scale``: real numbers from one step to the next. ``dtype``: of the whole numbers. ``stored``: whether the file's end holds
    those themselves; otherwise it holds real numbers that lie on the grid."""

    scale: float
    zero_point: int
    dtype: str
    stored: bool

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the greatest real number."""
        limits = np.iinfo(self.dtype)
        return (limits.min - self.zero_point) * self.scale, (limits.max - self.zero_point) * self.scale

    def real(self, values: np.ndarray) -> np.ndarray:
        """Whole numbers as real ones, float32; what is no whole number is real already."""
        if values.dtype.kind not in "iu":
            return values
        return ((values.astype(np.float64) - self.zero_point) * self.scale).astype(np.float32)

    def whole(self, values: np.ndarray) -> np.ndarray:
        """Real numbers as the nearest whole ones, those outside at the ends of the grid."""
        limits = np.iinfo(self.dtype)
        steps = np.rint(values.astype(np.float64) / self.scale) + self.zero_point
        return np.clip(steps, limits.min, limits.max).astype(self.dtype)

    def to_json(self) -> dict:
        return asdict(self)


def grids(path: Path, format: str) -> Ends:
    """The grids of ``inputs`` and ``outputs`` by name, of ends that have one with one scale; empty for other formats."""
    reader = {"tflite": _litert, "onnx": _onnx}.get(format)
    return reader(Path(path)) if reader else {"inputs": {}, "outputs": {}}


def _litert(path: Path) -> Ends:
    from studylib.formats.inside.litert import File, ends

    file = File(path)
    graph = file.graphs[0]
    places = {id(tensor): index for index, tensor in enumerate(graph.tensors)}
    made = {int(index): operator for operator in graph.operators for index in operator.outputs}

    def of(tensor) -> Grid | None:
        found = _litert_grid(tensor, stored=True)
        producer = made.get(places[id(tensor)])
        if found is None and producer is not None and file.type(producer) == "DEQUANTIZE":
            found = _litert_grid(graph.tensors[producer.inputs[0]], stored=False)
        return found

    return {side: {name: grid for name, tensor in ends(file, side) if (grid := of(tensor))} for side in ("inputs", "outputs")}


def _litert_grid(tensor, stored: bool) -> Grid | None:
    from studylib.formats.inside.litert import dtype

    kind, found = dtype(tensor).lower(), tensor.quantization
    if kind not in ("int8", "uint8", "int16") or found is None or found.scale is None or len(found.scale) != 1 or not found.scale[0]:
        return None
    return Grid(float(found.scale[0]), int(found.zeroPoint[0]) if found.zeroPoint is not None else 0, kind, stored)


def _onnx(path: Path) -> Ends:
    import onnx

    graph = onnx.load(path / "model.onnx" if path.is_dir() else path, load_external_data=False).graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    constants |= {
        node.output[0]: node.attribute[0].t for node in graph.node if node.op_type == "Constant" and node.attribute[0].HasField("t")
    }
    made = {name: node for node in graph.node for name in node.output}
    readers: dict[str, list] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)

    def read(value) -> Grid | None:
        found = [node for node in readers.get(value.name, []) if node.op_type == "DequantizeLinear" and node.input[0] == value.name]
        return _onnx_grid(found[0].input[1:3], constants, stored=True) if found else None

    def written(value) -> Grid | None:
        node = made.get(value.name)
        if node is not None and node.op_type == "QuantizeLinear":
            return _onnx_grid(node.input[1:3], constants, stored=True)
        if node is not None and node.op_type in _QLINEAR:
            start = _QLINEAR[node.op_type]
            return _onnx_grid(node.input[start : start + 2], constants, stored=True)
        if node is not None and node.op_type == "DequantizeLinear" and node.input[0] not in constants:
            return _onnx_grid(node.input[1:3], constants, stored=False)
        return None

    inputs = [value for value in graph.input if value.name not in constants]
    return {
        "inputs": {value.name: grid for value in inputs if (grid := read(value))},
        "outputs": {value.name: grid for value in graph.output if (grid := written(value))},
    }


# Where the scale and zero point of the result stand among the inputs.
_QLINEAR = {"QLinearConv": 6, "QLinearMatMul": 6, "QLinearAdd": 6, "QLinearMul": 6, "QGemm": 7, "QLinearSigmoid": 3, "QLinearLeakyRelu": 3}
_QLINEAR |= {"QLinearGlobalAveragePool": 3, "QLinearAveragePool": 3, "QLinearSoftmax": 3}


def _onnx_grid(names, constants: dict, stored: bool) -> Grid | None:
    """The grid of a scale and a zero point, where both are constants of one value and the type is a whole number's."""
    from onnx import numpy_helper

    known = [constants.get(name) for name in names]
    if len(known) < 2 or any(tensor is None or tensor.external_data for tensor in known):
        return None
    scale, zero = (numpy_helper.to_array(tensor) for tensor in known)
    if scale.size != 1 or zero.size != 1 or zero.dtype.name not in ("int8", "uint8", "int16", "uint16") or not float(scale.ravel()[0]):
        return None
    return Grid(float(scale.ravel()[0]), int(zero.ravel()[0]), zero.dtype.name, stored)
