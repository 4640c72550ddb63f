"""LiteRT (``.tflite``) files, read through the runtime's own flatbuffer schema.

The interpreter runs, once and on zeros, only for shapes that the file does not state.
"""

import math
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np

from studylib.errors import ArtifactError
from studylib.formats import litert_operators
from studylib.formats.inside import counting, islands
from studylib.formats.inside.litert_macs import operator_macs
from studylib.formats.litert_names import plain_names

_BITS = {"INT4": 4, "UINT4": 4, "INT2": 2, "INT8": 8, "UINT8": 8, "BOOL": 8, "INT16": 16, "UINT16": 16, "FLOAT16": 16, "BFLOAT16": 16}
_BITS |= {"FLOAT8_E4M3FN": 8, "FLOAT8_E5M2": 8, "INT64": 64, "UINT64": 64, "FLOAT64": 64, "COMPLEX64": 64, "COMPLEX128": 128}
_FLOATS = ("FLOAT32", "FLOAT16", "BFLOAT16", "FLOAT64")
_MOVES = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "SHAPE")
_SMALL_INTEGERS = ("INT8", "UINT8", "INT16", "INT4", "INT2")


class File:
    """A parsed ``.tflite`` file with names where the schema has numbers."""

    def __init__(self, path: Path):
        from ai_edge_litert import schema_py_generated as schema

        content = path.read_bytes()
        if content[4:8] != b"TFL3":
            raise ArtifactError(
                f"{path.name} cannot be read as tflite: its magic is {content[4:8]!r}, not b'TFL3'. Give a LiteRT flatbuffer."
            )
        self.model = schema.ModelT.InitFromPackedBuf(content)
        if not self.model.subgraphs or not self.model.subgraphs[0].operators:
            raise ArtifactError(f"{path.name} cannot be read as tflite: it holds no operators. Give a LiteRT flatbuffer.")
        self.graphs = self.model.subgraphs
        self._check_complete(path, len(content))

    def _check_complete(self, path: Path, size: int) -> None:
        for buffer in self.model.buffers:
            if buffer.offset > 1 and buffer.offset + buffer.size > size:
                raise ArtifactError(f"{path.name} cannot be read as tflite: weights end at byte {buffer.offset + buffer.size} of {size}.")

    def type(self, operator) -> str:
        code = self.model.operatorCodes[operator.opcodeIndex]
        number = max(code.builtinCode, code.deprecatedBuiltinCode)
        return code.customCode.decode() if code.customCode else _names("BuiltinOperator")[number]

    def is_custom(self, operator) -> bool:
        return bool(self.model.operatorCodes[operator.opcodeIndex].customCode)

    def is_constant(self, tensor) -> bool:
        buffer = self.model.buffers[tensor.buffer]
        return bool(buffer.size) or (buffer.data is not None and len(buffer.data) > 0)


@cache
def _names(kind: str) -> dict[int, str]:
    from ai_edge_litert import schema_py_generated as schema

    return {number: name for name, number in vars(getattr(schema, kind)).items() if isinstance(number, int)}


def dtype(tensor) -> str:
    return _names("TensorType")[tensor.type]


def look(path: Path, shapes: dict | None) -> dict:
    file = File(path)
    operators = [(graph, operator) for graph in file.graphs for operator in graph.operators]
    custom = dict.fromkeys(file.type(operator) for _, operator in operators if file.is_custom(operator))
    weights = _weights(file)
    macs, why = counting.add_up(_counts(file, 0, _shapes(file, path, shapes)))
    return {
        "operators": dict(Counter(file.type(operator) for _, operator in operators).most_common()),
        "parameters": sum(math.prod(shape) for shape, _ in weights),
        "weight_bytes": _bytes(weights),
        "macs": macs,
        "macs_why": why,
        "opset": _versions(file),
        "inputs": [_described(tensor, name) for name, tensor in ends(file, "inputs")],
        "outputs": [_described(tensor, name) for name, tensor in ends(file, "outputs")],
        "custom_operators": [name for name in custom if not name.startswith("Flex")],
        "select_tf_operators": [name for name in custom if name.startswith("Flex")],
        "consequences": litert_operators.told(list(custom)),
        "float_islands": islands.find(_steps(file)),
    }


def _weights(file: File) -> list[tuple[tuple, str]]:
    """(shape, dtype) of every constant that is computed with; tensors that share a buffer count once."""
    found = {}
    for graph in file.graphs:
        for tensor in graph.tensors:
            scaled = tensor.quantization is not None and tensor.quantization.scale is not None and len(tensor.quantization.scale)
            if file.is_constant(tensor) and tensor.shape is not None and len(tensor.shape) and (dtype(tensor) in _FLOATS or scaled):
                found[tensor.buffer] = (tuple(int(size) for size in tensor.shape), dtype(tensor))
    return list(found.values())


def _bytes(weights) -> dict[str, int]:
    total: Counter = Counter()
    for shape, kind in weights:
        total[kind.lower()] += math.ceil(math.prod(shape) * _BITS.get(kind, 32) / 8)
    return dict(total)


def _versions(file: File) -> dict[str, int | str]:
    versions: dict[str, int | str] = {"schema": file.model.version}
    for entry in file.model.metadata or []:
        if entry.name == b"min_runtime_version":
            versions["min_runtime"] = bytes(file.model.buffers[entry.buffer].data).rstrip(b"\0").decode()
    return versions


def ends(file: File, side: str) -> list[tuple[str, object]]:
    """(name, tensor) of the inputs or outputs of the first graph, by its signature's names, or as `plain_names` says."""
    graph = file.graphs[0]
    signature = next((one for one in file.model.signatureDefs or [] if one.subgraphIndex == 0), None)
    if signature is not None:
        return [(entry.name.decode(), graph.tensors[entry.tensorIndex]) for entry in getattr(signature, side) or []]
    tensors = [graph.tensors[index] for index in getattr(graph, side)]
    return list(zip(plain_names([tensor.name.decode() for tensor in tensors]), tensors, strict=True))


def _described(tensor, name: str) -> dict:
    return {"name": name, "shape": None if tensor.shape is None else list(_dynamic(tensor)), "dtype": dtype(tensor).lower()}


def _dynamic(tensor) -> tuple[int | None, ...]:
    """The shape with None where the signature says -1."""
    sizes = tensor.shape if tensor.shapeSignature is None or not len(tensor.shapeSignature) else tensor.shapeSignature
    return tuple(None if size < 0 else int(size) for size in sizes)


def _shapes(file: File, path: Path, shapes: dict | None) -> list[dict[int, counting.Shape]]:
    """The shape of every tensor of every subgraph: as the file says for a batch of 1, and as the interpreter infers where that is open."""
    known = [
        {index: None if tensor.shape is None else counting.concrete("", _dynamic(tensor), None) for index, tensor in enumerate(g.tensors)}
        for g in file.graphs
    ]
    if shapes or any(shape is None or None in shape for shape in known[0].values()):
        known[0] |= _resized(file, path, shapes)
    return known


def _resized(file: File, path: Path, shapes: dict | None) -> dict[int, counting.Shape]:
    """Shapes after one run on zeros of the wanted shapes; none where the file cannot be run or an input stays open."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    if any(file.is_custom(operator) for graph in file.graphs for operator in graph.operators):
        return {}
    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    wanted = [counting.concrete(name, _dynamic(tensor), shapes) for name, tensor in ends(file, "inputs")]
    if any(shape is None or None in shape for shape in wanted):
        return {}
    interpreter = Interpreter(model_path=str(path), experimental_op_resolver_type=plain)
    places = {id(tensor): index for index, tensor in enumerate(file.graphs[0].tensors)}
    inputs = [places[id(tensor)] for _, tensor in ends(file, "inputs")]
    for index, shape in zip(inputs, wanted, strict=True):
        interpreter.resize_tensor_input(index, shape)
    interpreter.allocate_tensors()
    for index in inputs:
        interpreter.set_tensor(index, np.zeros_like(interpreter.get_tensor(index)))
    # Behind a Reshape whose target is computed, sizes are known only after the run.
    interpreter.invoke()
    details = {detail["index"]: detail["shape"] for detail in interpreter.get_tensor_details()}
    return {index: tuple(int(size) for size in details[index]) for index in range(len(file.graphs[0].tensors)) if index in details}


def _counts(file: File, index: int, shapes: list) -> list[counting.Count]:
    return [_count(file, operator, index, shapes) for operator in file.graphs[index].operators]


def _count(file: File, operator, index: int, shapes: list) -> counting.Count:
    kind, options = file.type(operator), operator.builtinOptions
    name = file.graphs[index].tensors[operator.outputs[0]].name.decode() if len(operator.outputs) else ""
    what = f"{kind} '{name}'"
    if kind == "WHILE":
        return counting.loop(what, _counts(file, options.bodySubgraphIndex, shapes), None)
    if kind == "IF":
        return counting.branches(what, [_counts(file, i, shapes) for i in (options.thenSubgraphIndex, options.elseSubgraphIndex)])
    inputs = [shapes[index].get(number) for number in operator.inputs]
    outputs = [shapes[index].get(number) for number in operator.outputs]
    return operator_macs(what, kind, options, inputs, outputs, file.is_custom(operator))


def _steps(file: File) -> list[islands.Operation]:
    graph, steps = file.graphs[0], []
    constants = {str(index) for index, tensor in enumerate(graph.tensors) if file.is_constant(tensor)}
    for operator in graph.operators:
        names = tuple(str(index) for index in operator.inputs), tuple(str(index) for index in operator.outputs)
        if file.type(operator) in ("QUANTIZE", "DEQUANTIZE", "DENSIFY") and names[0][0] in constants:
            constants.update(names[1])  # a weight that is stored smaller
            continue
        name = graph.tensors[operator.outputs[0]].name.decode() if len(operator.outputs) else ""
        steps.append(islands.Operation(file.type(operator), name, _kind(file, graph, operator, constants), *names))
    return steps


def _kind(file: File, graph, operator, constants: set[str]) -> str:
    """By what flows: small integers in or out is integer, float with integer weights too (computed in integers while running)."""
    kind = file.type(operator)
    if kind in ("QUANTIZE", "DEQUANTIZE"):
        flows = {dtype(graph.tensors[index]) in _SMALL_INTEGERS for index in (operator.inputs[0], operator.outputs[0])}
        return kind.lower() if len(flows) == 2 else "neutral"
    read = [dtype(graph.tensors[index]) for index in operator.inputs if index >= 0]
    written = [dtype(graph.tensors[index]) for index in operator.outputs]
    if any(name in _SMALL_INTEGERS for name in (*read, *written)):
        return "integer"
    return "float" if any(name in _FLOATS for name in written) and kind not in _MOVES else "neutral"
