"""Answers computed by the frameworks themselves, one query after the other, without any code of studylib."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

Answer = Callable[[dict[str, np.ndarray]], list[np.ndarray]]


def source(path: Path, kind: str) -> Answer:
    """The model as it came: Keras called directly, ONNX by its own reference in Python, LiteRT by its reference kernels."""
    if kind == "onnx":
        return _reference_onnx(path)
    if kind == "litert":
        return litert(path, raw=True, reference=True)
    return saved_model(path) if path.is_dir() else _keras(path)


def artifact(path: Path, format: str, raw: bool = False) -> Answer:
    """A file that the study made. ``raw``: whole numbers of a LiteRT file as they are stored, to be held against a source's own."""
    if format == "tflite":
        return litert(path, raw)
    return {"onnx": onnx, "openvino": openvino, "saved_model": saved_model}[format](path)


def _keras(path: Path) -> Answer:
    import json
    import zipfile

    if path.suffix == ".keras":
        version = json.loads(zipfile.ZipFile(path).read("metadata.json"))["keras_version"]
    else:
        import h5py

        version = h5py.File(path).attrs["keras_version"]
    if version.startswith("3"):
        import keras as library
    else:
        import tf_keras as library
    model = library.models.load_model(path, compile=False)

    def answer(inputs: dict) -> list[np.ndarray]:
        names = [tensor.name.split(":")[0] for tensor in model.inputs]
        given = [inputs[name] for name in names] if set(names) == set(inputs) else list(inputs.values())
        found = model(given if len(given) > 1 else given[0], training=False)
        found = list(found.values()) if isinstance(found, dict) else found if isinstance(found, list | tuple) else [found]
        return [np.asarray(values) for values in found]

    return answer


def _reference_onnx(path: Path) -> Answer:
    import onnx as package
    from onnx.reference import ReferenceEvaluator

    model = package.load(path)
    kinds = {node.domain for node in model.graph.node}
    # The reference computes BatchNormalization of old opsets otherwise than their standard says, and lacks DequantizeLinear of them.
    if kinds - {"", "ai.onnx"} or min(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")) < 15:
        return onnx(path)
    try:
        evaluator = ReferenceEvaluator(model)
    except (RuntimeError, NotImplementedError):
        return onnx(path)
    weights = {tensor.name for tensor in model.graph.initializer}

    def answer(inputs: dict) -> list[np.ndarray]:
        try:
            return [np.asarray(values) for values in evaluator.run(None, {n: v for n, v in inputs.items() if n not in weights})]
        except (RuntimeError, TypeError, NotImplementedError):  # operators that the reference cannot run
            return onnx(path)(inputs)

    return answer


def onnx(path: Path) -> Answer:
    """ONNX Runtime with every optimization off."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    options.add_session_config_entry("session.x64quantprecision", "1")  # no sum of int8 products saturates
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda inputs: session.run(None, inputs)


def litert(path: Path, raw: bool = False, reference: bool = False) -> Answer:
    """LiteRT's interpreter; ``raw``: whole numbers stay as they are; ``reference``: its plain kernels."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kind = OpResolverType.BUILTIN_REF if reference else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES

    def opened():
        return Interpreter(model_path=str(path), experimental_op_resolver_type=kind, num_threads=1)

    # A runner of a signature keeps its interpreter from being resized, so names are asked of another one.
    try:
        asked = opened()
    except ValueError:
        if not reference:
            raise
        return litert(path, raw)  # the plain kernels lack some operators
    names = {tensor["name"]: tensor["name"] for tensor in asked.get_input_details()}
    if asked.get_signature_list():
        runner = asked.get_signature_runner(next(iter(asked.get_signature_list())))
        names = {name: tensor["name"] for name, tensor in runner.get_input_details().items()}

    def answer(inputs: dict) -> list[np.ndarray]:
        interpreter = opened()
        details = {tensor["name"]: tensor for tensor in interpreter.get_input_details()}
        chosen = {name: details[names[name]] if name in names else _named(name, details) for name in inputs}
        for name, values in inputs.items():
            interpreter.resize_tensor_input(chosen[name]["index"], values.shape)
        interpreter.allocate_tensors()
        for name, values in inputs.items():
            interpreter.set_tensor(chosen[name]["index"], _quantized(values, chosen[name]))
        interpreter.invoke()
        found = [(interpreter.get_tensor(tensor["index"]), tensor) for tensor in interpreter.get_output_details()]
        return [values if raw else _real(values, tensor) for values, tensor in found]

    return answer


def _named(name: str, details: dict) -> dict:
    """The tensor that a name without its graph's additions stands for, as ``given_0`` for ``serving_default_given_0:0``."""
    (found,) = [tensor for full, tensor in details.items() if name in full]
    return found


def _quantized(values: np.ndarray, tensor: dict) -> np.ndarray:
    scale, zero = tensor["quantization"]
    if not scale or values.dtype == tensor["dtype"]:
        return values.astype(tensor["dtype"])
    limits = np.iinfo(tensor["dtype"])
    return np.clip(np.round(values / scale + zero), limits.min, limits.max).astype(tensor["dtype"])


def _real(values: np.ndarray, tensor: dict) -> np.ndarray:
    scale, zero = tensor["quantization"]
    return np.float32(scale) * (values.astype(np.float32) - zero) if scale else values


def openvino(path: Path) -> Answer:
    import sys

    sys.modules.setdefault("openvino_telemetry", None)
    import openvino as package

    compiled = package.Core().compile_model(path / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda inputs: [np.array(values) for values in compiled(inputs).values()]


def saved_model(path: Path) -> Answer:
    import tensorflow as tf

    model = tf.saved_model.load(str(path))
    signature = model.signatures["serving_default"]
    names = sorted(signature.structured_outputs)

    def answer(inputs: dict) -> list[np.ndarray]:
        found = signature(**{name: tf.constant(values) for name, values in inputs.items()})
        return [found[name].numpy() for name in names]

    answer.model = model  # kept alive: its variables belong to it
    return answer


def sqnr_db(reference: list[np.ndarray], found: list[np.ndarray]) -> float:
    """The worst over outputs, which are matched by shape and nearness: files name and order them as they like. In dB."""
    left, worst = [np.asarray(values, np.float64) for values in found], np.inf
    for wanted in reference:
        wanted = np.asarray(wanted, np.float64)
        same = [index for index, values in enumerate(left) if values.size == wanted.size and values.shape == wanted.shape]
        if not same:
            return -np.inf
        ratios = {index: _db(wanted, left[index]) for index in same}
        best = max(ratios, key=ratios.get)
        worst = min(worst, ratios[best])
        left.pop(best)
    return worst


def _db(wanted: np.ndarray, found: np.ndarray) -> float:
    if not np.isfinite(found).all():
        return -np.inf
    noise, signal = float(np.sum((wanted - found) ** 2)), float(np.sum(wanted**2))
    return np.inf if noise == 0 else -np.inf if signal == 0 else 10 * np.log10(signal / noise)
