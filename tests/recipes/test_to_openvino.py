"""SavedModel and ONNX to OpenVINO's files, and the runtime that answers from them."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from studylib.errors import ArtifactError, RefusedError
from studylib.machine import hardware
from studylib.recipes.convert.to_openvino import OnnxToOpenVino, SavedModelToOpenVino
from studylib.runtimes import Options
from studylib.runtimes.openvino import OpenVino
from tests import ROOT

SAMPLES = {"left": np.float32([[1, -2], [3, 4], [0, 1]]), "right": np.int32([[5, 6], [-7, 8], [1, 1]])}


@pytest.fixture
def saved_model(tmp_path):
    """A SavedModel with two inputs of different types and three outputs, two of them the same tensor."""
    import tensorflow as tf

    class Module(tf.Module):
        def __init__(self):
            self.weight = tf.Variable([[1.0, 2.0], [3.0, 0.123456789]])

        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "left"), tf.TensorSpec([None, 2], tf.int32, "right")])
        def __call__(self, left, right):
            product = tf.matmul(left, self.weight)
            return {"product": product, "again": product, "sum": left + tf.cast(right, tf.float32)}

    module = Module()
    tf.saved_model.save(module, str(tmp_path / "source"), signatures=module.__call__)
    return tmp_path / "source"


def onnx_file(path, *nodes, outputs=("y",)):
    """An ONNX file with the input ``x`` of shape [batch, 2]."""
    import onnx
    from onnx import TensorProto, helper

    values = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2]) for name in ("x", *outputs)}
    graph = helper.make_graph([helper.make_node(*node) for node in nodes], "graph", [values["x"]], [values[name] for name in outputs])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def test_a_saved_model_keeps_its_names_types_and_dynamic_batch(saved_model, tmp_path):
    folder = SavedModelToOpenVino().write(saved_model, tmp_path, None)
    assert sorted(file.name for file in folder.iterdir()) == ["model.bin", "model.xml"]
    session = OpenVino().open(folder, Options(threads=1))
    weight = np.float32([[1, 2], [3, 0.123456789]])
    for start, stop in ((0, 1), (0, 3), (1, 3)):
        batch = {name: values[start:stop] for name, values in SAMPLES.items()}
        outputs = session.run(batch)
        assert set(outputs) == {"product", "again", "sum"}
        np.testing.assert_allclose(outputs["product"], batch["left"] @ weight, rtol=1e-6)
        np.testing.assert_array_equal(outputs["again"], outputs["product"])
        np.testing.assert_array_equal(outputs["sum"], batch["left"] + batch["right"])
    assert session.placement() == "CPU"


def test_the_weights_stay_float32(saved_model, tmp_path):
    folder = SavedModelToOpenVino().write(saved_model, tmp_path, None)
    assert 'element_type="f16"' not in (folder / "model.xml").read_text()
    assert np.float32(0.123456789).tobytes() in (folder / "model.bin").read_bytes()


def test_an_onnx_file_keeps_its_names_and_the_order_of_its_outputs(tmp_path):
    source = onnx_file(
        tmp_path / "m.onnx", ("Relu", ["x"], ["inside"]), ("Identity", ["inside"], ["z"]), ("Neg", ["x"], ["a"]), outputs=("z", "a")
    )
    session = OpenVino().open(OnnxToOpenVino().write(source, tmp_path, None), Options())
    outputs = session.run({"x": np.float32([[1, -2]])})
    assert list(outputs) == ["z", "a"]
    assert outputs["z"].tolist() == [[1, 0]]
    assert outputs["a"].tolist() == [[-1, 2]]


def test_the_next_query_does_not_overwrite_the_last_answer(tmp_path):
    source = onnx_file(tmp_path / "m.onnx", ("Neg", ["x"], ["y"]))
    session = OpenVino().open(OnnxToOpenVino().write(source, tmp_path, None), Options())
    first = session.run({"x": np.float32([[1, 2]])})["y"]
    session.run({"x": np.float32([[3, 4]])})
    assert first.tolist() == [[-1, -2]]


def test_a_recurrent_layer_keeps_its_dynamic_batch(tmp_path):
    import keras

    frames = keras.Input((6, 3), name="frames")
    model = keras.Model(frames, keras.layers.GRU(4)(frames))
    model.export(tmp_path / "source", verbose=False)
    session = OpenVino().open(SavedModelToOpenVino().write(tmp_path / "source", tmp_path, None), Options())
    values = np.random.default_rng(0).normal(size=(3, 6, 3)).astype(np.float32)
    np.testing.assert_allclose(session.run({"frames": values})["output_0"], model(values), atol=1e-5)


def test_an_operator_without_translation_is_named(tmp_path):
    import keras

    words = keras.Input((1,), name="words", dtype="string")
    keras.Model(words, keras.layers.StringLookup(vocabulary=["a"])(words)).export(tmp_path / "source", verbose=False)
    with pytest.raises(RefusedError, match=r"OpenVINO has no translation for HashTableV2, LookupTableFindV2\. Keep this model as it is"):
        SavedModelToOpenVino().write(tmp_path / "source", tmp_path, None)


def test_a_file_that_is_no_model_is_refused(tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"no model at all")
    with pytest.raises(RefusedError, match="OpenVINO refused the model: "):
        OnnxToOpenVino().write(tmp_path / "broken.onnx", tmp_path, None)


@pytest.mark.parametrize("inputs", [{"y": np.zeros((1, 2), np.float32)}, {}])
def test_wrong_inputs_are_named(tmp_path, inputs):
    source = onnx_file(tmp_path / "m.onnx", ("Neg", ["x"], ["y"]))
    session = OpenVino().open(OnnxToOpenVino().write(source, tmp_path, None), Options())
    with pytest.raises(ArtifactError, match=r"the model has the inputs \['x'\], and "):
        session.run(inputs)


@pytest.mark.parametrize(("provider", "device"), [("gpu", "Intel GPU"), ("npu", "Intel NPU")])
def test_an_absent_device_is_refused_in_words(provider, device, tmp_path):
    host = replace(hardware.probe(), nvidia_gpu="")
    reason = OpenVino().why_not(provider, host)
    assert reason.startswith(f"OpenVINO sees no {device} on this machine, only CPU")
    with pytest.raises(RefusedError, match=device):
        OpenVino().open(tmp_path, Options(provider=provider))


def test_asking_about_the_cpu_imports_nothing_and_opening_reports_nothing(tmp_path):
    """OpenVINO would leave a client id in the home folder and send an event when it is imported."""
    code = """
import sys
from studylib.machine import hardware
from studylib.runtimes import Options, RUNTIMES
assert RUNTIMES["openvino"].why_not("cpu", hardware.probe()) is None
assert "openvino" not in sys.modules
RUNTIMES["openvino"].activate(Options())
assert "openvino" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={"HOME": str(tmp_path), "PATH": ""}, check=True, timeout=120)
    assert list(tmp_path.iterdir()) == []


def test_the_converter_leaves_everybody_elses_logging_alone(tmp_path):
    import logging

    from studylib.models.zoo import MODELS

    root = logging.getLogger()
    before = root.level, list(root.handlers)
    OnnxToOpenVino().write(MODELS["handmade"].write(tmp_path, 0), tmp_path, None)
    assert (root.level, list(root.handlers)) == before


def test_an_operator_that_openvino_has_is_not_blamed(tmp_path):
    """Behind an If whose branches differ in rank the input of a convolution has no known rank: the words say that, and where."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def branch(name, node):
        return helper.make_graph([node], name, [], [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)])

    axes = [numpy_helper.from_array(np.array([1, 2, 3], np.int64), "sizes"), numpy_helper.from_array(np.ones((2, 3, 1), np.float32), "w")]
    axes.append(numpy_helper.from_array(np.float32(0), "zero"))
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["positive"]),
        helper.make_node(
            "If", ["positive"], ["c"], then_branch=branch("flat", helper.make_node("Squeeze", ["x"], ["flat"])),
            else_branch=branch("same", helper.make_node("Identity", ["x"], ["same"])),
        ),
        helper.make_node("Conv", ["c", "w"], ["y"], name="behind"),
    ]  # fmt: skip
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (("x", (1, 3, 8)), ("y", None))]
    graph = helper.make_graph(nodes, "graph", ends[:1], ends[1:], axes[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), tmp_path / "m.onnx")
    with pytest.raises(RefusedError) as refused:
        OnnxToOpenVino().write(tmp_path / "m.onnx", tmp_path, None)
    text = str(refused.value)
    assert text.startswith("OpenVINO stops at Conv '")
    assert "OpenVINO has the operator" in text
    assert "\n" not in text
