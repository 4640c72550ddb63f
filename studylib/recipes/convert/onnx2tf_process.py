"""ONNX to a SavedModel by onnx2tf: run by path, with the interpreter of onnx2tf's own environment, which has no studylib.

    python onnx2tf_process.py source.onnx destination answer.json '{"input.1": "input_1"}'

The last is each input's name as a signature of TensorFlow can have it. ``answer.json`` holds ``notes``, or ``refused`` with the
reason. onnx2tf turns tensors from channels first to channels last by rules of thumb; so the result is held against ONNX Runtime
on random inputs, and the next setting is tried where it differs.
"""

import contextlib
import importlib.metadata
import io
import itertools
import json
import os
import re
import shutil
import socket
import sys
import tempfile
from pathlib import Path

import numpy as np

# Behind the packages, whose names some modules beside it have.
sys.path.append(str(Path(__file__).parent))
from onnx2tf_reference import ADVICE, BATCH, Reference, Refusal, line_of, listed, same

# onnx2tf fetches pictures of this name, from a fixed address, when it does not find them where it runs.
PICTURES = "calibration_image_sample_data_20x128x128x3_float32.npy"
# Operators that say which axis holds the channels.
SPATIAL = ("Conv", "Pool", "Normalization", "Resize", "Upsample", "PRelu", "DepthToSpace", "SpaceToDepth")


def main(source, destination, answer, names):
    """Write the SavedModel into ``destination`` and the answer into ``answer``, both paths."""
    socket.socket.connect = _no_network
    try:
        found = {"notes": convert(Path(source), Path(destination), json.loads(names))}
    except Refusal as refusal:
        found = {"refused": str(refusal)}
    Path(answer).write_text(json.dumps(found), encoding="utf-8")


def _no_network(self, address):
    raise OSError(f"a conversion needs no network, and {address} was asked for")


def convert(source, destination, names):
    """Notes for the lineage of what was written into the folder ``destination``. ``names``: of inputs, there. Raises `Refusal`."""
    import onnx

    model = onnx.load(source)
    say("reading")
    reference = Reference(source)
    layouts, why, noted = _layouts(model, reference), [], importlib.metadata.version
    with tempfile.TemporaryDirectory(dir=destination.parent) as scratch:
        os.chdir(scratch)
        np.save(PICTURES, np.random.default_rng(0).random((20, 128, 128, 3), np.float32))
        # An open batch hides from onnx2tf the shapes that many networks compute as they run.
        for fixed, layout in itertools.product((False, True) if reference.dynamic else (False,), layouts):
            say(f"translating, inputs {layout}{', batch 1' if fixed else ''}")
            try:
                keras_model = _translated(
                    _plainly_named(model, reference, Path(scratch), fixed), Path(scratch), layout, len(reference.inputs)
                )
                orders, batch = _compared(keras_model, reference, fixed)
            except Refusal as refusal:
                why.append(str(refusal))
                continue
            say("writing")
            _save(keras_model, reference, [names[name] for name in reference.inputs], orders, fixed or batch, destination)
            notes = {"translated by": f"onnx2tf {noted('onnx2tf')} with TensorFlow {noted('tensorflow')}", "layout": f"inputs {layout}"}
            renamed = {name: new for name, new in names.items() if name != new}
            reason = f"with a dynamic batch, {why[0]}" if fixed else batch
            return notes | ({"batch": f"fixed at 1: {reason}"} if reason else {}) | ({"inputs": renamed} if renamed else {})
    raise Refusal(f"{why[0]}. {ADVICE}")


def say(stage):
    """A line that the study shows as progress."""
    print(json.dumps({"stage": f"onnx2tf: {stage}"}), flush=True)


def _plainly_named(model, reference, folder, fixed):
    """The model with inputs ``input_0`` … and outputs ``output_0`` …, in a file of its own, as onnx2tf works in place and on names.

    ``fixed``: with a batch of 1.
    """
    import onnx
    from onnx import helper

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph, nodes = copy.graph, []
    kept = {value.name: value for value in graph.input if value.name in reference.inputs}
    del graph.input[:]
    for place, name in enumerate(reference.inputs):
        new = onnx.ValueInfoProto()
        new.CopyFrom(kept[name])
        new.name = f"input_{place}"
        if fixed and reference.inputs[name][:1] == [None]:
            new.type.tensor_type.shape.dim[0].dim_value = 1
        graph.input.append(new)
        nodes.append(helper.make_node("Identity", [new.name], [name], f"take_{place}"))
    nodes += graph.node
    if fixed:
        del graph.value_info[:]
    for place, value in enumerate(graph.output):
        nodes.append(helper.make_node("Identity", [value.name], [f"output_{place}"], f"give_{place}"))
        value.name = f"output_{place}"
        if fixed:
            value.type.tensor_type.ClearField("shape")
    del graph.node[:]
    graph.node.extend(nodes)
    read = {name for part in _graphs(graph) for node in part.node for name in node.input} | {value.name for value in graph.output}
    weights = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(weights)
    named = folder / "named.onnx"
    onnx.save(copy, named)
    return _folded(named, folder / "plain.onnx")


def _graphs(graph):
    """The graph and every body inside it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graphs(attribute.g)


def _folded(named, plain):
    """The same with everything computed that depends on no input, and with the shapes of what lies between."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # The level whose results are ONNX operators again. Others join them to operators of ONNX Runtime's own.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(plain)
    onnxruntime.InferenceSession(str(named), options, providers=["CPUExecutionProvider"])
    return plain


CHANNELS_FIRST, AS_IT_IS = "channels first", "as it is"


def _layouts(model, reference):
    """How inputs may be meant, the likelier first."""
    if not any(len(shape) in (3, 4, 5) for shape in reference.inputs.values()):
        return [AS_IT_IS]
    spatial = any(part in node.op_type for node in model.graph.node for part in SPATIAL if node.op_type != "LayerNormalization")
    return [CHANNELS_FIRST, AS_IT_IS] if spatial else [AS_IT_IS, CHANNELS_FIRST]


def _translated(plain, scratch, layout, count):
    """The model in tf_keras. Raises `Refusal` with the operator and the node that onnx2tf stopped at."""
    work = scratch / "work.onnx"
    shutil.copy(plain, work)
    for beside in plain.parent.glob("*.data"):
        shutil.copy(beside, work.with_name(beside.name))
    inputs = [f"input_{place}" for place in range(count)]
    keep = "keep_ncw_or_nchw_or_ncdhw_input_names" if layout == CHANNELS_FIRST else "keep_shape_absolutely_input_names"
    heard = io.StringIO()
    try:
        with contextlib.redirect_stdout(heard), contextlib.redirect_stderr(heard):
            import onnx2tf

            return onnx2tf.convert(
                input_onnx_file_path=str(work),
                output_folder_path=str(scratch / "out"),
                not_use_onnxsim=True,  # has no wheel for every Python, and is not needed
                disable_model_save=True,
                verbosity="error",
                **{keep: inputs},
            )
    except SystemExit:
        raise Refusal(_stopped(work, heard.getvalue(), None)) from None
    except Exception as error:
        raise Refusal(_stopped(work, heard.getvalue(), error)) from None


def _stopped(work, heard, error):
    """One line of what onnx2tf said: the operator it does not know, or where it stopped and why."""
    import onnx

    heard = re.sub(r"\x1b\[[0-9;]*m", "", heard)
    unknown = re.search(r"(\w+) OP is not yet implemented", heard)
    node = getattr(error, "onnx_op_name", None) or next(iter(re.findall(r"onnx_op_name: *(\S+)", heard)[-1:]), None)
    if node is None and not unknown:
        return f"onnx2tf stopped: {line_of(error) if error else 'it did not say why'}"
    nodes = {one.name: one for one in onnx.load(work, load_external_data=False).graph.node}
    found = nodes.get(node) or nodes.get(re.sub("^wa/", "/", node or ""))
    operator = unknown[1] if unknown else found.op_type if found else "an operator"
    place = f"{operator} (node {found.name if found else node})" if found or node else operator
    if unknown:
        return f"onnx2tf does not know the operator {place}"
    return f"onnx2tf stopped at {place}: {line_of(error) if error else _last(heard)}"


def _last(heard):
    lines = [line.strip() for line in heard.splitlines() if line.strip() and "http" not in line and "onnx_op_name" not in line]
    return (lines or ["it did not say why"])[-1][:200]


def _compared(keras_model, reference, fixed):
    """(for each output the transposition that it needs, why the batch must be 1 or ""). Raises `Refusal` when none is the same."""
    transposed = same(keras_model, reference, 1)
    if fixed or not reference.dynamic:
        return transposed, ""
    try:
        return same(keras_model, reference, BATCH), ""
    except Refusal as refusal:
        return transposed, f"with {BATCH} samples {refusal}"


def _save(keras_model, reference, names, orders, batch, destination):
    """Write the SavedModel: the ONNX file's axes at both ends, whatever lies between. ``names``: of the inputs in turn."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    def serve(*inputs):
        answers = listed(keras_model(list(inputs) if len(inputs) > 1 else inputs[0]))
        turned = [made if list(order) == sorted(order) else tf.transpose(made, order) for made, order in zip(answers, orders, strict=True)]
        return [tf.identity(made) for made in turned]

    specs = [
        tf.TensorSpec([1 if batch and axis == 0 and size is None else size for axis, size in enumerate(shape)], tf.as_dtype(dtype), name)
        for shape, dtype, name in zip(reference.inputs.values(), reference.types.values(), names, strict=True)
    ]
    # onnx2tf makes layers inside of functions, whose variables nothing owns: a file that refers to them could not be written.
    frozen = convert_variables_to_constants_v2(tf.function(serve, input_signature=specs).get_concrete_function(), lower_control_flow=False)
    module = tf.Module()
    module.serve = tf.function(lambda *inputs: dict(zip(reference.outputs, listed(frozen(*inputs)), strict=True)), input_signature=specs)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            tf.saved_model.save(module, str(destination), signatures={"serving_default": module.serve.get_concrete_function()})
    except (ValueError, tf.errors.OpError) as error:
        raise Refusal(f"TensorFlow cannot write what onnx2tf made: {line_of(error)}. {ADVICE}") from None


if __name__ == "__main__":
    main(*sys.argv[1:])
