"""What a file computes in, and the grids of its ends, read from real files of both formats."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from studylib.formats.inside.grids import grids
from studylib.formats.inside.precision import precision
from tests import litert_models


@pytest.mark.parametrize(
    ("make", "wanted"),
    [
        (litert_models.signed, "float32"),
        (litert_models.unsigned, "float32"),
        (lambda: litert_models.quantized("uint8"), "int8"),
        (lambda: litert_models.quantized("float32"), "int8"),
        (lambda: litert_models.stored_in("float16"), "float16"),
        (lambda: litert_models.stored_in("dynamic"), "int8 dynamic"),
    ],
)
def test_a_litert_file_says_what_it_is(tmp_path, make, wanted):
    assert precision(litert_models.saved(make(), tmp_path, "m"), "tflite") == wanted


@pytest.mark.parametrize(
    ("recipe", "wanted"),
    [
        ("fp16", "float16"),
        ("dynamic_wi8_afp32", "int8 dynamic"),
        ("weight_only_wi8_afp32", "int8 weights"),
        ("weight_only_wi4_afp32", "int4 weights"),
        ("static_wi8_ai8", "int8"),
        ("static_wi8_ai8_qoperator", "int8"),
        ("static_wi8_ai16", "int16"),
    ],
)
def test_an_onnx_file_says_what_it_is(tmp_path, recipe, wanted):
    from studylib.recipes import RECIPES
    from tests.recipes import onnx_models

    source = onnx_models.convolutional(tmp_path / "m.onnx")
    assert precision(source, "onnx") == "float32"
    samples = onnx_models.samples()
    written = RECIPES[recipe]["onnx"][0].write(source, tmp_path, samples)
    path = written[0] if isinstance(written, tuple) else written
    assert precision(path, "onnx") == wanted


def test_ends_of_litert_lie_on_the_files_own_grids(tmp_path):
    found = grids(litert_models.saved(litert_models.quantized("uint8"), tmp_path, "whole"), "tflite")
    image, output = found["inputs"]["image"], found["outputs"]["output_0"]
    assert image.dtype == output.dtype == "uint8" and image.stored and output.stored
    real = grids(litert_models.saved(litert_models.quantized("float32"), tmp_path, "real"), "tflite")
    assert real["outputs"]["output_0"].scale == output.scale and not real["outputs"]["output_0"].stored
    assert grids(litert_models.saved(litert_models.signed(), tmp_path, "float"), "tflite") == {"inputs": {}, "outputs": {}}


def test_ends_of_onnx_lie_on_the_files_own_grids(tmp_path):
    constants = {"s": np.float32(0.25), "z": np.uint8(7)}
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["real"]),
        helper.make_node("Relu", ["real"], ["positive"]),
        helper.make_node("QuantizeLinear", ["positive", "s", "z"], ["whole"]),
        helper.make_node("DequantizeLinear", ["whole", "s", "z"], ["back"]),
    ]
    ends = {name: helper.make_tensor_value_info(name, kind, [1, 4]) for name, kind in
            (("x", TensorProto.UINT8), ("whole", TensorProto.UINT8), ("back", TensorProto.FLOAT))}  # fmt: skip
    weights = [numpy_helper.from_array(np.array(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", [ends["x"]], [ends["whole"], ends["back"]], weights)
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    found = grids(path, "onnx")
    assert found["inputs"]["x"].stored and found["outputs"]["whole"].stored and not found["outputs"]["back"].stored
    assert {(grid.scale, grid.zero_point) for side in found.values() for grid in side.values()} == {(0.25, 7)}
    whole, back = onnxruntime.InferenceSession(path).run(None, {"x": np.array([[0, 7, 9, 255]], np.uint8)})
    assert np.array_equal(found["outputs"]["whole"].real(whole), back)
