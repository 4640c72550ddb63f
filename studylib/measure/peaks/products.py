"""Matrix products of every library that is here: candidates for the arithmetic peak of the host.

No library is the fastest everywhere: which kernels one has for this processor (AVX-512 VNNI, AMX, dot products of ARM) is found by
trying. Each candidate multiplies two square matrices; the right one is a constant, as weights are.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# Large enough for all threads, small enough to stay in the caches.
SIZES = (512, 1024)
_RANGES = {"uint8": (0, 32), "int8": (-31, 32)}


@dataclass(frozen=True)
class Product:
    """A product that is ready to run. ``answer()`` is what it computed; ``left`` and ``right`` are what it multiplies."""

    run: Callable[[], object]
    answer: Callable[[], np.ndarray]
    left: np.ndarray
    right: np.ndarray

    @property
    def operations(self) -> int:
        """Two for each multiply-accumulate."""
        return 2 * self.left.shape[0] * self.left.shape[1] * self.right.shape[1]


def numpy_float32(size: int, threads: int) -> Product:
    """The BLAS that numpy was built with; its threads are set in the environment of the process."""
    left, right = _floats(size)
    answer = np.empty((size, size), np.float32)
    return Product(lambda: np.matmul(left, right, out=answer), lambda: answer, left, right)


def onnxruntime_float32(size: int, threads: int) -> Product:
    left, right = _floats(size)
    return _onnxruntime("MatMul", left, right, "FLOAT", threads)


def openvino_float32(size: int, threads: int) -> Product:
    op = _openvino_package().opset13

    left, right = _floats(size)
    parameter = op.parameter(left.shape, np.float32)
    return _openvino(op.matmul(parameter, op.constant(right), False, False), parameter, left, right, threads)


def openvino_int8(size: int, threads: int) -> Product:
    """Unsigned activations and signed weights, as its own quantizer writes them: what it computes in integers is its decision."""
    op = _openvino_package().opset13

    left, right = _integers("uint8", size), _integers("int8", size)
    parameter = op.parameter(left.shape, np.uint8)
    low, high = op.constant(np.float32(0)), op.constant(np.float32(255))
    activations = op.fake_quantize(op.convert(parameter, np.float32), low, high, low, high, 256)
    weights = op.multiply(op.convert(op.constant(right), np.float32), op.constant(np.float32(1)))
    return _openvino(op.matmul(activations, weights, False, False), parameter, left, right, threads)


def matmul_integer(left_type: str, right_type: str) -> Callable[[int, int], Product]:
    """ONNX Runtime's MatMulInteger: sums in int32. Which of the signs is fast differs between processors."""

    def product(size: int, threads: int) -> Product:
        return _onnxruntime("MatMulInteger", _integers(left_type, size), _integers(right_type, size), "INT32", threads)

    return product


def qlinear_matmul(size: int, threads: int) -> Product:
    """ONNX Runtime's QLinearMatMul: the sums are scaled back to uint8, here by 1/256."""
    scale, zero, signed = np.float32(1), np.uint8(0), np.int8(0)
    settings = {"as": scale, "az": zero, "bs": scale, "bz": signed, "ys": np.float32(256), "yz": zero}
    left, right = _integers("uint8", size), _integers("int8", size)
    return _onnxruntime("QLinearMatMul", left, right, "UINT8", threads, ("a", "as", "az", "b", "bs", "bz", "ys", "yz"), settings)


FLOAT32 = {"numpy matmul": numpy_float32, "onnxruntime MatMul": onnxruntime_float32, "openvino MatMul": openvino_float32}
INT8 = {
    "onnxruntime MatMulInteger u8 x s8": matmul_integer("uint8", "int8"),
    "onnxruntime MatMulInteger u8 x u8": matmul_integer("uint8", "uint8"),
    "onnxruntime MatMulInteger s8 x s8": matmul_integer("int8", "int8"),
    "onnxruntime QLinearMatMul u8 x s8": qlinear_matmul,
    "openvino MatMul u8 x s8": openvino_int8,
}


def _floats(size: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return tuple(rng.standard_normal((size, size)).astype(np.float32) for _ in range(2))


def _integers(kind: str, size: int) -> np.ndarray:
    """Small values: sums of pairs then fit 16 bits, which is what processors without VNNI add them up in."""
    return np.random.default_rng(0).integers(*_RANGES[kind], (size, size)).astype(kind)


def _onnxruntime(kind: str, left, right, result: str, threads: int, inputs=("a", "b"), settings: dict | None = None) -> Product:
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in ({"b": right} | (settings or {})).items()]
    graph = helper.make_graph(
        [helper.make_node(kind, inputs, ["y"])],
        "product",
        [helper.make_tensor_value_info("a", helper.np_dtype_to_tensor_dtype(left.dtype), left.shape)],
        [helper.make_tensor_value_info("y", getattr(TensorProto, result), [left.shape[0], right.shape[1]])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    binding.bind_cpu_input("a", left)
    binding.bind_output("y")
    return Product(lambda: session.run_with_iobinding(binding), lambda: binding.copy_outputs_to_cpu()[0], left, right)


def _openvino(result, parameter, left: np.ndarray, right: np.ndarray, threads: int) -> Product:
    openvino = _openvino_package()
    settings = {"INFERENCE_NUM_THREADS": str(threads), "NUM_STREAMS": "1", "INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.Core().compile_model(openvino.Model([result], [parameter], "product"), "CPU", settings).create_infer_request()
    request.set_input_tensor(openvino.Tensor(left, shared_memory=True))
    return Product(request.infer, lambda: request.get_output_tensor().data, left, right)


def _openvino_package():
    """The package without its telemetry, which reports even its import over the network."""
    sys.modules.setdefault("openvino_telemetry", None)
    import openvino
    import openvino.opset13

    return openvino
