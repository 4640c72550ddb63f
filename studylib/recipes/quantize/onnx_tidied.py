"""ONNX graphs written the way quantizers read them, with the same answers: a recent opset, constants folded, plain products."""

from pathlib import Path

import numpy as np

from studylib.errors import RefusedError
from studylib.formats import onnx_versions
from studylib.formats.rewrites import graphs

# DequantizeLinear has scales for each channel since this one, and the quantizers write such.
OPSET = 13
# What may stand between a constant and the operator that reads it, and is computed here.
_FOLDABLE = ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Cast", "Flatten", "ConstantOfShape", "Expand")
_LARGEST = 2**28


def modern(model) -> tuple[object, str]:
    """The model with weights that are no inputs, functions written out, and an opset of 13 or more in which quantized operators run.

    And why another opset had to stay, where it had to.
    """
    import onnx.inliner

    if len(model.functions):
        model = onnx.inliner.inline_local_functions(model)
    weights = {tensor.name for tensor in model.graph.initializer}
    kept = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    if model.ir_version < onnx_versions.SEPARATE_WEIGHTS:
        model.ir_version = onnx_versions.SEPARATE_WEIGHTS
    try:
        return onnx_versions.quantizable(model, OPSET), ""
    except RefusedError as error:
        return model, str(error)


def tidy(model) -> None:
    """In place: constants folded, and every Gemm a product with a bias of one axis and no factors, as far as its weights are constants."""
    folded(model.graph)
    for node in model.graph.node:
        if node.op_type == "Gemm" and node.domain in ("", "ai.onnx"):
            _plain_gemm(model.graph, node)
    _separate(model.graph)
    _drop_unread(model.graph)


def folded(graph) -> int:
    """Compute what is made of constants alone by operators that only lay them out; how many nodes that were."""
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in graph.initializer}
    outputs, gone = {value.name for value in graph.output}, []
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value" and node.output[0] not in outputs:
            tensor = node.attribute[0].t
        elif node.op_type in _FOLDABLE and node.input and all(name in constants for name in node.input) and node.output[0] not in outputs:
            values = _computed(node, {name: numpy_helper.to_array(constants[name]) for name in node.input})
            if values is None:
                continue
            tensor = numpy_helper.from_array(values)
        else:
            continue
        constants[node.output[0]] = graph.initializer.add()
        constants[node.output[0]].CopyFrom(tensor)
        constants[node.output[0]].name = node.output[0]
        gone.append(node)
    for node in gone:
        graph.node.remove(node)
    return len(gone)


def _computed(node, given: dict[str, np.ndarray]) -> np.ndarray | None:
    """What the node makes of constants; None where that would be too large, or where it is not done here."""
    from onnx import numpy_helper

    attributes = {attribute.name: attribute for attribute in node.attribute}
    values = given[node.input[0]]
    second = given[node.input[1]].astype(np.int64).tolist() if len(node.input) > 1 else None
    if node.op_type == "Identity":
        return values
    if node.op_type == "Transpose":
        return np.ascontiguousarray(values.transpose(list(attributes["perm"].ints) if "perm" in attributes else None))
    if node.op_type == "Reshape" and not ("allowzero" in attributes and attributes["allowzero"].i):
        return values.reshape([values.shape[axis] if size == 0 else size for axis, size in enumerate(second)])
    if node.op_type == "Squeeze":
        axes = second if second is not None else list(attributes["axes"].ints) if "axes" in attributes else None
        return values.squeeze(None if axes is None else tuple(axes))
    if node.op_type == "Unsqueeze":
        return np.expand_dims(values, tuple(second if second is not None else attributes["axes"].ints))
    if node.op_type == "ConstantOfShape" and np.prod(values, dtype=float) <= _LARGEST:
        fill = numpy_helper.to_array(attributes["value"].t).ravel()[0] if "value" in attributes else np.float32(0)
        return np.full(values.tolist(), fill)
    if node.op_type == "Expand" and np.prod(second, dtype=float) <= _LARGEST:
        return np.ascontiguousarray(values * np.ones(second, values.dtype)) if values.dtype.kind in "fiu" else None
    return None


def _plain_gemm(graph, node) -> None:
    """``alpha A'B' + beta C`` as ``A B + c`` with c of one axis, where B and C are constants; unchanged elsewhere."""
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in graph.initializer}
    attributes = {attribute.name: attribute for attribute in node.attribute}
    alpha = attributes["alpha"].f if "alpha" in attributes else 1.0
    beta = attributes["beta"].f if "beta" in attributes else 1.0
    biased = len(node.input) > 2 and bool(node.input[2])
    if node.input[1] not in constants or (biased and node.input[2] not in constants):
        return
    weights = numpy_helper.to_array(constants[node.input[1]])
    if weights.dtype.kind != "f":
        return
    bias, turned = None, "transB" in attributes and attributes["transB"].i
    if biased:
        bias, channels = numpy_helper.to_array(constants[node.input[2]]), weights.shape[0 if turned else 1]
        if bias.size not in (1, channels) or (bias.ndim == 2 and bias.shape[0] != 1):
            return  # one for each row of the batch: no bias of channels
        bias = np.broadcast_to(bias.reshape(-1) * np.float32(beta), (channels,)).astype(weights.dtype)
    if alpha != 1.0:
        node.input[1] = _added(graph, f"{node.output[0]}/weights", (weights * np.float32(alpha)).astype(weights.dtype))
    if biased and (beta != 1.0 or list(constants[node.input[2]].dims) != [len(bias)]):
        node.input[2] = _added(graph, f"{node.output[0]}/bias", bias)
    kept = [type(a).FromString(a.SerializeToString()) for name, a in attributes.items() if name not in ("alpha", "beta")]
    del node.attribute[:]
    node.attribute.extend(kept)


def _separate(graph) -> None:
    """Give every product weights of its own where another reads the same ones along another axis, and always its own bias.

    ONNX Runtime's quantizers keep one set of scales for a constant, whoever reads it: those of the last reader would serve all.
    """
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in graph.initializer}
    axes: dict[str, int | None] = {}
    for node in graph.node:
        if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
            continue
        turned = node.op_type == "Conv" or any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
        for index, axis in ((0, 1), (1, 0 if turned else 1), (2, None)):
            name = node.input[index] if index < len(node.input) else ""
            # A bias has the scales of what it is added to, which are each product's own.
            other = name in axes and (axes[name] != axis or axis is None)
            if name in constants and other:
                node.input[index] = _added(graph, f"{node.output[0]}/own_{index}", numpy_helper.to_array(constants[name]))
            elif name in constants:
                axes[name] = axis


def split_gemms(path: Path) -> int:
    """Every Gemm of the file with constant weights as a product and a sum, in branches and loops too, in place; how many.

    ``quantize_dynamic`` does the same, and stops at weights that a graph around the Gemm holds.
    """
    import onnx
    from onnx import helper, numpy_helper

    model, count, known = onnx.load(path), 0, {}
    for graph in graphs(model.graph):
        known |= {tensor.name: tensor for tensor in graph.initializer}
        for place, node in reversed([*enumerate(graph.node)]):
            attributes = {attribute.name: attribute for attribute in node.attribute}
            plain = all(attributes[name].f == 1 for name in ("alpha", "beta") if name in attributes)
            straight = "transA" not in attributes or not attributes["transA"].i
            if node.op_type != "Gemm" or node.domain not in ("", "ai.onnx") or node.input[1] not in known or not plain or not straight:
                continue
            weights, biased = node.input[1], len(node.input) > 2 and bool(node.input[2])
            if "transB" in attributes and attributes["transB"].i:
                weights = _added(graph, f"{node.output[0]}/turned", numpy_helper.to_array(known[weights]).T)
            product = f"{node.output[0]}/product" if biased else node.output[0]
            parts = [helper.make_node("MatMul", [node.input[0], weights], [product], name=f"{node.name}/product")]
            if biased:
                parts.append(helper.make_node("Add", [product, node.input[2]], [node.output[0]], name=f"{node.name}/bias"))
            graph.node.remove(node)
            for part in reversed(parts):
                graph.node.insert(place, part)
            count += 1
    if count:
        for graph in graphs(model.graph):
            _drop_unread(graph)
        onnx.save(model, path)
    return count


def _added(graph, name: str, values: np.ndarray) -> str:
    from onnx import numpy_helper

    graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
    return name


def _drop_unread(graph) -> None:
    """Remove constants that nothing reads any more."""
    read = {name for part in graphs(graph) for node in part.node for name in node.input}
    read |= {value.name for part in graphs(graph) for value in part.output}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    if len(kept) < len(graph.initializer):
        copies = [type(tensor).FromString(tensor.SerializeToString()) for tensor in kept]
        del graph.initializer[:]
        graph.initializer.extend(copies)
