"""SavedModel to LiteRT with built-in operators only: a dynamic batch where the converter allows one, and checked by one run.

Select-TF (Flex) operators are no way out: no Python interpreter runs them since TensorFlow 2.20.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from studylib.errors import RefusedError
from studylib.formats.litert_names import ask, ends
from studylib.formats.mixed_precision import refuse_half
from studylib.models.zoo import Samples
from studylib.recipes.base import Recipe

SIGNATURE = "serving_default"
# Tried one after the other for every dynamic axis but the batch: some networks need many values, some take only few.
_SIZES = (32, 1, 224, 1024, 16384)
_MOST_VALUES = 2**22


@dataclass(frozen=True)
class ToLiteRT(Recipe):
    """SavedModel to LiteRT (``.tflite``), the names of its signature kept. Source: ``tf.lite.TFLiteConverter``.

    Loops (LSTM, GRU, SimpleRNN) have no translation with a dynamic batch; such a model gets its batch fixed at 1, and
    the notes of the lineage say so. Raises `RefusedError` with the operator, the layer it comes from and what to do.
    """

    name: ClassVar[str] = "fp32"
    target: ClassVar[str] = "tflite"
    source_format: ClassVar[str] = "saved_model"
    packages: ClassVar[tuple[str, ...]] = ("tensorflow", "ai-edge-litert")

    def write(self, source: Path, folder: Path, calibration: Samples | None) -> tuple[Path, dict]:
        content, notes = convert(source, folder)
        path = folder / "model.tflite"
        path.write_bytes(content)
        return path, notes


def convert(source: Path, scratch: Path, configure: Callable = lambda converter: None) -> tuple[bytes, dict]:
    """The bytes of a LiteRT file that ran once, and notes about what was assumed.

    ``configure(converter)`` sets what a quantization needs. ``scratch``: folder for a copy of the model, removed again.
    """
    require_signature(source)
    refuse_half(source, "LiteRT has no operators for that", ("bfloat16", "float16"))
    try:
        content = _converted(source, configure)
        return (_without_variables(source, scratch, configure) if _holds_variables(content) else content), {}
    except RefusedError as refusal:
        if not _has_dynamic_batch(source):
            raise RefusedError(f"{refusal}. {_ADVICE}") from None
        reason = str(refusal)
    with tempfile.TemporaryDirectory(dir=scratch, prefix="fixed-") as fixed:
        fix_batch(source, Path(fixed))
        try:
            return _converted(Path(fixed), configure), {"batch": f"fixed at 1: with a dynamic batch, {reason}"}
        except RefusedError as refusal:
            raise RefusedError(f"{refusal}, also with the batch fixed at 1. {_ADVICE}") from None


_ADVICE = (
    "Keep this model as SavedModel, ONNX or OpenVINO, or replace that layer by one of built-in operators "
    "(a recurrent layer: unroll=True; a lookup: do it before the model)"
)


def _without_variables(source: Path, scratch: Path, configure: Callable) -> bytes:
    """The file made of the signature alone. Raises `RefusedError` when that still holds variables: the model keeps a state.

    `tf.saved_model.save` of a whole Keras model keeps its variables in a place where the converter does not freeze them: it writes a
    file that opens, and reads memory that nobody wrote.
    """
    with tempfile.TemporaryDirectory(dir=scratch, prefix="alone-") as alone:
        write_again(source, Path(alone))
        content = _converted(Path(alone), configure)
    if _holds_variables(content):
        raise RefusedError("the LiteRT file would hold variables that nothing fills: the model keeps a state between queries")
    return content


def _holds_variables(content: bytes) -> bool:
    from ai_edge_litert.interpreter import Interpreter

    return any(operator["op_name"] == "VAR_HANDLE" for operator in Interpreter(model_content=content)._get_ops_details())


def fix_batch(source: Path, folder: Path) -> None:
    """Write the SavedModel ``source`` into ``folder`` once more, its signature with a batch of 1."""
    write_again(source, folder, _of_one)
    _fix_loops(folder / "saved_model.pb")


def _as_it_is(tf, spec, name: str):
    return tf.TensorSpec(spec.shape, spec.dtype, name)


def write_again(source: Path, folder: Path, spec_of: Callable = _as_it_is) -> None:
    """Write the serving signature of ``source`` alone into ``folder``. ``spec_of(tf, spec, name)``: what each input shall be."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(source))
    serving = loaded.signatures[SIGNATURE]
    specs = {name: spec_of(tf, spec, name) for name, spec in serving.structured_input_signature[1].items()}
    module = tf.Module()
    module.loaded = loaded  # owns the variables
    module.serve = tf.function(lambda **inputs: serving(**inputs))
    tf.saved_model.save(module, str(folder), signatures={SIGNATURE: module.serve.get_concrete_function(**specs)})


def _of_one(tf, spec, name: str):
    shape = spec.shape if spec.shape.rank in (None, 0) else [1, *spec.shape[1:]]
    return tf.TensorSpec(shape, spec.dtype, name)


def _fix_loops(path: Path) -> None:
    """Write the batch of 1 into the shapes of the tensor lists that loops collect their steps in.

    Keras traced the loop with an unknown batch and left it there as the constant -1, which no shape inference replaces.
    """
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for function in (function for graph in model.meta_graphs for function in graph.graph_def.library.function):
        constants = {node.name: node for node in function.node_def if node.op == "Const"}
        lists = [node for node in function.node_def if node.op.startswith("TensorList")]
        for name in {value.split(":")[0] for node in lists for value in node.input} & set(constants):
            tensor = constants[name].attr["value"].tensor
            shape = tf.make_ndarray(tensor).copy()
            if "element_shape" in name and shape.ndim == 1 and len(shape) and shape[0] == -1:
                shape[0] = 1
                tensor.CopyFrom(tf.make_tensor_proto(shape))
    path.write_bytes(model.SerializeToString())


def require_signature(source: Path) -> None:
    """Raise `RefusedError` when nothing in the SavedModel can be served. Reads the graph only, no weights."""
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel.FromString((source / "saved_model.pb").read_bytes())
    known = sorted({name for graph in model.meta_graphs for name in graph.signature_def} - {"__saved_model_init_op"})
    if SIGNATURE not in known:
        raise RefusedError(f"{source.name} has no signature {SIGNATURE}, only {known}; export the model with model.export(folder)")


def _has_dynamic_batch(source: Path) -> bool:
    import tensorflow as tf

    signature = tf.saved_model.load(str(source)).signatures[SIGNATURE].structured_input_signature[1]
    return any(spec.shape.rank and spec.shape[0] is None for spec in signature.values())


def _converted(source: Path, configure: Callable) -> bytes:
    import tensorflow as tf
    from tensorflow.lite.python.convert_phase import ConverterError

    try:
        converter = tf.lite.TFLiteConverter.from_saved_model(str(source), signature_keys=[SIGNATURE])
        configure(converter)
        content = converter.convert()
    except ConverterError as error:
        raise RefusedError(_converter_reason(error)) from None
    require_a_run(content)
    return content


def _converter_reason(error) -> str:
    """Which operators have no translation, and from which layers they come. Source: the converter's structured errors."""
    found = {}
    for data in error.errors:
        # The converter's own passes also report places that are nobody's operator.
        if data.operator.name.startswith("tf.") and data.location.call:
            nodes = [call.name.split("@")[0] for call in data.location.call]
            # From the operator outwards, function by function; the first that stands inside a layer names it.
            found.setdefault(data.operator.name.removeprefix("tf."), next((node for node in nodes if node.count("/") > 1), nodes[0]))
    if not found:
        return "the LiteRT converter refused the model: " + " ".join(str(error).split())[:300]
    named = ", ".join(f"{operator} ({_place(node)})" for operator, node in sorted(found.items()))
    return f"LiteRT has no built-in operator for {named}"


def _place(node: str) -> str:
    """``functional/lookup/table/Find`` to the layer ``lookup``: Keras names nodes model/layer/operation."""
    scopes = [scope for scope in node.split("/") if not scope.startswith("StatefulPartitionedCall")]
    return f"layer {scopes[1]}, node {node}" if len(scopes) > 2 else f"node {node}"


def require_a_run(content: bytes) -> None:
    """Run the file on ones. Raises `RefusedError` when it does not open, or runs with none of the sizes tried."""
    from ai_edge_litert.interpreter import Interpreter

    reason = ""
    for size in _SIZES:
        try:
            interpreter = Interpreter(model_content=content)
            inputs = {name: _ones(details, size) for name, details in ends(interpreter)[0].items()}
            if size != _SIZES[0] and sum(values.size for values in inputs.values()) > _MOST_VALUES:
                break
            ask(interpreter, inputs)
            return
        except (RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:300]
    raise RefusedError(f"the LiteRT file was written and does not run: {reason}")


def _ones(details: dict, size: int) -> np.ndarray:
    """An input of the declared shape, a batch of 1, other dynamic axes ``size`` long. Integers are 0, which every table has."""
    shape = [1 if axis == 0 and length < 0 else size if length < 0 else length for axis, length in enumerate(details["shape_signature"])]
    dtype = np.dtype(details["dtype"])
    if dtype.kind in "SOU":
        return np.full(shape, b"", object)
    return np.ones(shape, dtype) if dtype.kind == "f" else np.zeros(shape, dtype)
