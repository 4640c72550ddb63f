"""Ranges of every activation of an ONNX file, one sample at a time, and the int8 files that are written from them.

Calibration and quantization are two steps, so that one calibration serves many files: other formats, other operators
left in float. Source: ``onnxruntime.quantization``, whose own calibration collects the activations of all samples at once.
"""

import contextlib
import io
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from studylib.errors import RefusedError, lookup
from studylib.models.zoo import Samples
from studylib.recipes.quantize.onnx_preparation import prepared as prepared

# Each half of a histogram spans the largest magnitude. Of entropy's, every bin is a threshold to try and 128 are the levels
# of one sign; ONNX Runtime's default of 128 bins leaves a single threshold to try, which is the largest magnitude itself.
_BINS = {"entropy": 512, "percentile": 2048}
_LEVELS = 128
# Share of the values (in %) that must lie inside the range: what NVIDIA's calibration study found safest.
_PERCENTILE = 99.99
_METHODS = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}


def ranges(model: Path, samples: Samples, method: str = "minmax", symmetric: bool = False):
    """The range of every float activation of ``model`` (a file of `prepared`) over all samples, as ``TensorsData``.

    Holds the activations of one sample at a time, whatever their number. ``minmax``: the extremes. ``entropy``: the
    threshold whose 128 levels lose least information (Kullback and Leibler). ``percentile``: what 99.99 % of the values
    lie within. The latter two run the samples a second time, to count them in bins that no later sample can widen; exact
    zeros are not counted, because every range represents zero exactly and the many that Relu makes would outvote the rest.
    ``symmetric``: zero in the middle. Raises `RefusedError` when an activation is not finite.
    """
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData

    kind = CalibrationMethod[lookup(_METHODS, "calibration method", method)]
    found = _extremes(model, samples)
    for name, (low, high) in found.items():
        if not np.isfinite([low, high]).all():
            raise RefusedError(f"calibration: the activation '{name}' lies in {low:g} to {high:g}, which is not finite; check the samples")
    counts = {name: (np.zeros(1, np.int64), np.zeros(2, np.float32)) for name in found}
    if method != "minmax":
        counts = _histograms(model, samples, found, _BINS[method])
        found = {name: _threshold(method, *counts[name], *found[name]) for name in found}
    if symmetric:
        found = {name: (-largest, largest) for name, largest in ((name, np.abs(limits).max()) for name, limits in found.items())}
    as_arrays = {name: (np.array(low, np.float32), np.array(high, np.float32)) for name, (low, high) in found.items()}
    return TensorsData(kind, {name: limits if method == "minmax" else (*limits, *counts[name]) for name, limits in as_arrays.items()})


def _extremes(model: Path, samples: Samples) -> dict[str, tuple[float, float]]:
    """Least and greatest value of every activation; the graph itself reduces them, so that no activation is copied out."""
    from onnxruntime.quantization.calibrate import MinMaxCalibrater

    with tempfile.TemporaryDirectory(prefix="calibration-") as folder:
        augmented = Path(folder) / "extremes.onnx"
        calibrater = MinMaxCalibrater(model, quantizable_operators(), str(augmented))
        calibrater.augment_graph()
        calibrater.create_inference_session()
        for index in range(len(samples)):
            # Called again and again, it widens what it has and forgets the outputs.
            calibrater.collect_data(_One(samples.batch(index, 1)))
    found = calibrater.compute_data()
    return {name: tuple(float(np.ravel(limit)[0]) for limit in found[name].range_value) for name in found}


class _One:
    """A reader of a single query, as ONNX Runtime's calibration wants to be given it."""

    def __init__(self, query: dict[str, np.ndarray]):
        self.queries = [query]

    def get_next(self) -> dict[str, np.ndarray] | None:
        return self.queries.pop() if self.queries else None


def _histograms(model: Path, samples: Samples, found: dict, bins: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """(counts, edges) of every activation, bins of one width from minus to plus its largest magnitude."""
    import onnx
    import onnxruntime

    graph = onnx.shape_inference.infer_shapes(onnx.load(model))
    outputs = {value.name for value in graph.graph.output}
    inputs = {value.name for value in graph.graph.input}
    graph.graph.output.extend(onnx.ValueInfoProto(name=name) for name in found if name not in outputs | inputs)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [name for name in found if name not in inputs]
    counts = {name: np.zeros(bins, np.int64) for name in found}
    for index in range(len(samples)):
        query = samples.batch(index, 1)
        for name, values in (query | dict(zip(names, session.run(names, query), strict=True))).items():
            if name in counts:
                counts[name] += _counted(values, max(map(abs, found[name])), bins)
    return {name: (counts[name], np.linspace(-limit, limit, bins + 1, dtype=np.float32)) for name, limit in _magnitudes(found)}


def _magnitudes(found: dict) -> list[tuple[str, float]]:
    return [(name, max(map(abs, limits))) for name, limits in found.items()]


def _counted(values: np.ndarray, largest: float, bins: int) -> np.ndarray:
    """How many values other than 0 fall into each bin. As ``np.histogram``, several times faster since all bins are alike."""
    position = (values[values != 0] + largest) * (bins / (2 * largest or 1))
    return np.bincount(np.clip(position, 0, bins - 1).astype(np.int32), minlength=bins)


def _threshold(method: str, counts: np.ndarray, edges: np.ndarray, low: float, high: float) -> tuple[float, float]:
    """The range that ``method`` chooses for one activation; never wider than its extremes, and never empty unless they are."""
    from onnxruntime.quantization.calibrate import HistogramCollector

    if not counts.any():
        return low, high
    collector = HistogramCollector(method, False, len(counts), _LEVELS, _PERCENTILE, "same")
    collector.histogram_dict["it"] = (counts, edges, np.float32(low), np.float32(high), edges[-1])
    with contextlib.redirect_stdout(io.StringIO()):
        chosen_low, chosen_high = collector.compute_collection_result()["it"][:2]
    # Of a tensor that is almost nowhere but zero the percentile cuts off all that there is.
    return (float(chosen_low), float(chosen_high)) if chosen_low < chosen_high else (low, high)


def quantizable_operators() -> list[str]:
    """The operator types that ONNX Runtime's static quantizers know, sorted."""
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    return sorted({*QDQRegistry, *QLinearOpsRegistry})


@dataclass(frozen=True)
class Scheme:
    """How numbers become integers. ``per_channel``: one scale a channel of weights instead of one a tensor.

    ``reduce_range``: weights in 7 bits, against saturation on processors without VNNI. ``symmetric``: the zero point of activations
    in the middle. Bits: 8 or 16 for activations, 4, 8 or 16 for weights.
    """

    per_channel: bool = True
    reduce_range: bool = False
    symmetric: bool = False
    unsigned_activations: bool = True
    activation_bits: int = 8
    weight_bits: int = 8


def quantize_qdq(model: Path, target: Path, ranges, scheme: Scheme = Scheme(), nodes: Sequence[str] | None = None) -> None:
    """Write ``target``: ``model`` with QuantizeLinear/DequantizeLinear pairs around what is computed in integers.

    ``ranges``: of `ranges`. ``nodes``: names of the nodes to quantize, None for all that can be, none for an empty list.
    Raises `RefusedError` for an unknown node.
    """
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    # The standard's own QuantizeLinear has these types since opset 21; before, ONNX Runtime's operator of that name has.
    contrib = {scheme.activation_bits, scheme.weight_bits} != {8} and _opset(model) < 21
    options = {"ActivationSymmetric": scheme.symmetric, "UseQDQContribOps": contrib}
    types = _quant_type(scheme.weight_bits, False), _quant_type(scheme.activation_bits, scheme.unsigned_activations)
    _quantize(QDQQuantizer, model, target, nodes, (scheme.per_channel, scheme.reduce_range, *types, _copied(ranges)), options)


def quantize_qoperator(model: Path, target: Path, ranges, scheme: Scheme = Scheme(), nodes: Sequence[str] | None = None) -> None:
    """As `quantize_qdq`, with integer operators (QLinearConv, QLinearMatMul) in the file itself; 8 bits only."""
    from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
    from onnxruntime.quantization.quant_utils import QuantizationMode

    options = {"ActivationSymmetric": scheme.symmetric}
    types = _quant_type(8, False), _quant_type(8, scheme.unsigned_activations)
    static = QuantizationMode.QLinearOps, True
    _quantize(ONNXQuantizer, model, target, nodes, (scheme.per_channel, scheme.reduce_range, *static, *types, _copied(ranges)), options)


def _opset(model: Path) -> int:
    import onnx

    return next(one.version for one in onnx.load(model, load_external_data=False).opset_import if one.domain in ("", "ai.onnx"))


def _copied(ranges):
    """The same ranges in a table of their own: the quantizer writes those of Relu, Clip and Softmax into the one it is given."""
    from onnxruntime.quantization.calibrate import TensorsData

    return TensorsData(ranges.calibration_method, dict(ranges.items()))


def _quantize(quantizer_class, model: Path, target: Path, nodes: Sequence[str] | None, configuration: tuple, options: dict) -> None:
    import onnx
    from onnxruntime.quantization.quant_utils import load_model_with_shape_infer

    known = [node.name for node in onnx.load(model, load_external_data=False).graph.node]
    unknown = sorted(set(nodes or ()) - set(known))
    if unknown:
        raise RefusedError(f"{model.name} has no node '{unknown[0]}'; its {len(known)} nodes are {', '.join(known[:5])}, …")
    # The quantizer takes an empty list for "all".
    left_out = known if nodes is not None and not nodes else []
    graph = load_model_with_shape_infer(model)
    quantizer = quantizer_class(graph, *configuration, list(nodes or ()), left_out, quantizable_operators(), options)
    quantizer.quantize_model()
    quantizer.model.save_model_to_file(str(target), False)


def _quant_type(bits: int, unsigned: bool):
    from onnxruntime.quantization import QuantType

    return QuantType[f"Q{'U' if unsigned else ''}Int{bits}"]
