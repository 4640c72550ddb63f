"""Bias correction of quantized ONNX files: means of outputs come back, and what must not be touched is not."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from studylib.recipes.quantize import onnx_bias
from studylib.recipes.quantize.onnx import Static
from studylib.recipes.quantize.onnx_calibration import Scheme, quantize_qdq, quantize_qoperator, ranges
from studylib.recipes.quantize.onnx_preparation import prepared
from tests.recipes.onnx_models import answers, samples, save


@pytest.fixture(params=[quantize_qdq, quantize_qoperator])
def files(request, tmp_path):
    """Function: a float file as it was prepared, and the same with coarsely rounded weights, in both forms."""

    def make(path):
        (tmp_path / "scratch").mkdir(exist_ok=True)
        model = prepared(path, tmp_path / "scratch")
        request.param(model, tmp_path / "int8.onnx", ranges(model, samples(60)), Scheme(per_channel=False))
        return model, tmp_path / "int8.onnx"

    return make


def shift(float_file, int8_file) -> float:
    """How far the means of the outputs lie from the float ones, against their spread."""
    given = samples(200, seed=3)
    wanted, found = answers(float_file, given), answers(int8_file, given)
    return float(np.abs((found - wanted).mean(0)).mean() / wanted.std())


def test_means_of_inputs_are_those_of_the_samples(tmp_path):
    (tmp_path / "scratch").mkdir()
    model = prepared(positive(tmp_path / "m.onnx"), tmp_path / "scratch")
    given = samples(20)
    found = onnx_bias.input_means(model, given)
    assert np.allclose(found["r"], given.inputs["x"].clip(0).mean((0, 2, 3)), atol=1e-5)
    assert len(found) == 2
    assert {values.ndim for values in found.values()} == {1}


def positive(path, **more):
    """A convolution whose inputs are all above zero, so that errors of its weights add up: what bias correction is for."""
    rng = np.random.default_rng(4)
    nodes = [
        ("Relu", ["x"], ["r"], {}),
        ("Conv", ["r", "w", "b"], ["c"], more),
        ("GlobalAveragePool", ["c"], ["p"], {}),
        ("Flatten", ["p"], ["f"], {}),
        ("Gemm", ["f", "v", "d"], ["y"], {"transB": 1}),
    ]
    group = more.get("group", 1)
    weights = {"w": rng.normal(size=(12, 3 // group, 3, 3)) ** 3, "b": rng.normal(size=12), "v": rng.normal(size=(6, 12)) ** 3}
    return save(path, nodes, {name: values.astype(np.float32) for name, values in (weights | {"d": rng.normal(size=6)}).items()})


@pytest.mark.parametrize("more", [{}, {"group": 3}], ids=["dense", "grouped"])
def test_means_of_outputs_come_back(files, tmp_path, more):
    model, int8 = files(positive(tmp_path / "m.onnx", **more))
    before = shift(model, int8)
    assert onnx_bias.correct(model, int8, onnx_bias.input_means(model, samples(60))) == 2
    assert shift(model, int8) < 0.6 * before


def test_the_wrong_way_round_makes_it_worse(files, tmp_path):
    """The planted fault: what the test above would see."""
    model, int8 = files(positive(tmp_path / "m.onnx"))
    before = shift(model, int8)
    onnx_bias.correct(model, int8, {name: -values for name, values in onnx_bias.input_means(model, samples(60)).items()})
    assert shift(model, int8) > 1.3 * before


@pytest.mark.parametrize("shared", [False, True])
def test_a_bias_that_several_layers_share_is_left_alone(files, tmp_path, shared):
    rng = np.random.default_rng(1)
    constants = {"w": rng.normal(size=(3, 3, 3, 3)), "v": rng.normal(size=(3, 3, 3, 3)), "b": rng.normal(size=3), "d": rng.normal(size=3)}
    nodes = [
        ("Conv", ["x", "w", "b"], ["c"], {"pads": [1] * 4}),
        ("Conv", ["x", "v", "d"], ["e"], {"pads": [1] * 4}),
        ("Add", ["c", "e"], ["y"], {}),
    ]
    model, int8 = files(save(tmp_path / "m.onnx", nodes, {name: values.astype(np.float32) for name, values in constants.items()}))
    file = onnx.load(int8)
    first, second = [node for node in file.graph.node if node.op_type in ("Conv", "QLinearConv")]
    if shared:
        second.input[len(second.input) - 1] = first.input[len(first.input) - 1]
        onnx.save(file, int8)
    before = int8.read_bytes()
    assert onnx_bias.correct(model, int8, onnx_bias.input_means(model, samples(20))) == (0 if shared else 2)
    assert (int8.read_bytes() == before) is shared


def test_a_file_without_layers_needs_no_means(tmp_path):
    assert onnx_bias.input_means(save(tmp_path / "m.onnx", [("Relu", ["x"], ["y"], {})], {}), samples(2)) == {}


def test_the_recipe_says_how_many_and_only_biases_differ(tmp_path, monkeypatch):
    source = positive(tmp_path / "m.onnx")
    made = []
    for on in (True, False):
        if not on:
            monkeypatch.setattr(onnx_bias, "correct", lambda *files: 0)
        folder = tmp_path / str(on)
        (folder / "content").mkdir(parents=True)
        path, notes = Static().write(source, folder / "content", samples(60))
        made.append(({t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}, notes))
    (corrected, told), (plain, untold) = made
    assert (told, untold) == ({"biases corrected": 2}, {})
    differing = {name for name in plain if not np.array_equal(plain[name], corrected[name])}
    assert len(differing) == 2
    assert {plain[name].dtype for name in differing} == {np.dtype(np.int32)}
