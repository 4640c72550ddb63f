"""Multiply-accumulates of a TensorFlow graph, from the shapes that TensorFlow itself infers."""

from studylib.formats.inside.counting import Count, branches, convolution, einsum, loop, matrix_product, product

_FORWARD = ("Conv2D", "Conv3D", "Conv")
_TRANSPOSED = ("Conv2DBackpropInput", "Conv3DBackpropInputV2")
_DEPTHWISE = "DepthwiseConv2dNative"
_PRODUCTS = {"MatMul": "transpose_a", "BatchMatMul": "adj_x", "BatchMatMulV2": "adj_x", "BatchMatMulV3": "adj_x"}
_UNKNOWN = ("CudnnRNN", "CudnnRNNV2", "CudnnRNNV3", "XlaDotV2", "XlaConvV2", "XlaCallModule")
COUNTED = (*_FORWARD, *_TRANSPOSED, _DEPTHWISE, *_PRODUCTS, "Einsum", *_UNKNOWN)


def graph_counts(graph, batch: int | None = 1) -> list[Count]:
    """One count for every operation of a ``tf.Graph``; loops and branches are looked into.

    ``batch`` is the first axis of the inputs: functions of a SavedModel do not know it and leave that axis open.
    """
    return [_count(operation, graph, batch) for operation in _needed(graph)]


def _needed(graph) -> list:
    """The operations that a function's outputs read; Keras traces the first step of a recurrent layer twice and drops one."""
    waiting = [tensor.op for tensor in getattr(graph, "outputs", ())]
    if not waiting:
        return graph.get_operations()
    found = {}
    while waiting:
        operation = waiting.pop()
        if operation.name not in found:
            found[operation.name] = operation
            waiting += [tensor.op for tensor in operation.inputs]
    return list(found.values())


def _count(operation, graph, batch: int | None) -> Count:
    what, kind = f"{operation.type} '{operation.name}'", operation.type
    if kind in ("While", "StatelessWhile"):
        return loop(what, graph_counts(_function(graph, operation, "body"), batch), _passes(graph, operation))
    if kind in ("If", "StatelessIf"):
        return branches(what, [graph_counts(_function(graph, operation, side), batch) for side in ("then_branch", "else_branch")])
    if kind in _UNKNOWN:
        return f"how many multiply-accumulates {what} makes is not known here"
    if kind not in COUNTED:
        return 0
    return _arithmetic(what, operation, [_shape(tensor, batch) for tensor in operation.inputs], _shape(operation.outputs[0], batch))


def _arithmetic(what: str, operation, inputs: list, output) -> Count:
    kind = operation.type
    if kind in _FORWARD:
        return convolution(what, output, inputs[1], inputs[1][-1] if inputs[1] else None)
    if kind in _TRANSPOSED:  # inputs: sizes, weights (space, out, in), values
        return convolution(what, inputs[2], inputs[1], inputs[1][-1] if inputs[1] else None)
    if kind == _DEPTHWISE:
        return product(what, output, inputs[1][:2] if inputs[1] else None)
    if kind == "Einsum":
        return einsum(what, operation.get_attr("equation").decode(), inputs)
    inner = -2 if operation.get_attr(_PRODUCTS[kind]) else -1
    return matrix_product(what, output, inputs[0][inner] if inputs[0] else None)


def _shape(tensor, batch: int | None) -> tuple[int | None, ...] | None:
    """The inferred shape; inside functions the shape that was noted when the model was traced."""
    shape = tensor.shape
    noted = tensor.op.node_def.attr.get("_output_shapes")
    if noted is not None and not shape.is_fully_defined():
        shape = type(shape)(noted.list.shape[tensor.value_index])
    if shape.rank is None:
        return None
    return tuple(batch if axis == 0 and size is None else size for axis, size in enumerate(shape))


def _function(graph, operation, attribute: str):
    """The graph of a loop's or branch's function: as traced, or rebuilt from a SavedModel's definition of it."""
    from tensorflow.python.framework.function_def_to_graph import function_def_to_graph

    function = graph._get_function(operation.get_attr(attribute).name)
    if hasattr(function, "graph"):
        return function.graph
    with graph.as_default():
        return function_def_to_graph(function.cached_definition)


def _passes(graph, operation) -> int | None:
    """How often a loop runs: known where its condition is made of ``variable < limit`` alone and each counts up by one from a constant."""
    condition, body = _function(graph, operation, "cond"), _function(graph, operation, "body")
    tests = [test for test in condition.get_operations() if test.type not in ("Placeholder", "Identity", "LogicalAnd", "Const", "NoOp")]
    places = {tensor.name: index for index, tensor in enumerate(condition.inputs)}
    limits = [_span(operation, body, places, test) for test in tests]
    return None if not limits or None in limits else min(limits)


def _span(operation, body, places: dict[str, int], test) -> int | None:
    """How often one condition ``variable < limit`` holds, or None."""
    place = places.get(test.inputs[0].name) if test.type == "Less" else None
    if place is None or not _counts_up(body, place):
        return None
    ends = [_constant(operation.inputs[places[side.name]] if side.name in places else side) for side in test.inputs]
    return None if None in ends else max(0, int(ends[1] - ends[0]))


def _constant(tensor):
    import tensorflow as tf

    # Keras takes the largest of the sequence lengths, which is one constant for all samples.
    return tf.get_static_value(tensor.op.inputs[0] if tensor.op.type == "Max" and not tensor.op.inputs[0].shape.rank else tensor)


def _counts_up(body, place: int) -> bool:
    """Whether the loop variable at ``place`` is its old value plus 1 after each pass."""
    import tensorflow as tf

    result = body.outputs[place]
    while result.op.type == "Identity":
        result = result.op.inputs[0]
    added = [tf.get_static_value(tensor) for tensor in result.op.inputs if tensor.name != body.inputs[place].name]
    return result.op.type in ("AddV2", "Add") and len(added) == 1 and added[0] == 1
