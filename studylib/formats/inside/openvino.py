"""OpenVINO IR (``.xml`` with its ``.bin``), read by ``openvino.Core``. Nothing is compiled."""

import math
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

from studylib.errors import ArtifactError
from studylib.formats.inside import counting, islands
from studylib.formats.inside.counting import Count

_PLUMBING = ("Constant", "Parameter", "Result")
_DTYPES = {"f16": "float16", "f32": "float32", "f64": "float64", "bf16": "bfloat16", "boolean": "bool"}
_NUMBERS = ("f16", "f32", "f64", "bf16", "i8", "u8", "i4", "u4", "nf4")
_RECURRENT = {"LSTMSequence": 4, "GRUSequence": 3, "RNNSequence": 3, "LSTMCell": 3, "GRUCell": 2, "RNNCell": 2}  # where the weights begin
_CONVOLUTIONS = ("Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData")


def look(path: Path, shapes: dict | None) -> dict:
    import openvino

    root = ElementTree.parse(path).getroot()
    if root.tag != "net" or not path.with_suffix(".bin").is_file():
        raise ArtifactError(f"{path.name} cannot be read as openvino: the root is <{root.tag}> and {path.stem}.bin must lie beside it.")
    model = openvino.Core().read_model(path)
    nodes = list(_nodes(model))
    weights = [node for node in nodes if _is_weight(node)]
    ends = {side: [_described(port) for port in getattr(model, side)] for side in ("inputs", "outputs")}
    return {
        "operators": dict(Counter(node.get_type_name() for node in nodes if node.get_type_name() not in _PLUMBING).most_common()),
        "parameters": sum(math.prod(node.get_output_shape(0)) for node in weights),
        "weight_bytes": _bytes(weights),
        **_macs(model, shapes),
        "opset": {"ir": int(root.get("version", 0)), "opset": _opset(root)},
        **ends,
        "custom_operators": _custom(root),
        "consequences": [f"{name} comes from an extension: load that library into openvino.Core first." for name in _custom(root)],
        "float_islands": islands.find(_steps(model)),
    }


def _nodes(model):
    for node in model.get_ordered_ops():
        yield node
        for body in _bodies(node):
            yield from _nodes(body)


def _bodies(node) -> list:
    if node.get_type_name() in ("TensorIterator", "Loop"):
        return [node.get_function()]
    return [node.get_function(0), node.get_function(1)] if node.get_type_name() == "If" else []


def _is_weight(node) -> bool:
    """Constants of floats or small integers with an axis; limits of FakeQuantize are settings."""
    if node.get_type_name() != "Constant" or not len(node.get_output_shape(0)) or node.get_element_type().get_type_name() not in _NUMBERS:
        return False
    readers = [(port.get_node().get_type_name(), port.get_index()) for port in node.output(0).get_target_inputs()]
    return not all(kind == "FakeQuantize" and place > 0 for kind, place in readers)


def _bytes(weights: list) -> dict[str, int]:
    total: Counter = Counter()
    for node in weights:
        kind = node.get_element_type()
        total[_dtype(kind)] += math.ceil(math.prod(node.get_output_shape(0)) * kind.bitwidth / 8)
    return dict(total)


def _opset(root) -> int:
    """The newest opset among the layers."""
    versions = [layer.get("version", "") for layer in root.iter("layer")]
    return max((int(version[5:]) for version in versions if version.startswith("opset")), default=0)


def _custom(root) -> list[str]:
    return list(dict.fromkeys(layer.get("type") for layer in root.iter("layer") if not layer.get("version", "").startswith("opset")))


def _described(port) -> dict:
    names = sorted(port.get_names())
    name = names[0] if names else port.get_node().get_friendly_name()
    shape = _shape(port)
    return {"name": name, "shape": None if shape is None else list(shape), "dtype": _dtype(port.get_element_type())}


def _dtype(kind) -> str:
    """``f32`` to ``float32``, ``u8`` to ``uint8``."""
    name = kind.get_type_name()
    return _DTYPES.get(name, name.replace("u", "uint") if name.startswith("u") else name.replace("i", "int"))


def _shape(port) -> counting.Shape:
    partial = port.get_partial_shape()
    return None if partial.rank.is_dynamic else tuple(None if axis.is_dynamic else axis.get_length() for axis in partial)


def _macs(model, shapes: dict | None) -> dict:
    wanted = {}
    for port in model.inputs:
        concrete = counting.concrete(_described(port)["name"], _shape(port), shapes)
        if concrete is not None:
            wanted[port] = [-1 if size is None else size for size in concrete]
    fixed = model.clone()
    fixed.reshape({fixed.inputs[model.inputs.index(port)]: shape for port, shape in wanted.items()})
    macs, why = counting.add_up(_count(node) for node in fixed.get_ordered_ops())
    return {"macs": macs, "macs_why": why}


def _count(node) -> Count:
    kind, what = node.get_type_name(), f"{node.get_type_name()} '{node.get_friendly_name()}'"
    if kind in ("TensorIterator", "Loop"):
        times = node.get_num_iterations()
        return counting.loop(what, [_count(inner) for inner in node.get_function().get_ordered_ops()], times if times >= 0 else None)
    if kind == "If":
        return counting.branches(what, [[_count(inner) for inner in body.get_ordered_ops()] for body in _bodies(node)])
    inputs = [_shape(port.get_source_output()) for port in node.inputs()]
    if kind in _CONVOLUTIONS:
        return _convolution(what, kind, inputs, _shape(node.output(0)))
    if kind == "MatMul":
        inner = -2 if node.get_attributes()["transpose_a"] else -1
        return counting.matrix_product(what, _shape(node.output(0)), inputs[0][inner] if inputs[0] else None)
    if kind == "Einsum":
        return counting.einsum(what, node.get_attributes()["equation"], inputs)
    if kind in _RECURRENT:
        steps = 1 if kind.endswith("Cell") else (inputs[0] or (None, None))[1]
        return counting.recurrent(what, steps, (inputs[0] or (None,))[0], inputs[_RECURRENT[kind] :][:2])
    return 0


def _convolution(what: str, kind: str, inputs: list, output) -> Count:
    """Weights are ([groups,] out, in, space), of transposed convolutions ([groups,] in, out, space)."""
    weights = inputs[1]
    channels = None if weights is None else weights[0] * weights[1] if kind.startswith("Group") else weights[0]
    return counting.convolution(what, inputs[0] if "Backprop" in kind else output, weights, channels)


def _steps(model) -> list[islands.Operation]:
    """Every operator with its kind. What is made of constants alone is no step of the computation; an operator whose inputs and outputs
    are all quantized counts as integer, since the plugin fuses it (bias, activation).
    """
    nodes = model.get_ordered_ops()
    sources = {
        node.get_friendly_name(): [port.get_source_output().get_node().get_friendly_name() for port in node.inputs()] for node in nodes
    }
    kinds, constant, behind = {node.get_friendly_name(): _kind(node) for node in nodes}, set(), set()
    for node in nodes:
        name = node.get_friendly_name()
        moving = [source for source in sources[name] if source not in constant]
        if node.get_type_name() == "Constant" or (sources[name] and not moving):
            constant.add(name)
            kinds[name] = "neutral"
        elif kinds[name] in ("quantize", "integer") or (moving and all(source in behind for source in moving)):
            behind.add(name)
    before = set()
    for node in reversed(nodes):
        readers = [port.get_node().get_friendly_name() for output in node.outputs() for port in output.get_target_inputs()]
        if readers and all(kinds[reader] == "quantize" or reader in before for reader in readers):
            before.add(node.get_friendly_name())
    return [
        islands.Operation(
            node.get_type_name(), name, "integer" if kinds[name] == "float" and name in behind & before else kinds[name],
            tuple(sources[name]), (name,),
        )
        for node in nodes
        for name in [node.get_friendly_name()]
    ]  # fmt: skip


def _kind(node) -> str:
    """FakeQuantize marks where values become integers: what reads only such values is computed in integers."""
    kind = node.get_type_name()
    if kind == "FakeQuantize":
        return "quantize"
    sources = [port.get_source_output().get_node().get_type_name() for port in node.inputs()]
    if kind in (*_CONVOLUTIONS, "MatMul") and sources[0] == "FakeQuantize":
        return "integer"
    is_float = node.get_output_size() and node.get_output_element_type(0).is_real()
    return "float" if is_float and kind not in (*_PLUMBING, "Convert", "Reshape", "Transpose") else "neutral"
