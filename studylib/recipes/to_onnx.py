"""SavedModel to ONNX: fast for large models, and nothing is called converted before ONNX Runtime has opened it.

tf2onnx' own call copies every weight for each of its passes. Here its stages are called one by one instead: large weights
are set aside while TensorFlow tidies the graph, and tf2onnx' optimizers work on one graph without copying it.
"""

import logging
import math
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from studylib.errors import RefusedError
from studylib.recipes import rewrites
from studylib.recipes.base import Recipe
from studylib.runtimes.tensorflow import serving_signature
from studylib.zoo import Samples

OPSET = 18
# Before this one, weights had to be inputs of the graph, and half of the operators were missing.
_OLDEST_OPSET = 9
# A protobuf message ends at 2 GB; the graph and what writers add must fit as well.
LIMIT_BYTES = 1_800_000_000
# Weights of fewer bytes stay where they are: TensorFlow may read shapes and axes from small constants.
_LARGE_BYTES = 65_536
# What these read of a weight is its shape alone. Convolution kernels are not here: batch normalization folds into them.
_OPAQUE = {"MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum", "Gather", "GatherV2", "ResourceGather"}
_PASSING = {"Identity", "Reshape"}


@dataclass(frozen=True)
class ToOnnx(Recipe):
    """SavedModel to ONNX with named inputs and outputs, a dynamic batch and a chosen opset. Source: tf2onnx."""

    name: ClassVar[str] = "fp32"
    target: ClassVar[str] = "onnx"
    source_format: ClassVar[str] = "saved_model"
    packages: ClassVar[tuple[str, ...]] = ("tensorflow", "tf2onnx", "onnx")
    helpers: ClassVar[tuple[str, ...]] = ("rewrites.py",)

    opset: int = OPSET

    def write(self, source: Path, folder: Path, calibration: Samples | None) -> tuple[Path, dict]:
        found = convert(source, folder, self.opset)
        notes = {"seconds": found["seconds"], "rewrites": found["rewrites"]}
        if found["optimizer"] != "lean":
            notes["optimizer"] = found["optimizer"]
        if found["external_data"]:
            notes["weights"] = "lie beside the graph, which alone would exceed what one file can hold"
        return folder / found["file"], notes


def convert(saved_model: Path, destination: Path, opset: int, limit_bytes: int = LIMIT_BYTES) -> dict:
    """Convert the serving signature of ``saved_model`` into the folder ``destination``; returns notes on how it went.

    Writes ``model.onnx``, or above ``limit_bytes`` a folder ``model`` with ``model.onnx`` and its weights beside it. Notes:
    ``file`` (which of the two), ``opset``, ``external_data``, ``rewrites`` (name: times applied), ``optimizer`` (``lean``, or
    why it was tf2onnx' own call) and ``seconds`` (stage: seconds). Raises `RefusedError` when an operator has no ONNX
    counterpart (named with its layer) and when the checker or ONNX Runtime refuses the result.
    """
    _refuse_opset(opset)
    watch = _Watch()
    with _refusals(opset) as failed:
        with watch("load"):
            traced = _trace(saved_model)
        model, how = _through_tf2onnx(traced, opset, watch)
    with watch("rewrite"):
        applied = rewrites.apply(model)
        _name_axes(model)
    _refuse_unknown(model, opset, failed)
    with watch("save"):
        path = save(model, destination, limit_bytes)
    del model, traced
    with watch("check"):
        _open(path)
    external = path.parent != destination
    return {
        "file": "model" if external else "model.onnx",
        "opset": opset,
        "external_data": external,
        "rewrites": applied,
        "optimizer": how,
        "seconds": watch.seconds,
    }


def convert_plainly(saved_model: Path, destination: Path, opset: int) -> Path:
    """What most people type, ``tf2onnx.convert.from_function`` and ``onnx.save``: the baseline of `studylib.conversion_cost`."""
    import onnx

    onnx.save(_plainly(_trace(saved_model), opset), destination / "model.onnx")
    return destination / "model.onnx"


@dataclass(frozen=True)
class _Traced:
    """The serving signature as a function of positional inputs that returns its outputs sorted by name."""

    function: object  # tf.function
    signature: list  # of tf.TensorSpec, named
    outputs: list[str]
    owner: object = field(repr=False)  # the loaded object owns the variables, so it must live as long as the function


def _trace(saved_model: Path) -> _Traced:
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
    return _Traced(tf.function(flat), signature, outputs, loaded)


def _through_tf2onnx(traced: _Traced, opset: int, watch):
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
                return _plainly(traced, opset), f"tf2onnx, after {type(error).__name__}: {error}"


def _mapped(traced: _Traced, opset: int, watch):
    """tf2onnx' graph of the function: every operator translated, nothing optimized."""
    import tensorflow as tf
    from tf2onnx import tf_loader
    from tf2onnx.tfonnx import process_tf_graph

    with watch("freeze"):
        concrete = traced.function.get_concrete_function(*traced.signature)
        inputs = [tensor.name for tensor in concrete.inputs if tensor.dtype != tf.resource]
        outputs = [tensor.name for tensor in concrete.outputs]
        frozen = tf_loader.fix_freezing_errors(tf_loader.convert_variables_to_constants_large_model(concrete))
        frozen = tf_loader.fix_freezing_errors_part2(frozen)
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


def _plainly(traced: _Traced, opset: int):
    import tf2onnx

    model, _ = tf2onnx.convert.from_function(traced.function, input_signature=traced.signature, opset=opset)
    _name_outputs(model, traced.outputs)
    return model


class _Watch:
    """``with watch("stage"):`` adds the seconds of the block to ``seconds["stage"]``."""

    def __init__(self):
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str):
        start = time.perf_counter()
        yield
        self.seconds[stage] = round(time.perf_counter() - start, 3)


class _Failures(logging.Handler):
    """What tf2onnx could not translate, as (operator, name of the node, reason); it only logs that and goes on."""

    def __init__(self):
        super().__init__(logging.ERROR)
        self.unmapped: list[tuple[str, str]] = []
        self.broken: list[tuple[str, str]] = []
        self.reason = ""

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg == "Tensorflow op [%s: %s] is not supported":
            self.unmapped.append((record.args[1], record.args[0]))
        elif str(record.msg).startswith("Failed to convert node"):
            operator = str(record.args[2]).split("\n")[0].removeprefix("OP=")
            self.broken.append((operator, record.args[0]))
            self.reason = self.reason or f"{record.exc_info[1]}"


@contextmanager
def _refusals(opset: int):
    """Collect what tf2onnx says it cannot do, instead of printing it; an exception becomes a refusal that names the layer."""
    logger, failures = logging.getLogger("tf2onnx"), _Failures()
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(failures)
    try:
        yield failures
    except RefusedError:
        raise
    except Exception as error:
        found = failures.broken + [one for one in failures.unmapped if one[0] not in rewrites.REWRITES]
        raise (_refusal(found, opset, failures.reason) if found else RefusedError(f"tf2onnx stops: {error}")) from error
    finally:
        logger.removeHandler(failures)
        logger.propagate = propagate


def _refuse_unknown(model, opset: int, failures: _Failures) -> None:
    """Raise `RefusedError` for nodes that tf2onnx gave up on and for those of the standard domain that ONNX does not have."""
    unknown = [(node.op_type, node.name) for graph in rewrites.graphs(model.graph) for node in graph.node if not _known(node, opset)]
    if failures.broken or unknown:
        raise _refusal(failures.broken + unknown, opset, failures.reason)


def _refusal(found: list[tuple[str, str]], opset: int, reason: str = "") -> RefusedError:
    (operator, node), others = found[0], sorted({operator for operator, _ in found} - {found[0][0]})
    layer = "/".join([part for part in node.split("/") if part not in ("StatefulPartitionedCall", "PartitionedCall")][:-1])
    return RefusedError(
        f"ONNX opset {opset} has no counterpart of operator {operator} of layer {layer or node}"
        + (f" ({reason})" if reason else "")
        + (f", nor of {', '.join(others)}" if others else "")
        + f". Replace the layer by one made of standard operators, use a newer opset (known to tf2onnx: up to {_newest_opset()}), "
        "or another format: saved_model runs every operator."
    )


def _known(node, opset: int) -> bool:
    """Whether ONNX has the operator at ``opset``. Other domains belong to runtimes, which decide when they open the file."""
    import onnx

    try:
        return node.domain not in ("", "ai.onnx") or not onnx.defs.get_schema(node.op_type, opset, "").deprecated
    except onnx.defs.SchemaError:
        return False


def _refuse_opset(opset: int) -> None:
    if opset not in range(_OLDEST_OPSET, _newest_opset() + 1):
        raise RefusedError(f"ONNX opset {opset} cannot be written; tf2onnx writes {_OLDEST_OPSET} to {_newest_opset()}")


def _newest_opset() -> int:
    from tf2onnx import constants

    return max(constants.OPSET_TO_IR_VERSION)


def _name_outputs(model, names: list[str]) -> None:
    """Give the graph's outputs the SavedModel's names instead of ``Identity:0``."""
    new = dict(zip([output.name for output in model.graph.output], names, strict=True))
    for node in model.graph.node:
        node.output[:] = [new.get(name, name) for name in node.output]
        node.input[:] = [new.get(name, name) for name in node.input]
    for output in model.graph.output:
        output.name = new[output.name]


def _name_axes(model) -> None:
    """Call the dynamic first axis ``batch`` and the others after their tensor; tf2onnx numbers them differently each time."""
    batched = any(_is_dynamic(axis) for value in model.graph.input for axis in value.type.tensor_type.shape.dim[:1])
    for value in (*model.graph.input, *model.graph.output):
        for index, axis in enumerate(value.type.tensor_type.shape.dim):
            if _is_dynamic(axis):
                axis.dim_param = "batch" if index == 0 and batched else f"{value.name}_axis{index}"


def _is_dynamic(axis) -> bool:
    return not axis.HasField("dim_value")


def _weight_bytes(model) -> int:
    from onnx import helper

    tensors = [tensor for graph in rewrites.graphs(model.graph) for tensor in graph.initializer]
    return sum(math.prod(tensor.dims) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize for tensor in tensors)


def save(model, folder: Path, limit_bytes: int = LIMIT_BYTES) -> Path:
    """Write ``folder/model.onnx``, or above ``limit_bytes`` the same inside a folder ``model`` with its weights beside it."""
    import onnx

    if _weight_bytes(model) <= limit_bytes:
        onnx.save(model, folder / "model.onnx")
        return folder / "model.onnx"
    path = folder / "model" / "model.onnx"
    path.parent.mkdir()
    onnx.save(model, path, save_as_external_data=True, all_tensors_to_one_file=True, location="model.onnx.data", size_threshold=1024)
    return path


def _open(path: Path) -> None:
    """Raise `RefusedError` unless the checker accepts the file and ONNX Runtime opens it. By path: a message ends at 2 GB."""
    import onnx
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    steps = {
        "The ONNX checker": lambda: onnx.checker.check_model(str(path), full_check=True),
        f"ONNX Runtime {onnxruntime.__version__}": lambda: onnxruntime.InferenceSession(
            str(path), settings, providers=["CPUExecutionProvider"]
        ),
    }
    for judge, step in steps.items():
        try:
            step()
        except Exception as error:
            advice = "Replace the layer that the operator comes from, or use another format: saved_model runs every operator."
            raise RefusedError(f"{judge} refuses the converted model: {type(error).__name__}: {error}. {advice}") from error
