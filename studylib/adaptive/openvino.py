"""Mixed precision in OpenVINO's files: NNCF quantizes everything once, and what is to stay float gets back what it read before.

Source: ``nncf``, whose own ``ignored_scope`` would calibrate anew for every assignment, a quarter of a minute for a network of real size.
"""

import math
import shutil
from collections.abc import Iterator
from pathlib import Path

from studylib.adaptive.layers import FLOAT, STATIC, Calibrated, Layer, Operator, Run, Surgeon, carried, check_assignment, check_samples
from studylib.errors import RefusedError
from studylib.models.zoo import Samples
from studylib.recipes.convert.to_openvino import openvino_without_telemetry
from studylib.recipes.quantize.openvino import PRODUCTS, quantized
from studylib.runtimes import RUNTIMES, Options

_CARRIERS = frozenset(
    ("Add", "AvgPool", "Clamp", "Concat", "LeakyRelu", "MaxPool", "Multiply", "Pad", "PRelu", "ReduceMean", "Relu", "Reshape", "Sigmoid",
     "Split", "Squeeze", "StridedSlice", "Swish", "Transpose", "Unsqueeze", "VariadicSplit")
)  # fmt: skip
_QUANTIZER = "FakeQuantize"
# What lies between stored weights and the operator that reads them.
_UNPACKING = ("Convert", "Multiply", "Subtract", "Reshape", "Transpose", "FakeQuantize")
_RUNS, _ENOUGH = 3, 0.8


class OpenVINOSurgeon(Surgeon):
    """Folders with ``model.xml``. Layers are products and convolutions, called by their kind and place: converters number the rest."""

    format = "openvino"
    packages = ("openvino", "nncf")

    def layers(self, path: Path) -> list[Layer]:
        return list(_layers(_read(path), Path(path).name).values())

    def calibrated(self, path: Path, samples: Samples, folder: Path) -> Calibrated:
        check_samples(samples, "calibration")
        layers = tuple(self.layers(path))
        openvino_without_telemetry().save_model(quantized(_read(path), samples), folder / "model.xml", compress_to_fp16=False)
        return Calibrated(self.format, Path(path), layers, ranges=folder)

    def apply(self, model: Calibrated | Path, assignment: dict[str, str], target: Path) -> Path:
        path, everything = (model.path, model.ranges) if isinstance(model, Calibrated) else (Path(model), None)
        plain = _read(path)
        names = _layers(plain, path.name)
        check_assignment(assignment, list(names.values()))
        static = {name for name, layer in names.items() if assignment.get(layer.name, FLOAT) == STATIC}
        if not static:
            return Path(shutil.copytree(path, target, dirs_exist_ok=True))
        if everything is None:
            raise RefusedError(f"{path.name}: {STATIC} needs calibration samples; calibrate the model first")
        mixed = _read(everything)
        _restore(mixed, plain, static)
        target.mkdir(exist_ok=True)
        openvino_without_telemetry().save_model(mixed, target / "model.xml", compress_to_fp16=False)
        return target

    def open(self, path: Path, threads: int) -> Run:
        return RUNTIMES["openvino"].open(path, Options(threads=threads)).run

    def layer_times(self, model: Calibrated, path: Path, queries: list[dict], threads: int) -> dict[str, float] | None:
        """By the plugin's own counters, which know of which operators each of its steps was made."""
        openvino = openvino_without_telemetry()
        told = {"PERF_COUNT": True, "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
        compiled = openvino.Core().compile_model(path / "model.xml", "CPU", told)
        request = compiled.create_infer_request()
        for _ in range(_RUNS):
            for query in queries:
                request.infer(query)
        names = {name: layer.name for name, layer in _layers(_read(model.path), model.path.name).items()}
        found: dict[str, float] = {}
        for step in compiled.get_runtime_model().get_ordered_ops():
            facts = {name: str(value.value) for name, value in step.get_rt_info().items() if name in ("originalLayersNames", "execTimeMcs")}
            made_of = [name for name in facts.get("originalLayersNames", "").split(",") if name in names]
            if made_of and facts.get("execTimeMcs", "").isdecimal():
                found[names[made_of[0]]] = found.get(names[made_of[0]], 0.0) + int(facts["execTimeMcs"]) / 1e6
        return found if len(found) >= _ENOUGH * len(names) else None


def _read(folder: Path):
    return openvino_without_telemetry().Core().read_model(Path(folder) / "model.xml")


def _layers(model, file: str) -> dict[str, Layer]:
    """Layers by the names that the file has for them. Raises `RefusedError` where there are none."""
    found = {}
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        if kind in PRODUCTS:
            parameters = sum(_size(source) for source in map(_source, node.inputs()) if _is_held(source))
            found[node.get_friendly_name()] = Layer(f"{kind} {len(found) + 1}", kind, parameters, (FLOAT, STATIC))
    if not found:
        raise RefusedError(f"{file} has no operator that can be quantized ({', '.join(PRODUCTS)})")
    return found


def _restore(mixed, plain, static: set[str]) -> None:
    """Give every operator of the quantized model ``mixed`` that shall not compute in integers what it reads in the model ``plain``.

    Integers stay: in ``static`` layers with their biases, in what lies between them, and on the way from a quantizer to one of them.
    """
    before = {node.get_friendly_name(): node for node in plain.get_ordered_ops()}
    operators = [_operator(node) for node in before.values() if not _is_held(node) and node.get_type_name() not in ("Parameter", "Result")]
    whole = static | carried(operators, static, _CARRIERS)
    biased = {operator.name for operator in operators if _producers(before[operator.name]) & static}
    nodes = [node for node in mixed.get_ordered_ops() if node.get_friendly_name() in before and not _is_held(node)]
    led = {name for node in nodes if node.get_friendly_name() in static for name in _way(node)}
    for node in nodes:
        name = node.get_friendly_name()
        for place, reads in enumerate(node.inputs()):
            source = _source(reads)
            if source.get_type_name() == _QUANTIZER and not _is_held(source):
                if name not in whole | led:
                    reads.replace_source_output(source.input_value(0))
            elif _is_held(source) and name not in whole | biased:
                reads.replace_source_output(before[name].input_value(place))
    mixed.validate_nodes_and_infer_types()


def _way(node) -> Iterator[str]:
    """The operators between ``node`` and the quantizer of what it reads first, where they only pass that on."""
    passed = []
    source = _source(node.input(0))
    while source.get_type_name() in _CARRIERS and not _is_held(source):
        passed.append(source.get_friendly_name())
        if len([other for other in map(_source, source.inputs()) if not _is_held(other)]) != 1:
            return
        source = _source(source.input(0))
    if source.get_type_name() == _QUANTIZER:
        yield from passed


def _operator(node) -> Operator:
    reads = tuple(source.get_friendly_name() for source in map(_source, node.inputs()) if not _is_held(source))
    return Operator(node.get_friendly_name(), node.get_type_name(), reads, (node.get_friendly_name(),))


def _producers(node) -> set[str]:
    return {source.get_friendly_name() for source in map(_source, node.inputs()) if not _is_held(source)}


def _source(reads):
    return reads.get_source_output().get_node()


def _is_held(node) -> bool:
    """Whether it gives what the file holds: a constant, or one that is unpacked."""
    if node.get_type_name() == "Constant":
        return True
    return node.get_type_name() in _UNPACKING and all(_is_held(_source(reads)) for reads in node.inputs())


def _size(node) -> int:
    shape = node.output(0).get_partial_shape()
    return math.prod(shape.to_shape()) if shape.is_static else 0
