from collections import Counter

import numpy as np
import onnx
import pytest

from studylib import stats
from studylib.adaptive import FORMATS
from studylib.errors import InputError, RefusedError
from tests.adaptive.small_models import CLASSES, samples, small_onnx, write_onnx

DYNAMIC, STATIC = "dynamic_wi8_afp32", "static_wi8_ai8"
SURGEON = FORMATS["onnx"]


@pytest.fixture
def small(tmp_path):
    return small_onnx(tmp_path / "small.onnx")


def answers(path, held_back) -> np.ndarray:
    run = SURGEON.open(path, 1)
    return np.concatenate([run(held_back.batch(index, 1))["scores"] for index in range(len(held_back))])


def test_layers_in_order_with_what_each_can(small):
    layers = SURGEON.layers(small)
    assert [(layer.name, layer.operator, layer.parameters) for layer in layers] == [
        ("first/Conv", "Conv", 8 * 27 + 8), ("second/Conv", "Conv", 8 * 72 + 8), ("head/Gemm", "Gemm", 8 * CLASSES + CLASSES),
    ]  # fmt: skip
    assert all(layer.precisions == ("fp32", DYNAMIC, STATIC) for layer in layers)


def test_names_do_not_follow_a_converters_counter(tmp_path):
    one = small_onnx(tmp_path / "one.onnx", "Conv__12", "net/first/Relu")
    two = small_onnx(tmp_path / "two.onnx", "Conv__340", "net/first/Relu")
    names = [layer.name for layer in SURGEON.layers(one)]
    assert names == [layer.name for layer in SURGEON.layers(two)]
    assert names[0] == "first/Relu:Conv"


def test_static_dynamic_and_float_in_one_file(small, tmp_path):
    model = SURGEON.calibrated(small, samples(8, 1), tmp_path)
    mixed = SURGEON.apply(model, {"first/Conv": STATIC, "head/Gemm": DYNAMIC, "second/Conv": "fp32"}, tmp_path / "mixed.onnx")
    graph = onnx.load(mixed).graph
    kinds = Counter(node.op_type for node in graph.node)
    assert kinds["MatMulInteger"] == 1 and kinds["ConvInteger"] == 0 and kinds["QuantizeLinear"] == 2
    stored = {tensor.name: tensor.data_type for tensor in graph.initializer}
    assert stored["w2"] == onnx.TensorProto.FLOAT and "w1" not in stored
    assert 25 < stats.sqnr_db(answers(small, samples(8, 2)), answers(mixed, samples(8, 2))) < 60


def test_a_static_gemm_stays_whole_beside_a_dynamic_layer(small, tmp_path):
    model = SURGEON.calibrated(small, samples(4, 1), tmp_path)
    mixed = SURGEON.apply(model, {"first/Conv": DYNAMIC, "head/Gemm": STATIC}, tmp_path / "mixed.onnx")
    kinds = Counter(node.op_type for node in onnx.load(mixed).graph.node)
    assert kinds["Gemm"] == 1 and kinds["MatMul"] == kinds["MatMulInteger"] == 0 and kinds["ConvInteger"] == 1


def test_one_calibration_serves_many_files_and_nothing_chosen_is_the_float_model(small, tmp_path):
    model = SURGEON.calibrated(small, samples(4, 1), tmp_path)
    plain = SURGEON.apply(model, {}, tmp_path / "plain.onnx")
    assert stats.sqnr_db(answers(small, samples(4, 2)), answers(plain, samples(4, 2))) > 100
    twice = [SURGEON.apply(model, {"first/Conv": STATIC}, tmp_path / f"{name}.onnx").read_bytes() for name in ("a", "b")]
    assert twice[0] == twice[1]


def test_times_of_every_layer(small, tmp_path):
    model = SURGEON.calibrated(small, samples(4, 1), tmp_path)
    queries = [samples(4, 1).batch(index, 1) for index in range(4)]
    for precision in ("fp32", DYNAMIC, STATIC):
        path = SURGEON.apply(model, {layer.name: precision for layer in model.layers}, tmp_path / "x.onnx")
        times = SURGEON.layer_times(model, path, queries, 1)
        assert set(times) == {"first/Conv", "second/Conv", "head/Gemm"} and all(0 < value < 1 for value in times.values())


def test_products_of_two_activations_can_only_be_static(tmp_path):
    nodes = [
        ("Transpose", ["image"], ["turned"], "net/turn", {"perm": [0, 1, 3, 2]}),
        ("MatMul", ["image", "turned"], ["scores"], "net/scores", {}),
    ]
    path = write_onnx(tmp_path / "attention.onnx", nodes, {}, ("scores", 3, 12, 12))
    (layer,) = SURGEON.layers(path)
    assert (layer.name, layer.parameters, layer.precisions) == ("scores", 0, ("fp32", STATIC))
    model = SURGEON.calibrated(path, samples(4, 1), tmp_path)
    with pytest.raises(InputError, match="cannot be dynamic_wi8_afp32"):
        SURGEON.apply(model, {"scores": DYNAMIC}, tmp_path / "x.onnx")
    mixed = SURGEON.apply(model, {"scores": STATIC}, tmp_path / "x.onnx")
    assert 25 < stats.sqnr_db(answers(path, samples(4, 2)), answers(mixed, samples(4, 2))) < 60


def test_refusals_say_why(small, tmp_path):
    nothing = write_onnx(tmp_path / "relu.onnx", [("Relu", ["image"], ["scores"], "r", {})], {}, ("scores", 3, 12, 12))
    with pytest.raises(RefusedError, match=r"relu.onnx has no operator that can be quantized \(Conv, .*LSTM in float32\)"):
        SURGEON.layers(nothing)
    with pytest.raises(RefusedError, match="calibration samples are empty; give at least one"):
        SURGEON.calibrated(small, samples(0, 1), tmp_path)
    with pytest.raises(RefusedError, match="static_wi8_ai8 needs calibration samples"):
        SURGEON.apply(small, {"first/Conv": STATIC}, tmp_path / "x.onnx")


def test_a_quantized_file_has_nothing_left_to_quantize(small, tmp_path):
    model = SURGEON.calibrated(small, samples(4, 1), tmp_path)
    done = SURGEON.apply(model, {layer.name: STATIC for layer in model.layers}, tmp_path / "done.onnx")
    with pytest.raises(RefusedError, match=r"done.onnx has no operator that can be quantized"):
        SURGEON.layers(done)
