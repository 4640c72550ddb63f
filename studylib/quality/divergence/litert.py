"""LiteRT files for the search: one run with every tensor kept, without XNNPACK, which would compute inside what it hides."""

import warnings
from pathlib import Path

import numpy as np

from studylib.formats.inside.litert import File, ends
from studylib.quality.divergence.opened import Opened, Tensor, arrange, natural, paths


def opened(path: Path, inputs: dict[str, np.ndarray]) -> Opened:
    file = File(path)
    graph, interpreter = file.graphs[0], _run(path, file, inputs)
    details = {detail["index"]: detail for detail in interpreter.get_tensor_details()}
    constants = {index for index, tensor in enumerate(graph.tensors) if file.is_constant(tensor)} | {-1}
    tensors = _tensors(graph, constants, details)
    # Names need not be unique in a file; the index tells tensors of one name apart.
    places = {_name(graph, index): index for operator in graph.operators for index in operator.outputs}
    by_identity = {id(tensor): index for index, tensor in enumerate(graph.tensors)}
    outputs = [by_identity[id(tensor)] for _, tensor in sorted(ends(file, "outputs"), key=lambda end: natural(end[0]))]

    def read(name: str) -> np.ndarray:
        return _real(interpreter.get_tensor(places[name]), details[places[name]])

    return Opened("tflite", tensors, [_name(graph, index) for index in outputs], read)


def _run(path: Path, file: File, inputs: dict[str, np.ndarray]):
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it warns of the memory that keeping all tensors takes
        interpreter = Interpreter(model_path=str(path), experimental_preserve_all_tensors=True, experimental_op_resolver_type=plain)
    places = {id(tensor): index for index, tensor in enumerate(file.graphs[0].tensors)}
    wanted = [(name, places[id(tensor)]) for name, tensor in ends(file, "inputs")]
    values = arrange(inputs, [name for name, _ in wanted])
    for (_, index), value in zip(wanted, values, strict=True):
        interpreter.resize_tensor_input(index, value.shape)
    interpreter.allocate_tensors()
    details = {detail["index"]: detail for detail in interpreter.get_input_details()}
    for (_, index), value in zip(wanted, values, strict=True):
        interpreter.set_tensor(index, _stored(value, details[index]))
    interpreter.invoke()
    return interpreter


def _tensors(graph, constants: set[int], details: dict) -> list[Tensor]:
    found = []
    for operator in graph.operators:
        reads = [int(index) for index in operator.inputs if index not in constants]
        if not reads:
            constants.update(operator.outputs)
        for index in operator.outputs if reads else ():
            name, shape = _name(graph, index), tuple(int(size) for size in details[index]["shape"])
            labels = paths(graph.tensors[index].name.decode())
            found.append(Tensor(name, shape if _is_real(details[index]) else (), labels, tuple(_name(graph, i) for i in reads)))
    return found


def _name(graph, index: int) -> str:
    return f"{graph.tensors[index].name.decode()}#{index}"


def _is_real(detail: dict) -> bool:
    return np.dtype(detail["dtype"]).kind == "f" or len(detail["quantization_parameters"]["scales"]) > 0


def _stored(values: np.ndarray, detail: dict) -> np.ndarray:
    """Values in the input's type, quantized where that is an integer with a scale."""
    scale, zero = detail["quantization"]
    if values.dtype == detail["dtype"] or not scale:
        return values.astype(detail["dtype"])
    limits = np.iinfo(detail["dtype"])
    return np.clip(np.rint(values / scale) + zero, limits.min, limits.max).astype(detail["dtype"])


def _real(values: np.ndarray, detail: dict) -> np.ndarray:
    """Dequantized values, per channel where the file says so."""
    found = detail["quantization_parameters"]
    if values.dtype.kind == "f" or not len(found["scales"]):
        return values
    shape = [1] * values.ndim
    if len(found["scales"]) > 1:
        shape[found["quantized_dimension"]] = -1
    return (values.astype(np.float64) - found["zero_points"].reshape(shape)) * found["scales"].reshape(shape)
