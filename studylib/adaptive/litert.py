"""Mixed precision in LiteRT files. Source: ``ai-edge-quantizer``, one recipe an operator, chosen by its output tensors.

docs/decisions/0012 tells why it is not the TensorFlow converter here.
"""

import contextlib
import copy
import io
import re
import shutil
import warnings
from pathlib import Path

import numpy as np

from studylib.adaptive.layers import (
    DYNAMIC,
    FLOAT,
    STATIC,
    Calibrated,
    Layer,
    Operator,
    Run,
    Surgeon,
    carried,
    check_assignment,
    check_samples,
)
from studylib.errors import RefusedError
from studylib.formats.litert_names import ask
from studylib.models.zoo import Samples
from studylib.runtimes import RUNTIMES, Options

_LAYERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D_TRANSPOSE", "FULLY_CONNECTED", "BATCH_MATMUL")
# XNNPACK has kernels for these with weights in int8 and activations in float; a dynamic depthwise convolution leaves it.
_DYNAMIC = ("CONV_2D", "FULLY_CONNECTED")
# The TensorFlow converter's own limit: smaller weights save nothing and cost a conversion.
_DYNAMIC_WEIGHTS = 1024
_CARRIERS = frozenset(
    ("ADD", "AVERAGE_POOL_2D", "CONCATENATION", "HARD_SWISH", "LOGISTIC", "MAXIMUM", "MAX_POOL_2D", "MEAN", "MUL", "PACK", "PAD", "PADV2",
     "RELU", "RESHAPE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "SLICE", "SPACE_TO_DEPTH", "SPLIT", "STRIDED_SLICE", "SUB", "SUM",
     "TANH", "TRANSPOSE", "UNPACK")
)  # fmt: skip
# What TensorFlow calls the operation inside a layer's scope, of the many names that a fused operator carries.
_KERNELS = ("convolution", "depthwise", "conv2d_transpose", "MatMul", "matmul", "einsum")
_LARGEST = 3e38


class LiteRTSurgeon(Surgeon):
    """``.tflite`` files; layers inside loops can only be dynamic, since no range is known in there."""

    format = "tflite"
    packages = ("ai-edge-quantizer", "ai-edge-litert")

    def layers(self, path: Path) -> list[Layer]:
        return [layer for layer, _ in _read(path)[0].values()]

    def calibrated(self, path: Path, samples: Samples, folder: Path) -> Calibrated:
        check_samples(samples, "calibration")
        return Calibrated(self.format, Path(path), tuple(self.layers(path)), _ranges(path, samples))

    def apply(self, model: Calibrated | Path, assignment: dict[str, str], target: Path) -> Path:
        path, ranges = (model.path, model.ranges) if isinstance(model, Calibrated) else (Path(model), None)
        found, operators = _read(path)
        check_assignment(assignment, [layer for layer, _ in found.values()])
        chosen = {name: precision for name, precision in assignment.items() if precision != FLOAT}
        if STATIC in chosen.values() and ranges is None:
            raise RefusedError(f"{path.name}: {STATIC} needs calibration samples; calibrate the model first")
        if not chosen:
            return Path(shutil.copyfile(path, target))
        scopes = {scope: chosen[layer.name] for scope, (layer, _) in found.items() if layer.name in chosen}
        static = {scope for scope, precision in scopes.items() if precision == STATIC}
        scopes |= dict.fromkeys(carried(operators, static, _CARRIERS), STATIC)
        target.write_bytes(_quantized(path, scopes, {operator.name: operator.kind for operator in operators}, ranges))
        return target

    def work(self, model: Calibrated) -> dict[str, float]:
        return {layer.name: max(1.0, work) for layer, work in _read(model.path)[0].values()}

    def open(self, path: Path, threads: int) -> Run:
        return RUNTIMES["litert"].open(path, Options(threads=threads)).run


def _read(path: Path) -> tuple[dict[str, tuple[Layer, float]], list[Operator]]:
    """Layers by the scope that ai-edge-quantizer matches, and all operators of the main graph, named by their scopes."""
    from ai_edge_quantizer.utils import tfl_flatbuffer_utils as flatbuffer

    model = flatbuffer.read_model(str(path))
    found: dict[str, tuple[Layer, float]] = {}
    operators, taken = [], set()
    for index, graph in enumerate(model.subgraphs):
        for operator in graph.operators:
            kind = flatbuffer.TFL_OP_CODE_TO_NAME.get(model.operatorCodes[operator.opcodeIndex].builtinCode)
            kind = str(getattr(kind, "value", kind))
            scope = flatbuffer.get_op_scope(operator, graph.tensors)
            reads = [graph.tensors[place] for place in operator.inputs if place >= 0]
            constant = [_held(model, tensor) for tensor in reads]
            if index == 0:
                inputs = tuple(_text(tensor) for tensor, held in zip(reads, constant, strict=True) if not held)
                operators.append(Operator(scope, kind, inputs, tuple(_text(graph.tensors[place]) for place in operator.outputs)))
            if kind in _LAYERS and scope not in found and _is_float(graph, operator):
                layer = _layer(_unique(_short([*scope.split(";"), _text(reads[1])]), taken), kind, reads, constant, inner=index > 0)
                found[scope] = (layer, _work(graph, operator, kind))
    found = {scope: entry for scope, entry in found.items() if len(entry[0].precisions) > 1}
    if not found:
        raise RefusedError(f"{Path(path).name} has no operator that can be quantized ({', '.join(_LAYERS)} in float32)")
    return found, operators


def _held(model, tensor) -> bool:
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


def _is_float(graph, operator) -> bool:
    return all(graph.tensors[place].type == 0 for place in (*operator.inputs[:2], *operator.outputs) if place >= 0)


def _layer(name: str, kind: str, reads: list, constant: list[bool], inner: bool) -> Layer:
    parameters = sum(int(np.prod(tensor.shape)) for tensor, held in zip(reads, constant, strict=True) if held)
    weights = int(np.prod(reads[1].shape)) if constant[1] else 0
    dynamic = (DYNAMIC,) if kind in _DYNAMIC and weights >= _DYNAMIC_WEIGHTS else ()
    return Layer(name, kind, parameters, (FLOAT, *dynamic, *(() if inner else (STATIC,))))


def _work(graph, operator, kind: str) -> float:
    """Multiply-accumulates of one sample, unknown sizes taken as one."""
    outputs, weights = ([max(1, size) for size in graph.tensors[place].shape] for place in (operator.outputs[0], operator.inputs[1]))
    channels = weights[-1] if kind == "DEPTHWISE_CONV_2D" else weights[0]
    return float(np.prod(outputs) * np.prod(weights) / channels)


def _text(tensor) -> str:
    return tensor.name.decode() if isinstance(tensor.name, bytes) else str(tensor.name)


def _short(names: list[str]) -> str:
    """Of all names that a fused operator and its weights carry (``model/relu/Relu6``, …), the kernel's own: ``conv/convolution``."""
    known = [re.sub(r"\d+$", "", name) if name.rsplit("/", 1)[-1].rstrip("0123456789") in _KERNELS else name for name in names if name]
    kernels = [name for name in known if name.rsplit("/", 1)[-1] in _KERNELS]
    chosen = (kernels or sorted((name for name in known if "/" in name), key=len) or known)[0]
    parts = chosen.split("/")
    return "/".join(parts[1:]) if len(parts) > 2 else chosen


def _unique(name: str, taken: set[str]) -> str:
    count = 1
    while (candidate := name if count == 1 else f"{name}#{count}") in taken:
        count += 1
    taken.add(candidate)
    return candidate


def _ranges(path: Path, samples: Samples) -> dict[str, dict[str, np.ndarray]]:
    """Least and greatest value of each activation of the main graph, one sample at a time.

    The quantizer's own calibration is a moving average, which cuts off what few samples show, and stops at loops.
    Raises `RefusedError` when one holds NaN.
    """
    from ai_edge_litert.interpreter import Interpreter

    with warnings.catch_warnings():
        # That keeping every tensor is for debugging: it is what calibration needs.
        warnings.simplefilter("ignore", UserWarning)
        interpreter = Interpreter(model_path=str(path), experimental_preserve_all_tensors=True)
    # Of a range given for weights the quantizer would make one scale for all channels.
    weights = _constants(path)
    found: dict[str, dict[str, np.ndarray]] = {}
    for index in range(len(samples)):
        ask(interpreter, samples.batch(index, 1))
        for tensor in interpreter.get_tensor_details():
            if tensor["dtype"] == np.float32 and tensor["name"] not in weights and np.all(tensor["shape"]):
                _widen(found, tensor["name"], interpreter, tensor["index"])
    return found


def _constants(path: Path) -> set[str]:
    from ai_edge_quantizer.utils import tfl_flatbuffer_utils as flatbuffer

    model = flatbuffer.read_model(str(path))
    return {""} | {_text(tensor) for graph in model.subgraphs for tensor in graph.tensors if _held(model, tensor)}


def _widen(found: dict, name: str, interpreter, index: int) -> None:
    try:
        values = interpreter.get_tensor(index)
    except ValueError:  # a tensor that lies inside a kernel and nowhere else
        return
    if np.isnan(values).any():
        raise RefusedError(f"calibration: the activation '{name}' holds NaN; check the samples")
    # What masks write for minus infinity is no range that anything could be scaled to.
    inside = np.abs(values) < _LARGEST
    low = np.min(values, keepdims=True, where=inside, initial=np.inf)
    high = np.max(values, keepdims=True, where=inside, initial=-np.inf)
    if inside.any():
        before = found.get(name, {"min": low, "max": high})
        found[name] = {"min": np.minimum(before["min"], low), "max": np.maximum(before["max"], high)}


def _quantized(path: Path, scopes: dict[str, str], kinds: dict[str, str], ranges: dict | None) -> bytes:
    from ai_edge_quantizer import qtyping, quantizer

    work = quantizer.Quantizer(str(path))
    for scope, precision in scopes.items():
        # Layers in loops are not among the operators of the main graph, and their scopes are their own.
        kind = qtyping.TFLOperationName(kinds[scope]) if scope in kinds else qtyping.TFLOperationName.ALL_SUPPORTED
        exactly = f"^{re.escape(scope)}$"
        if precision == STATIC:
            work.add_static_config(exactly, kind, 8, 8)
        else:
            work.add_dynamic_config(exactly, kind, 8)
    calibration = copy.deepcopy(ranges) if work.need_calibration else None
    # It draws a bar whatever it is told. A bias over weights of nearly nothing overflows: such a channel hardly counts.
    with contextlib.redirect_stderr(io.StringIO()), np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return bytes(work.quantize(calibration, enable_progress_bar=False, enable_progress_report=False).quantized_model)
