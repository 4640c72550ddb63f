"""Named repairs of ONNX graphs that converters write and runtimes refuse. Adding one: a function, a line in the table, a test.

A rewrite changes the model in place and returns how often it did. Names of tensors that other nodes read are kept.
"""

from collections.abc import Iterator


def erfc(model) -> int:
    """``Erfc(x)`` becomes ``1 - Erf(x)`` (``Erf``: opset 9). Comes from Keras' exact GELU."""
    return 0 if _opset(model) < 9 else _with_one(model, "Erfc", lambda x, one, y: [("Erf", [x], f"{y}/erf"), ("Sub", [one, f"{y}/erf"], y)])


def expm1(model) -> int:
    """``Expm1(x)`` becomes ``Exp(x) - 1``: near zero right to the last bit of 1, not of the result. Comes from Keras' CELU."""
    return _with_one(model, "Expm1", lambda x, one, y: [("Exp", [x], f"{y}/exp"), ("Sub", [f"{y}/exp", one], y)])


def log1p(model) -> int:
    """``Log1p(x)`` becomes ``Log(1 + x)``: near zero right to the last bit of 1, not of the result. Comes from ``keras.ops``."""
    return _with_one(model, "Log1p", lambda x, one, y: [("Add", [x, one], f"{y}/sum"), ("Log", [f"{y}/sum"], y)])


def output_padding(model) -> int:
    """``ConvTranspose`` with negative padding at an end, which ONNX forbids, has it as ``output_padding``: the same output."""
    from onnx import helper

    count = 0
    for node in (node for graph in graphs(model.graph) for node in graph.node if node.op_type == "ConvTranspose"):
        attributes = {attribute.name: attribute for attribute in node.attribute}
        pads = list(attributes["pads"].ints) if "pads" in attributes else []
        ends = pads[len(pads) // 2 :]
        if min(ends, default=0) < 0:
            before = list(attributes["output_padding"].ints) if "output_padding" in attributes else [0] * len(ends)
            attributes["pads"].ints[len(ends) :] = [max(end, 0) for end in ends]
            kept = [attribute for name, attribute in attributes.items() if name != "output_padding"]
            more = [old - min(end, 0) for old, end in zip(before, ends, strict=True)]
            kept = [type(one).FromString(one.SerializeToString()) for one in kept]
            del node.attribute[:]
            node.attribute.extend([*kept, helper.make_attribute("output_padding", more)])
            count += 1
    return count


REWRITES = {"Erfc": erfc, "Expm1": expm1, "Log1p": log1p, "output_padding": output_padding}


def apply(model) -> dict[str, int]:
    """Apply every rewrite of the table; name: how often, for those that found something."""
    counts = {name: rewrite(model) for name, rewrite in REWRITES.items()}
    return {name: count for name, count in counts.items() if count}


def _with_one(model, operator: str, parts) -> int:
    """Replace ``y = operator(x)`` by ``parts(x, one, y)``, (operator, inputs, output) each; ``one`` is a weight of the type of x."""
    import onnx
    from onnx import helper

    found = [(graph, node) for graph in graphs(model.graph) for node in graph.node if node.op_type == operator and not node.domain]
    for _, node in found:
        node.op_type = "Identity"  # of the same type as its input, and known to the type inference
    kinds, ones = element_types(model) if found else {}, {}
    for graph, node in found:
        (x,), (y,), kind = node.input, node.output, kinds[node.output[0]]
        one = ones.setdefault(kind, f"one_of_{operator}_{onnx.TensorProto.DataType.Name(kind)}".lower())
        first, second = (helper.make_node(name, inputs, [output], name=f"{node.name}/{name}") for name, inputs, output in parts(x, one, y))
        graph.node.insert(list(graph.node).index(node), first)
        node.CopyFrom(second)
    model.graph.initializer.extend(helper.make_tensor(name, kind, [], [1.0]) for kind, name in ones.items())
    return len(found)


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
