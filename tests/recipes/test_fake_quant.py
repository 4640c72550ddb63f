"""What was trained for int8 becomes int8 without being rounded again, in LiteRT and in ONNX Runtime's own kernels."""

import numpy as np
import pytest

from studylib.artifacts.store import Artifact
from studylib.errors import RefusedError
from studylib.recipes.quantize.fake_quant import FakeQuantToLiteRT, FakeQuantToOnnx
from studylib.recipes.quantize.fake_quant_weights import drop_clips, steps_of

RNG = np.random.default_rng(3)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A SavedModel with the fake-quantization that tfmot writes: convolution per channel, ReLU6, dense layer per tensor."""
    import tensorflow as tf

    kernel, dense = (tf.constant(RNG.normal(size=shape).astype(np.float32)) for shape in ((3, 3, 4, 8), (8, 3)))
    largest = tf.reduce_max(tf.abs(kernel), axis=[0, 1, 2]) * 1.01  # learned a moment before the last step

    @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 4), tf.float32, "image")])
    def serve(image):
        x = tf.quantization.fake_quant_with_min_max_vars(image, -3.0, 3.0)
        rounded = tf.quantization.fake_quant_with_min_max_vars_per_channel(kernel, -largest, largest, narrow_range=True)
        x = tf.nn.relu6(tf.nn.bias_add(tf.nn.conv2d(x, rounded, 1, "SAME"), tf.linspace(-1.0, 1.0, 8)))
        x = tf.quantization.fake_quant_with_min_max_vars(x, 0.0, 6.0)
        x = tf.quantization.fake_quant_with_min_max_vars(tf.reduce_max(x, axis=[1, 2]), 0.0, 6.0)
        x = tf.matmul(x, tf.quantization.fake_quant_with_min_max_vars(dense, -3.0, 3.0, narrow_range=True))
        return {"output_0": tf.quantization.fake_quant_with_min_max_vars(x, -40.0, 40.0)}

    module = tf.Module()
    module.serve = serve
    folder = tmp_path_factory.mktemp("trained") / "saved_model"
    tf.saved_model.save(module, str(folder), signatures={"serving_default": serve})
    images = RNG.normal(size=(16, 8, 8, 4)).astype(np.float32)
    return folder, images, serve(tf.constant(images))["output_0"].numpy()


def test_onnx_runtime_computes_in_int8_what_was_trained(trained, tmp_path):
    import onnxruntime

    folder, images, wanted = trained
    (tmp_path / "content").mkdir()
    path, notes = FakeQuantToOnnx().write(folder, tmp_path / "content", None)
    assert (notes["int8_weights"], notes["float_weights"], notes["clips_dropped"]) == (2, [], 1)
    assert notes["operators_run"]["QLinearConv"] == 1
    assert not {"Conv", "FusedConv", "MatMul", "Gemm"} & set(notes["operators_run"])
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = session.run(["output_0"], {"image": images})[0]
    assert np.abs(found - wanted).max() <= 2 * 80 / 255
    assert np.abs(found - wanted).mean() < 0.1 * 80 / 255
    assert [entry.name for entry in tmp_path.iterdir()] == ["content"]


def test_int8_weights_are_the_trained_ones_and_not_rounded_again(trained, tmp_path):
    import onnx
    from onnx import numpy_helper

    folder, _, _ = trained
    (tmp_path / "content").mkdir()
    graph = onnx.load(FakeQuantToOnnx().write(folder, tmp_path / "content", None)[0]).graph
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    steps = next(values for name, values in arrays.items() if name.endswith("weight/steps") and values.ndim == 4)
    # The range was 1 % wider than the largest weight, so that one is 126 steps of 127.
    assert (np.abs(steps).reshape(8, -1).max(1) == 126).all()
    assert steps.dtype == np.int8


@pytest.mark.parametrize(("int8_io", "kind"), [(True, np.int8), (False, np.float32)])
def test_litert_reads_the_trained_scales(trained, tmp_path, int8_io, kind):
    from ai_edge_litert.interpreter import Interpreter

    folder, images, wanted = trained
    path, notes = FakeQuantToLiteRT(int8_io=int8_io).write(folder, tmp_path, None)
    assert notes == {}
    lite = Interpreter(str(path))
    (entry,), (end,) = lite.get_input_details(), lite.get_output_details()
    assert {entry["dtype"], end["dtype"]} == {kind}
    kinds = {tensor["dtype"] for tensor in lite.get_tensor_details() if len(tensor["shape"]) > 1}
    assert kinds <= {np.int8, kind}
    lite.resize_tensor_input(entry["index"], images.shape)
    lite.allocate_tensors()
    given = images
    if int8_io:
        scale, zero = entry["quantization"]
        assert scale == pytest.approx(6 / 255, rel=1e-4)
        given = np.clip(np.round(images / scale) + zero, -128, 127).astype(np.int8)
    lite.set_tensor(entry["index"], given)
    lite.invoke()
    found = lite.get_tensor(end["index"])
    if int8_io:
        scale, zero = end["quantization"]
        found = (found.astype(np.float32) - zero) * scale
    assert np.abs(found - wanted).mean() < 0.2 * 80 / 255


@pytest.mark.parametrize("recipe", [FakeQuantToLiteRT(), FakeQuantToOnnx()], ids=lambda recipe: recipe.target)
def test_a_model_that_was_not_trained_for_int8_is_refused(recipe, tmp_path):
    import keras

    keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]).export(tmp_path / "plain", verbose=False)
    with pytest.raises(RefusedError, match="plain has no fake-quantization: it was not trained for int8; use static_wi8_ai8 instead"):
        recipe.write(tmp_path / "plain", tmp_path, None)
    facts = {"path": tmp_path / "plain", "format": "saved_model", "model": "m", "sha256": "s", "size_bytes": 1, "lineage": (), "key": "k"}
    facts["made_in_s"] = 0.0
    assert "was not trained for int8" in recipe.why_not(Artifact(precision="fp32", is_float=True, **facts))
    assert recipe.why_not(Artifact(precision="pruned_qat", is_float=False, **facts)) is None
    assert "is already static_wi8_ai8" in recipe.why_not(Artifact(precision="static_wi8_ai8", is_float=False, **facts))


@pytest.mark.parametrize("most", [127, 126, 100])
def test_steps_are_found_again_whatever_the_largest_weight_stands_for(most):
    whole = RNG.integers(-most, most + 1, (50, 4))
    whole[0] = most
    scales = np.array([0.1, 0.02, 3.0, 0.7])
    np.testing.assert_allclose(steps_of((whole * scales).astype(np.float32), 1), scales, rtol=1e-4)


def test_a_channel_of_zeros_gets_a_step_that_its_bias_can_use():
    values = np.stack([np.zeros(6), np.arange(6) * 0.5], axis=0).astype(np.float32)
    zero, other = steps_of(values, 0)
    assert zero == other
    assert steps_of(np.zeros((2, 3), np.float32), None) > 0


def test_only_clips_that_quantization_does_anyway_are_dropped():
    import onnx
    from onnx import helper, numpy_helper

    def model(scale, zero, low=0.0, high=6.0):
        constants = {"low": np.float32(low), "high": np.float32(high), "scale": np.float32(scale), "zero": np.uint8(zero)}
        nodes = [helper.make_node("Clip", ["x", "low", "high"], ["y"]), helper.make_node("QuantizeLinear", ["y", "scale", "zero"], ["q"])]
        ends = [helper.make_tensor_value_info(*one) for one in (("x", onnx.TensorProto.FLOAT, [4]), ("q", onnx.TensorProto.UINT8, [4]))]
        weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
        return helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:], weights))

    assert drop_clips(model(6 / 255, 0)) == 1
    assert drop_clips(model(4 / 255, 0)) == 1
    assert drop_clips(model(8 / 255, 0)) == 0  # would let 7 pass
    assert drop_clips(model(6 / 255, 10)) == 0  # would let negative numbers pass
