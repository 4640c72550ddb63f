"""A model that draws random numbers, or keeps a state, is refused once, and what rounds a little otherwise is not."""

from pathlib import Path

import numpy as np
import pytest

from studylib.artifacts.store import Artifact, Store
from studylib.build.sources import Sources
from studylib.errors import ArtifactError
from studylib.models.own import OwnModel
from studylib.models.zoo import Samples
from studylib.quality.steadiness import require_steady, why_apart

SAMPLES = Samples({"x": np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)}, None, {"x": 0})


def reference(path, store):
    return Sources(OwnModel(str(path), declared_task="other"), 1).reference(6, store)


def _onnx(path: Path, random: bool) -> Path:
    from onnx import TensorProto, helper, save

    nodes = [helper.make_node("RandomNormalLike" if random else "Tanh", ["x"], ["n"]), helper.make_node("Add", ["x", "n"], ["y"])]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in "xy"]
    graph = helper.make_graph(nodes, "sampler", ends[:1], ends[1:])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def _keras(path: Path, drawing: bool) -> Path:
    import keras

    inputs = keras.Input((20,), name="features")
    hidden = keras.layers.Dense(64, activation="relu")(inputs)
    hidden = keras.layers.Dropout(0.3, name="mc_dropout")(hidden, **({"training": True} if drawing else {}))
    keras.Model(inputs, keras.layers.Dense(4)(hidden)).save(path)
    return path


def _saved_model(path: Path, act) -> Path:
    import tensorflow as tf

    module = tf.Module()
    module.count = tf.Variable(tf.zeros(()))
    module.serve = tf.function(lambda x: {"y": act(tf, module, x)}, input_signature=[tf.TensorSpec([None, 4], name="x")])
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.serve})
    return path


def _litert(path: Path, saved: Path) -> Path:
    import tensorflow as tf

    path.write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(saved)).convert())
    return path


DRAWS = (
    r"answers differently each time \(output '{}', the same sample asked twice: .*\): it draws random numbers in {}.*"
    "sampling made deterministic"
)


def test_each_framework_is_asked_twice_and_what_draws_is_named(tmp_path):
    store = Store(tmp_path / "store")
    with pytest.raises(ArtifactError, match=DRAWS.format("y", "RandomNormalLike")):
        reference(_onnx(tmp_path / "a.onnx", random=True), store)
    assert reference(_onnx(tmp_path / "b.onnx", random=False), store)
    with pytest.raises(ArtifactError, match=DRAWS.format("output_0", r"layer 'mc_dropout' \(Dropout\), called with training=True")):
        reference(_keras(tmp_path / "a.keras", drawing=True), store)
    assert reference(_keras(tmp_path / "b.keras", drawing=False), store)
    drawing = _saved_model(tmp_path / "drawing", lambda tf, module, x: x + tf.random.normal(tf.shape(x)))
    with pytest.raises(ArtifactError, match=DRAWS.format("y", "RandomStandardNormal")):
        reference(drawing, store)
    with pytest.raises(ArtifactError, match=r"answers differently each time .*it draws random numbers in RANDOM_STANDARD_NORMAL"):
        reference(_litert(tmp_path / "a.tflite", drawing), store)


def test_what_keeps_a_state_is_told_from_what_draws(tmp_path):
    path = _saved_model(tmp_path / "counting", lambda tf, module, x: x + module.count.assign_add(1.0))
    with pytest.raises(
        ArtifactError, match=r"it keeps a state from one query to the next in AssignAddVariableOp.*state as an input and an output"
    ):
        reference(path, Store(tmp_path / "store"))


def test_an_order_of_additions_is_no_randomness_and_a_planted_change_is(tmp_path):
    """Threads add in another order each time: the last bits differ."""
    rng, nowhere = np.random.default_rng(1), Artifact(tmp_path, "openvino", "fp32", "m", "k", "s", 1, 0.0)
    weights = rng.normal(size=(4, 3)).astype(np.float32)

    def run(noise: float):
        return lambda query: {"y": (query["x"] @ weights) * (1 + noise * rng.standard_normal((1, 3))).astype(np.float32)}

    outputs = {"y": np.stack([run(0)(SAMPLES.batch(index, 1))["y"] for index in range(len(SAMPLES))])}
    require_steady(run(3e-7), SAMPLES, outputs, nowhere)
    with pytest.raises(ArtifactError, match="answers differently each time"):
        require_steady(run(1e-3), SAMPLES, outputs, nowhere)


def test_numbers_of_every_kind_are_compared_as_what_they_are():
    assert why_apart(np.float32([1, np.nan]), np.float32([1, np.nan])) is None
    assert why_apart(np.arange(8), np.array([0, 1, 2, 3, 4, 5, 7, 6])) is None
    assert why_apart(np.arange(8), np.arange(8)[::-1]) == "100% of its whole numbers change"
    assert why_apart(np.float16([1, 2, 3]), np.float16([1.001, 2, 3])) is None
    assert why_apart(np.float32([1, 2, 3]), np.float32([1.01, 2, 3])).endswith("dB apart")
    assert why_apart(np.zeros((2, 3)), np.zeros((1, 3))) == "once of shape (2, 3), then of (1, 3)"
