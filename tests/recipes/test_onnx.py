"""Every post-training recipe for ONNX: what its file holds, that it runs, and how near it stays."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from studylib.models.zoo import Samples
from studylib.recipes.quantize.onnx import DynamicRange, Float16, Static
from tests.recipes.onnx_models import answers, convolutional, operators, samples, save, sqnr_db, types


@pytest.fixture
def source(tmp_path):
    return convolutional(tmp_path / "source.onnx")


@pytest.fixture
def made(source, tmp_path):
    def make(recipe):
        folder = tmp_path / recipe.name / "content"
        folder.mkdir(parents=True)
        path, _ = recipe.write(source, folder, samples() if recipe.learns_from else None)
        # Nothing but the file stays behind.
        assert [one.name for one in folder.parent.rglob("*.*")] == ["model.onnx"]
        return path

    return make


VARIANTS = {
    "static_wi8_ai8": (Static(), 25),
    "static_wi8_ai8_qoperator": (Static(qoperator=True), 25),
    "static_wi8_ai8_reduce_range": (Static(reduce_range=True), 22),
    "static_wi8_ai8_symmetric": (Static(symmetric=True), 22),
    "static_wi8_ai8_entropy": (Static(method="entropy"), 15),
    "static_wi8_ai8_percentile": (Static(method="percentile"), 20),
    "static_wi8_ai16": (Static(activation_bits=16), 30),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_says_what_it_is_and_stays_near(made, source, name):
    recipe, least = VARIANTS[name]
    assert recipe.name == name
    assert sqnr_db(made(recipe), source) > least


def test_several_differences_are_all_in_the_name():
    assert Static(per_channel=False, reduce_range=True, method="entropy").name == "static_wi8_ai8_per_tensor_reduce_range_entropy"


def test_variants_differ_where_they_say(made):
    paths = {name: made(recipe) for name, (recipe, _) in VARIANTS.items()}
    assert {"QuantizeLinear", "DequantizeLinear", "Conv"} <= set(operators(paths["static_wi8_ai8"]))
    assert {"QLinearConv", "QGemm"} <= set(operators(paths["static_wi8_ai8_qoperator"]))
    assert "UINT8" in types(paths["static_wi8_ai8"])
    assert "UINT8" not in types(paths["static_wi8_ai8_symmetric"])
    assert "UINT16" in types(paths["static_wi8_ai16"])

    def weights(name: str) -> np.ndarray:
        return next(numpy_helper.to_array(one) for one in onnx.load(paths[name]).graph.initializer if one.name == "w0_quantized")

    assert np.abs(weights("static_wi8_ai8").astype(int)).max() == 127
    assert np.abs(weights("static_wi8_ai8_reduce_range").astype(int)).max() <= 64


def test_one_scale_a_tensor_loses_what_one_channel_outweighs(tmp_path):
    """One weight of one channel is a hundred times the others, and what it multiplies is small: only its scale is harmed."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(8, 64)).astype(np.float32)
    weights[0, 0] = 100
    values = rng.normal(size=(64, 8)).astype(np.float32) * np.float32([0.01, *[1] * 7])
    source = save(tmp_path / "m.onnx", [("MatMul", ["x", "w"], ["y"], {})], {"w": weights}, ("batch", 8))
    wanted, lost = values @ weights, {}
    for recipe in (Static(), Static(per_channel=False)):
        folder = tmp_path / recipe.name / "content"
        folder.mkdir(parents=True)
        path, _ = recipe.write(source, folder, Samples({"x": values}, None))
        lost[recipe.name] = np.mean((answers(path, Samples({"x": values}, None)) - wanted) ** 2)
    assert lost["static_wi8_ai8_per_tensor"] > 10 * lost["static_wi8_ai8"]


def test_dynamic_quantization_scales_convolutions_per_channel_too(made, source, tmp_path):
    """ONNX Runtime's own gives a ConvInteger one scale, whatever ``per_channel`` says."""
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(source, tmp_path / "theirs.onnx", per_channel=True)
    theirs, ours = sqnr_db(tmp_path / "theirs.onnx", source), sqnr_db(made(DynamicRange()), source)
    assert theirs < 20 < 30 < ours


def test_dynamic_quantization_per_tensor_is_left_as_it_is(source, tmp_path):
    (tmp_path / "content").mkdir()
    path, notes = DynamicRange(per_channel=False).write(source, tmp_path / "content", None)
    assert notes == {}
    assert operators(path).count("ConvInteger") == 2
    _, notes = DynamicRange().write(source, tmp_path / "content", None)
    assert notes == {"per channel": "2 ConvInteger, which the quantizer scales per tensor"}


def test_float16(made, source):
    path = made(Float16())
    assert "FLOAT16" in types(path)
    assert sqnr_db(path, source) > 50
