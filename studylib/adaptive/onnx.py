"""Mixed precision in ONNX files: quantize/dequantize pairs around some nodes, dynamic operators in place of others.

Source: the quantizers of ``onnxruntime.quantization``, each told which nodes are its own.
"""

import shutil
import tempfile
from pathlib import Path

from studylib.adaptive.layers import DYNAMIC, STATIC, Calibrated, Layer, Run, Surgeon, carried, check_assignment, check_samples
from studylib.adaptive.onnx_graph import ACTIVATIONS, OnnxGraph
from studylib.adaptive.onnx_times import layer_times
from studylib.errors import RefusedError
from studylib.models.zoo import Samples
from studylib.recipes.quantize import onnx_bias, onnx_calibration
from studylib.runtimes.onnxruntime import EXACT_SUMS

_CARRIERS = frozenset(
    ("Add", "AveragePool", "Clip", "Concat", "Flatten", "GlobalAveragePool", "LeakyRelu", "MaxPool", "Mul", "Pad", "Relu", "Reshape",
     "Resize", "Sigmoid", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze")
)  # fmt: skip


class OnnxSurgeon(Surgeon):
    """``.onnx`` files. Layers are those of the prepared file, in which operators are fused already."""

    format = "onnx"
    packages = ("onnxruntime",)

    def layers(self, path: Path) -> list[Layer]:
        with tempfile.TemporaryDirectory(prefix="layers-") as folder:
            return OnnxGraph.read(onnx_calibration.prepared(Path(path), Path(folder)), Path(path).name).layers

    def calibrated(self, path: Path, samples: Samples, folder: Path) -> Calibrated:
        check_samples(samples, "calibration")
        prepared = onnx_calibration.prepared(Path(path), folder)
        layers = tuple(OnnxGraph.read(prepared, Path(path).name).layers)
        ranges, means = onnx_calibration.ranges(prepared, samples), onnx_bias.input_means(prepared, samples)
        return Calibrated(self.format, prepared, layers, ranges, means)

    def apply(self, model: Calibrated | Path, assignment: dict[str, str], target: Path) -> Path:
        if not isinstance(model, Calibrated):
            with tempfile.TemporaryDirectory(prefix="applying-") as folder:
                prepared = onnx_calibration.prepared(Path(model), Path(folder))
                layers = tuple(OnnxGraph.read(prepared, Path(model).name).layers)
                return self.apply(Calibrated(self.format, prepared, layers), assignment, target)
        check_assignment(assignment, model.layers)
        graph = OnnxGraph.read(model.path)
        nodes = {precision: {graph.nodes[name] for name, own in assignment.items() if own == precision} for precision in (STATIC, DYNAMIC)}
        if nodes[STATIC] and model.ranges is None:
            raise RefusedError(f"{model.path.name}: {STATIC} needs calibration samples; calibrate the model first")
        with tempfile.TemporaryDirectory(dir=Path(target).parent, prefix="mixing-") as folder:
            path = model.path
            if nodes[DYNAMIC]:
                _quantize_dynamic(path, nodes[DYNAMIC], Path(folder) / "dynamic.onnx")
                path = Path(folder) / "dynamic.onnx"
            if nodes[STATIC]:
                between = carried(graph.operators, nodes[STATIC], _CARRIERS, ACTIVATIONS)
                onnx_calibration.quantize_qdq(path, Path(folder) / "static.onnx", model.ranges, nodes=sorted(nodes[STATIC] | between))
                path = Path(folder) / "static.onnx"
                onnx_bias.correct(model.path, path, model.means)
            shutil.copyfile(path, target)
        return Path(target)

    def open(self, path: Path, threads: int) -> Run:
        session = opened(path, threads)
        names = [output.name for output in session.get_outputs()]
        return lambda inputs: dict(zip(names, session.run(names, inputs), strict=True))

    def layer_times(self, model: Calibrated, path: Path, queries: list[dict], threads: int) -> dict[str, float] | None:
        graph = OnnxGraph.read(model.path)
        with tempfile.TemporaryDirectory(prefix="profile-") as folder:
            session = opened(path, threads, str(Path(folder) / "profile"))
            return layer_times(session, queries, {layer.name: graph.traces(layer.name) for layer in model.layers})


def opened(path: Path, threads: int, profile: str | None = None):
    """A session on the CPU whose idle threads stop at once: several sessions share the processor here."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.add_session_config_entry(*EXACT_SUMS)  # as the study times what is found
    if profile:
        options.enable_profiling, options.profile_file_prefix = True, profile
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _quantize_dynamic(path: Path, nodes: set[str], target: Path) -> None:
    """As ``quantize_dynamic``, and no other node is touched.

    That function splits every Gemm into a product and a sum, also those that are to be static; here only the chosen are.
    """
    import onnx
    from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
    from onnxruntime.quantization.quant_utils import QuantizationMode, QuantType, load_model_with_shape_infer

    model = load_model_with_shape_infer(path)
    for node in [node for node in model.graph.node if node.op_type == "Gemm" and node.name in nodes]:
        _split(model.graph, node)
    model = onnx.shape_inference.infer_shapes(model)
    options = {"MatMulConstBOnly": True}
    types = QuantType.QInt8, QuantType.QUInt8
    # Said to be static while it is built, which spares the Gemms; it quantizes dynamically all the same.
    quantizer = ONNXQuantizer(
        model, True, False, QuantizationMode.IntegerOps, True, *types, None, list(nodes), [], ["Conv", "MatMul", "LSTM"], options
    )
    quantizer.static = False
    quantizer.quantize_model()
    quantizer.model.save_model_to_file(str(target), False)


def _split(graph, node) -> None:
    """A Gemm as MatMul (with its name) and Add, its weights the right way round."""
    import numpy as np
    import onnx

    weights = next(tensor for tensor in graph.initializer if tensor.name == node.input[1])
    turned = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    values = onnx.numpy_helper.to_array(weights)
    name = f"{node.name}:weights"
    graph.initializer.append(onnx.numpy_helper.from_array(np.ascontiguousarray(values.T if turned else values), name))
    biased = len(node.input) > 2 and bool(node.input[2])
    product = f"{node.name}:product" if biased else node.output[0]
    split = [onnx.helper.make_node("MatMul", [node.input[0], name], [product], node.name)]
    if biased:
        split.append(onnx.helper.make_node("Add", [product, node.input[2]], list(node.output), f"{node.name}:bias"))
    place = next(index for index, other in enumerate(graph.node) if other.name == node.name)
    nodes = [*graph.node[:place], *split, *graph.node[place + 1 :]]
    del graph.node[:]
    graph.node.extend(nodes)
