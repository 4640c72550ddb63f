"""Multiply-accumulates of a TensorFlow graph, from the shapes that TensorFlow itself infers."""

from studylib.inside.counting import Count, branches, convolution, einsum, loop, matrix_product

_FORWARD = ("Conv2D", "Conv3D", "Conv")
_TRANSPOSED = ("Conv2DBackpropInput", "Conv3DBackpropInputV2")
_DEPTHWISE = "DepthwiseConv2dNative"
_PRODUCTS = {"MatMul": "transpose_a", "BatchMatMul": "adj_x", "BatchMatMulV2": "adj_x", "BatchMatMulV3": "adj_x"}
_UNKNOWN = ("CudnnRNN", "CudnnRNNV2", "CudnnRNNV3", "XlaDotV2", "XlaConvV2", "XlaCallModule")
COUNTED = (*_FORWARD, *_TRANSPOSED, _DEPTHWISE, *_PRODUCTS, "Einsum", *_UNKNOWN)


def graph_counts(graph) -> list[Count]:
    """One count for every operation of a ``tf.Graph``; loops and branches are looked into."""
    return [_count(operation, graph) for operation in graph.get_operations()]


def _count(operation, graph) -> Count:
    what, kind = f"{operation.type} '{operation.name}'", operation.type
    if kind in ("While", "StatelessWhile"):
        body = graph_counts(_function(graph, operation, "body"))
        return loop(what, body, _passes(graph, operation))
    if kind in ("If", "StatelessIf"):
        return branches(what, [graph_counts(_function(graph, operation, side, 1)) for side in ("then_branch", "else_branch")])
    if kind not in COUNTED:
        return 0
    if kind in _UNKNOWN:
        return f"how many multiply-accumulates {what} makes is not known here"
    inputs, output = [_shape(tensor) for tensor in operation.inputs], _shape(operation.outputs[0])
    if kind in _FORWARD:
        return convolution(what, output, inputs[1], inputs[1][-1] if inputs[1] else None)
    if kind in _TRANSPOSED:  # inputs: sizes, weights (space, out, in), values
        return convolution(what, inputs[2], inputs[1], inputs[1][-1] if inputs[1] else None)
    if kind == _DEPTHWISE:
        return matrix_product(what, output, inputs[1][0] * inputs[1][1] if inputs[1] else None)
    if kind == "Einsum":
        return einsum(what, operation.get_attr("equation").decode(), inputs)
    inner = -2 if operation.get_attr(_PRODUCTS[kind]) else -1
    return matrix_product(what, output, inputs[0][inner] if inputs[0] else None)


def _shape(tensor) -> tuple[int | None, ...] | None:
    return None if tensor.shape.rank is None else tuple(tensor.shape)


def _function(graph, operation, attribute: str, skipped: int = 0):
    """The graph of a loop's or branch's function, with the shapes of what the operation hands to it."""
    from tensorflow.python.framework.function_def_to_graph import function_def_to_graph

    wanted = operation.get_attr(attribute).name
    definition = next(function for function in graph.as_graph_def().library.function if function.signature.name == wanted)
    with graph.as_default():
        return function_def_to_graph(definition, [tensor.shape for tensor in operation.inputs[skipped:]])


def _passes(graph, operation) -> int | None:
    """How often a loop runs: its condition is made of ``variable < limit`` alone, each counting from a constant up by one."""
    import tensorflow as tf

    condition = _function(graph, operation, "cond")
    tests = [test for test in condition.get_operations() if test.type not in ("Placeholder", "Identity", "LogicalAnd", "Const", "NoOp")]
    if not tests or any(test.type != "Less" for test in tests):
        return None
    places = {tensor.name: index for index, tensor in enumerate(condition.inputs)}
    body = _function(graph, operation, "body")
    limits = []
    for test in tests:
        start, stop = (_constant(operation, places, tensor) for tensor in test.inputs)
        if start is None or stop is None or not _counts_up(body, places.get(test.inputs[0].name), tf):
            return None
        limits.append(max(0, int(stop - start)))
    return min(limits)


def _constant(operation, places: dict[str, int], tensor):
    """The value of a condition's operand before the loop, where it is a constant."""
    import tensorflow as tf

    outer = operation.inputs[places[tensor.name]] if tensor.name in places else tensor
    return tf.get_static_value(outer)


def _counts_up(body, place: int | None, tf) -> bool:
    """Whether the loop variable at ``place`` is its old value plus 1 after each pass."""
    if place is None:
        return False
    result = body.outputs[place]
    while result.op.type == "Identity":
        result = result.op.inputs[0]
    added = [tf.get_static_value(tensor) for tensor in result.op.inputs if tensor.name != body.inputs[place].name]
    return result.op.type in ("AddV2", "Add") and len(added) == 1 and added[0] == 1
