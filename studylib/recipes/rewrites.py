"""Named repairs of ONNX graphs that converters write and runtimes refuse. Adding one: a function, a line in the table, a test.

A rewrite changes the model in place and returns how often it did. Names of tensors that other nodes read are kept.
"""

from collections.abc import Iterator


def erfc(model) -> int:
    """``Erfc(x)``, which ONNX does not have, becomes ``1 - Erf(x)`` (``Erf``: opset 9). Comes from Keras' exact GELU."""
    import onnx
    from onnx import helper

    if _opset(model) < 9:
        return 0
    found = [(graph, node) for graph in graphs(model.graph) for node in graph.node if node.op_type == "Erfc" and not node.domain]
    for _, node in found:
        node.op_type = "Erf"
    kinds, ones = element_types(model) if found else {}, {}
    for graph, node in found:
        output = node.output[0]
        kind = kinds[output]
        one = ones.setdefault(kind, f"one_of_erfc_{onnx.TensorProto.DataType.Name(kind).lower()}")
        node.output[0] = f"{output}/erf"
        difference = helper.make_node("Sub", [one, node.output[0]], [output], name=f"{node.name}/one_minus")
        graph.node.insert(list(graph.node).index(node) + 1, difference)
    model.graph.initializer.extend(helper.make_tensor(name, kind, [], [1.0]) for kind, name in ones.items())
    return len(found)


REWRITES = {"Erfc": erfc}


def apply(model) -> dict[str, int]:
    """Apply every rewrite of the table; name: how often, for those that found something."""
    counts = {name: rewrite(model) for name, rewrite in REWRITES.items()}
    return {name: count for name, count in counts.items() if count}


def graphs(graph) -> Iterator:
    """``graph`` and every graph inside the attributes of its nodes (bodies of loops and branches)."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from graphs(attribute.g)
            for inner in attribute.graphs:
                yield from graphs(inner)


def element_types(model) -> dict[str, int]:
    """Element type (``onnx.TensorProto.DataType``) of every tensor whose type can be inferred, by name.

    Weights go in by type and shape alone: inference serialises what it is given, and a message ends at 2 GB.
    """
    import onnx
    from onnx import helper

    bare = onnx.ModelProto(ir_version=max(model.ir_version, 4), opset_import=model.opset_import)
    bare.graph.node.extend(model.graph.node)
    weights = [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in model.graph.initializer]
    named = {value.name for value in weights}
    bare.graph.input.extend([*weights, *(value for value in model.graph.input if value.name not in named)])
    bare.graph.output.extend(model.graph.output)
    inferred = [*graphs(onnx.shape_inference.infer_shapes(bare).graph)]
    return {
        value.name: value.type.tensor_type.elem_type for graph in inferred for value in (*graph.input, *graph.value_info, *graph.output)
    }


def _opset(model) -> int:
    return next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
