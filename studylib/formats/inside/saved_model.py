"""TensorFlow SavedModels: the graph behind ``serving_default``, its function calls inlined by TensorFlow's optimizer. Nothing is loaded."""

import math
from collections import Counter
from pathlib import Path

from studylib.errors import ArtifactError
from studylib.formats.inside import counting
from studylib.formats.inside.tensorflow_macs import graph_counts

_PLUMBING = ("NoOp", "Const", "Placeholder", "Identity", "IdentityN", "VarHandleOp", "ReadVariableOp")


def look(path: Path, shapes: dict | None) -> dict:
    import tensorflow as tf

    meta, signature = _serving(path)
    graph = _graph(meta.graph_def, signature, shapes)
    operations = [node for node in graph.as_graph_def().node if node.op not in _PLUMBING]
    inner = [node for function in graph.as_graph_def().library.function for node in function.node_def if node.op not in _PLUMBING]
    names = Counter(node.op for node in (*operations, *inner))
    weights = _weights(graph)
    macs, why = counting.add_up(graph_counts(graph, _batch(graph)))
    custom = [name for name in names if not hasattr(tf.raw_ops, name)]
    return {
        "operators": dict(names.most_common()),
        "parameters": sum(math.prod(shape) for shape, _ in weights),
        "weight_bytes": _bytes(weights),
        "macs": macs,
        "macs_why": why,
        "opset": {"tensorflow": meta.meta_info_def.tensorflow_version},
        "inputs": _described(signature.inputs),
        "outputs": _described(signature.outputs),
        "custom_operators": custom,
        "consequences": [f"{name} is not registered in TensorFlow: load the library that brings it first." for name in custom],
    }


def _serving(path: Path):
    """The meta graph tagged ``serve`` and its serving signature."""
    from tensorflow.core.protobuf import saved_model_pb2

    file = path / "saved_model.pb"
    if not file.is_file():
        raise ArtifactError(f"{path.name} is no SavedModel: it has no `saved_model.pb`. Give the folder that `model.export` wrote.")
    content = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    graphs = [meta for meta in content.meta_graphs if "serve" in meta.meta_info_def.tags]
    if not graphs:
        raise ArtifactError(f"{path.name} has no graph tagged `serve`; export the model with `model.export`.")
    if "serving_default" not in graphs[0].signature_def:
        known = ", ".join(sorted(graphs[0].signature_def)) or "none"
        raise ArtifactError(f"{path.name} has no signature `serving_default`; its signatures are: {known}. Export it with one.")
    return graphs[0], graphs[0].signature_def["serving_default"]


def _graph(graph_def, signature, shapes: dict | None):
    """A ``tf.Graph`` of what the signature computes, with concrete input shapes, so that TensorFlow infers the others."""
    import tensorflow as tf

    ends = {side: [tensor.name.split(":")[0] for tensor in getattr(signature, side).values()] for side in ("inputs", "outputs")}
    flat = _pruned(_inlined(graph_def, signature), ends["outputs"])
    wanted = {tensor.name.split(":")[0]: _wanted(name, tensor, shapes) for name, tensor in signature.inputs.items()}
    for node in flat.node:
        node.attr.pop("_output_shapes", None)  # noted for an open batch; inferred anew
        node.attr.pop("_class", None)  # where to place it, next to nodes that inlining removed
        if wanted.get(node.name) is not None:
            node.attr["shape"].shape.CopyFrom(tf.TensorShape(wanted[node.name]).as_proto())
    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(flat, name="")
    return graph


def _batch(graph) -> int | None:
    """The first axis of the inputs, where they share it."""
    inputs = [operation.outputs[0] for operation in graph.get_operations() if operation.type == "Placeholder"]
    sizes = {tensor.shape[0] for tensor in inputs if tensor.shape.rank}
    return sizes.pop() if len(sizes) == 1 else None


def _wanted(name: str, tensor, shapes: dict | None) -> counting.Shape:
    shape = _shape(tensor.tensor_shape)
    return counting.concrete(name, None if shape is None else tuple(shape), shapes)


def _inlined(graph_def, signature):
    """The graph with its function calls inlined, by Grappler with every other optimization off."""
    from tensorflow.core.protobuf import config_pb2, meta_graph_pb2
    from tensorflow.python.grappler import tf_optimizer

    meta = meta_graph_pb2.MetaGraphDef()
    meta.graph_def.CopyFrom(graph_def)
    for function in meta.graph_def.library.function:
        function.attr.pop("api_implements", None)  # a second implementation for another device would keep the call
        for node in function.node_def:
            if "_lower_using_switch_merge" in node.attr:  # loops stay one operator, to be looked into
                node.attr["_lower_using_switch_merge"].b = False
    kept = [tensor.name for tensor in (*signature.inputs.values(), *signature.outputs.values())]
    meta.collection_def["train_op"].node_list.value.extend(kept)
    config = config_pb2.ConfigProto()
    config.graph_options.rewrite_options.min_graph_nodes = -1
    config.graph_options.rewrite_options.optimizers.append("function")
    return tf_optimizer.OptimizeGraph(config, meta)


def _pruned(graph_def, outputs: list[str]):
    """The graph without what the outputs do not read: saving, restoring, other signatures."""
    nodes = {node.name: node for node in graph_def.node}
    waiting, kept = list(outputs), set()
    while waiting:
        name = waiting.pop().removeprefix("^").split(":")[0]
        if name not in kept:
            kept.add(name)
            waiting += nodes[name].input
    flat = type(graph_def)(versions=graph_def.versions, library=graph_def.library)
    flat.node.extend(node for node in graph_def.node if node.name in kept)
    return flat


def _weights(graph) -> list[tuple[tuple, object]]:
    """(shape, tf dtype) of the variables that the signature reads and of its float constants with an axis."""
    import tensorflow as tf

    found = {}
    for operation in graph.get_operations():
        if operation.type == "VarHandleOp":
            name = operation.get_attr("shared_name") or operation.name
            found[name] = (tuple(tf.TensorShape(operation.get_attr("shape"))), operation.get_attr("dtype"))
        elif operation.type == "Const" and operation.outputs[0].dtype.is_floating and operation.outputs[0].shape.rank:
            found[operation.name] = (tuple(operation.outputs[0].shape), operation.outputs[0].dtype)
    return list(found.values())


def _bytes(weights) -> dict[str, int]:
    total: Counter = Counter()
    for shape, dtype in weights:
        total[dtype.name] += math.prod(shape) * dtype.size
    return dict(total)


def _described(tensors) -> list[dict]:
    import tensorflow as tf

    def described(name: str, tensor) -> dict:
        return {"name": name, "shape": _shape(tensor.tensor_shape), "dtype": tf.DType(tensor.dtype).name}

    return [described(name, tensor) for name, tensor in sorted(tensors.items())]


def _shape(proto) -> list[int | None] | None:
    return None if proto.unknown_rank else [None if axis.size < 0 else axis.size for axis in proto.dim]
