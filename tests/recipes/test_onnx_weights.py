"""Weights alone in 8 and 4 bits: what is quantized, along which axis, and what stays float."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from studylib.errors import RefusedError
from studylib.formats import onnx_versions
from studylib.models.zoo import Samples
from studylib.recipes.quantize.onnx_weights import WeightOnly4, WeightOnly8
from tests.recipes.onnx_models import answers, convolutional, operators, save, sqnr_db, types


@pytest.fixture
def content(tmp_path):
    (tmp_path / "content").mkdir()
    return tmp_path / "content"


def test_eight_bits_keep_the_arithmetic_in_float(tmp_path, content):
    source = convolutional(tmp_path / "m.onnx")
    path, notes = WeightOnly8().write(source, content, None)
    assert notes == {"weights": "3 tensors in int8"}
    assert operators(path).count("DequantizeLinear") == 3
    assert {"Conv", "Gemm"} <= set(operators(path))
    assert sqnr_db(path, source) > 35


SHAPES = {
    "Conv": (("x", "w"), (4, 3, 1, 1), {}, 0, ("batch", 3, 8, 8)),
    "ConvTranspose": (("x", "w"), (3, 4, 1, 1), {}, 1, ("batch", 3, 8, 8)),
    "MatMul": (("x", "w"), (8, 4), {}, 1, ("batch", 8)),
    "Gemm": (("x", "w"), (4, 8), {"transB": 1}, 0, ("batch", 8)),
    "LSTM": (("x", "w", "r"), (1, 16, 8), {"hidden_size": 4}, 1, (5, 1, 8)),
}


@pytest.mark.parametrize("operator", SHAPES)
def test_each_channel_has_its_own_scale(tmp_path, content, operator):
    """Channels that differ a thousandfold keep their relative precision only when each has a scale."""
    inputs, shape, attributes, axis, of_input = SHAPES[operator]
    ratio = np.logspace(0, -3, shape[axis]).reshape([-1 if one == axis else 1 for one in range(len(shape))])
    rng = np.random.default_rng(0)
    weights = {"w": (rng.uniform(0.5, 1, shape) * ratio).astype(np.float32)}
    weights |= {"r": rng.normal(size=(1, 16, 4)).astype(np.float32)} if operator == "LSTM" else {}
    source = save(tmp_path / "m.onnx", [(operator, inputs, ["y"], attributes)], weights, of_input)
    path, _ = WeightOnly8().write(source, content, None)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    scale = constants["w_scale"].reshape([-1 if one == axis else 1 for one in range(len(shape))])
    assert np.abs(constants["w_quantized"] * scale / weights["w"] - 1).max() < 0.01
    import onnxruntime

    values = {"x": np.ones([1 if size == "batch" else size for size in of_input], np.float32)}
    found, wanted = (onnxruntime.InferenceSession(str(one)).run(None, values)[0] for one in (path, source))
    np.testing.assert_allclose(found, wanted, rtol=0.02, atol=5e-4)


def test_four_bits_for_matrices_and_the_rest_is_told(tmp_path, content):
    source = convolutional(tmp_path / "m.onnx")
    pytest.importorskip("onnx_ir")
    path, notes = WeightOnly4().write(source, content, None)
    assert notes == {"weights": "1 matrices in 4 bits, blocks of 32", "float": "2 Conv"}
    assert "MatMulNBits" in operators(path)
    assert 15 < sqnr_db(path, source) < 45


def test_without_a_matrix_of_constants_four_bits_are_refused(tmp_path, content):
    pytest.importorskip("onnx_ir")
    both = save(tmp_path / "both.onnx", [("Transpose", ["x"], ["t"], {}), ("MatMul", ["x", "t"], ["y"], {})], {}, (4, 4))
    with pytest.raises(
        RefusedError, match=r"no MatMul or Gemm of both.onnx has constant weights; 4 bits are for these\. Keep this model in float"
    ):
        WeightOnly4().write(both, content, None)
    with pytest.raises(RefusedError, match=r"no operator of both.onnx has constant weights of two or more axes\. Keep this model in float"):
        WeightOnly8().write(both, content, None)
    weights = {"w": np.ones((4, 3, 1, 1), np.float32)}
    conv = save(tmp_path / "conv.onnx", [("Conv", ["x", "w"], ["y"], {})], weights)
    with pytest.raises(RefusedError, match=r"no operator of conv.onnx that integers can be used for \(MatMul, Gemm\); found 1 Conv"):
        WeightOnly4().write(conv, content, None)


def test_the_process_keeps_its_logging(tmp_path, content):
    import logging

    pytest.importorskip("onnx_ir")
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    WeightOnly4().write(convolutional(tmp_path / "m.onnx"), content, None)
    assert (root.level, list(root.handlers)) == before


def test_an_old_opset_is_raised(tmp_path, content):
    weights = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    old = save(tmp_path / "m.onnx", [("MatMul", ["x", "w"], ["y"], {})], {"w": weights}, ("batch", 8), opset=11)
    path, _ = WeightOnly8().write(old, content, None)
    assert next(entry.version for entry in onnx.load(path).opset_import if not entry.domain) >= 13
    given = np.random.default_rng(1).normal(size=(5, 8)).astype(np.float32)
    found = answers(path, Samples({"x": given}, None))
    assert np.abs(found - given @ weights).max() < 0.1


def test_an_opset_that_cannot_be_raised_is_refused(tmp_path, content, monkeypatch):
    def stopped(model, least):
        raise RefusedError("onnx's converter cannot bring opset 11 to 13: no adapter")

    monkeypatch.setattr(onnx_versions, "raised", stopped)
    old = save(tmp_path / "m.onnx", [("MatMul", ["x", "w"], ["y"], {})], {"w": np.ones((8, 4), np.float32)}, ("batch", 8), opset=11)
    with pytest.raises(RefusedError, match=r"the file has opset 11, scales for each channel need 13, and onnx.s converter could"):
        WeightOnly8().write(old, content, None)


def test_zero_channels_stay_zero(tmp_path, content):
    weights = {"w": np.zeros((4, 3, 1, 1), np.float32)}
    path, _ = WeightOnly8().write(save(tmp_path / "m.onnx", [("Conv", ["x", "w"], ["y"], {})], weights), content, None)
    assert "INT8" in types(path)
    assert all(np.isfinite(numpy_helper.to_array(one)).all() for one in onnx.load(path).graph.initializer)
