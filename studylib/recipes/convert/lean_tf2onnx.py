"""The stages of tf2onnx one by one, so that a large model costs what its weights weigh.

tf2onnx' own call copies every weight for each of its passes, and TensorFlow's graph optimizer does so again. Here large
weights are set aside while TensorFlow tidies the graph, and tf2onnx' optimizers work on one graph without copying it.
"""

import logging
from dataclasses import dataclass, field
from pathlib import Path

from studylib.errors import RefusedError
from studylib.runtimes.tensorflow import serving_signature

# Weights of fewer bytes stay where they are: TensorFlow may read shapes and axes from small constants.
_LARGE_BYTES = 65_536
# What these read of a weight is its shape alone. Convolution kernels are not here: batch normalization folds into them.
_OPAQUE = {"MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum", "Gather", "GatherV2", "ResourceGather"}
_PASSING = {"Identity", "Reshape"}


@dataclass(frozen=True)
class Traced:
    """The serving signature as a function of positional inputs that returns its outputs sorted by name."""

    function: object  # tf.function
    signature: list  # of tf.TensorSpec, named
    outputs: list[str]
    owner: object = field(repr=False)  # the loaded object owns the variables, so it must live as long as the function


def trace(saved_model: Path) -> Traced:
    """The serving signature of a SavedModel. Raises `RefusedError` when it has none or when names collide."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(saved_model))
    serving = serving_signature(loaded)
    signature = [tf.TensorSpec(s.shape, s.dtype, name) for name, s in serving.structured_input_signature[1].items()]
    outputs = sorted(serving.structured_outputs)

    def flat(*inputs):
        found = serving(**{spec.name: value for spec, value in zip(signature, inputs, strict=True)})
        # Two outputs may be one tensor, or an input: each gets a name of its own.
        return [tf.identity(found[name]) for name in outputs]

    shared = sorted({spec.name for spec in signature} & set(outputs))
    if shared:
        raise RefusedError(f"'{shared[0]}' names an input and an output, which ONNX forbids; export the model with another output name")
    return Traced(tf.function(flat), signature, outputs, loaded)


def converted(traced: Traced, opset: int, watch):
    """(ONNX model, how it was optimized). An optimizer that fails on this graph leaves it to tf2onnx' own careful call."""
    import tensorflow as tf
    from tf2onnx import optimizer

    with tf.device("/cpu:0"):
        graph = _mapped(traced, opset, watch)
        with watch("optimize"):
            try:
                graph = optimizer.optimize_graph(graph, catch_errors=False, optimizers=_lean_optimizers())
                return graph.make_model("converted by studylib"), "lean"
            except Exception as error:
                logging.getLogger(__name__).warning("tf2onnx' optimizers failed; converting again, slowly: %s", error)
                return plainly(traced, opset), f"tf2onnx, after {type(error).__name__}: {error}"


def _mapped(traced: Traced, opset: int, watch):
    """tf2onnx' graph of the function: every operator translated, nothing optimized."""
    import tensorflow as tf
    from tf2onnx import tf_loader
    from tf2onnx.tfonnx import process_tf_graph

    with watch("freeze"):
        concrete = traced.function.get_concrete_function(*traced.signature)
        # What the function captured comes after its own inputs; freezing makes constants of it.
        inputs = [tensor.name for tensor in concrete.inputs[: len(traced.signature)]]
        outputs = [tensor.name for tensor in concrete.outputs]
        frozen = tf_loader.fix_freezing_errors(tf_loader.convert_variables_to_constants_large_model(concrete))
        frozen = tf_loader.fix_freezing_errors_part2(frozen)
        _allow_inlining(frozen)
        weights = _set_aside(frozen)
    with watch("tidy"), tf.Graph().as_default():
        tf.import_graph_def(frozen, name="")
        frozen = tf_loader.tf_optimize(inputs, outputs, frozen)
        contents = _put_back(frozen, weights)
    with watch("map"), tf.Graph().as_default() as graph:
        tf.import_graph_def(frozen, name="")
        return process_tf_graph(
            graph,
            continue_on_error=True,
            opset=opset,
            input_names=inputs,
            output_names=outputs,
            const_node_values=contents,
            tensors_to_rename=dict(zip(inputs + outputs, [spec.name for spec in traced.signature] + traced.outputs, strict=True)),
        )


def _allow_inlining(graph) -> None:
    """Let TensorFlow inline functions marked for XLA, as Keras marks grouped convolutions; tf2onnx cannot look inside a call."""
    functions = graph.library.function
    for item in (*graph.node, *functions, *(node for function in functions for node in function.node_def)):
        if item.attr.pop("_XlaMustCompile", None):
            item.attr.pop("_noinline", None)


def _set_aside(graph) -> dict:
    """Make placeholders of the large weights that only `_OPAQUE` operators read; returns the nodes they were, by name."""
    from tensorflow.core.framework.node_def_pb2 import NodeDef

    # tf2onnx looks weights up by name alone, in function bodies too.
    taken = {node.name for function in graph.library.function for node in function.node_def}
    readers = {}
    for node in graph.node:
        for source in node.input:
            # "^name" only orders the two nodes; "name:1" is the second output.
            if not source.startswith("^"):
                readers.setdefault(source.split(":")[0], []).append(node)

    def opaque(name: str) -> bool:
        return all(node.op in _OPAQUE or (node.op in _PASSING and opaque(node.name)) for node in readers.get(name, []))

    weights = {}
    for node in graph.node:
        if node.op != "Const" or node.name in taken or len(node.attr["value"].tensor.tensor_content) < _LARGE_BYTES:
            continue
        if opaque(node.name):
            weights[node.name] = NodeDef.FromString(node.SerializeToString())
            tensor = weights[node.name].attr["value"].tensor
            node.op = "Placeholder"
            del node.attr["value"]
            node.attr["dtype"].type = tensor.dtype
            node.attr["shape"].shape.CopyFrom(tensor.tensor_shape)
    return weights


def _put_back(graph, weights: dict) -> dict[str, bytes]:
    """Make constants of the placeholders again, without content; returns the contents by name, as tf2onnx takes them.

    TensorFlow reads a constant without content as zeros, so only tf2onnx may work on the graph from here on.
    """
    contents = {}
    for node in graph.node:
        if node.name in weights:
            node.CopyFrom(weights.pop(node.name))
            contents[node.name] = node.attr["value"].tensor.tensor_content
            node.attr["value"].tensor.tensor_content = b""
    return contents


def _lean_optimizers() -> dict:
    """tf2onnx' optimizers without the copy of every weight that each of them writes into its graph afterwards."""
    from tf2onnx import optimizer

    class Lean:
        def optimize(self, graph, iteration):
            self.opt_iteration = iteration
            graph = self._optimize(graph)
            graph.delete_unused_nodes(graph.outputs)
            return graph

    return {name: type(name, (Lean, one), {}) for name, one in optimizer._get_optimizers().items()}


def plainly(traced: Traced, opset: int):
    """The ONNX model as ``tf2onnx.convert.from_function`` makes it, with the outputs' names."""
    import tf2onnx

    model, _ = tf2onnx.convert.from_function(traced.function, input_signature=traced.signature, opset=opset)
    _name_outputs(model, traced.outputs)
    return model


def _name_outputs(model, names: list[str]) -> None:
    """Give the graph's outputs the SavedModel's names instead of ``Identity:0``."""
    new = dict(zip([output.name for output in model.graph.output], names, strict=True))
    for node in model.graph.node:
        node.output[:] = [new.get(name, name) for name in node.output]
        node.input[:] = [new.get(name, name) for name in node.input]
    for output in model.graph.output:
        output.name = new[output.name]
