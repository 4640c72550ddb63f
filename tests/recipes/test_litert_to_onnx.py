"""LiteRT files become ONNX files with the same names and answers; what has no translation is named."""

import numpy as np
import pytest

from studylib.errors import RefusedError
from studylib.recipes.convert.litert_to_onnx import LiteRTToOnnx
from studylib.recipes.convert.to_litert import ToLiteRT


@pytest.fixture
def converted(tmp_path):
    """Function that exports a Keras model and converts it to LiteRT."""

    def convert(inputs, outputs):
        import keras

        keras.Model(inputs, outputs).export(tmp_path / "source", verbose=False)
        return ToLiteRT().write(tmp_path / "source", tmp_path, None)[0]

    return convert


def both(litert, onnx, inputs):
    """(answers of the LiteRT file, answers of the ONNX file), each by name."""
    import onnxruntime
    from ai_edge_litert.interpreter import Interpreter

    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return Interpreter(str(litert)).get_signature_runner()(**inputs), dict(zip(names, session.run(None, inputs), strict=True))


def assert_same(litert, onnx, inputs):
    first, second = both(litert, onnx, inputs)
    assert set(first) == set(second)
    for name in first:
        np.testing.assert_allclose(first[name], second[name], atol=1e-5)


@pytest.mark.parametrize("batch", [1, 3])
def test_names_answers_and_the_dynamic_batch_are_kept(converted, tmp_path, batch):
    import keras
    import onnx

    image, code = keras.Input((8, 8, 1), name="the-image"), keras.Input((4,), name="code.1", dtype="int32")
    x = keras.layers.Flatten()(keras.layers.Conv2D(3, 3, activation="relu")(image))
    outputs = {
        "score": keras.layers.Dense(2)(x),
        "again": keras.layers.Dense(3)(keras.layers.Flatten()(keras.layers.Embedding(9, 2)(code))),
    }
    litert = converted([image, code], outputs)
    path, notes = LiteRTToOnnx().write(litert, tmp_path, None)
    assert notes == {}
    assert [value.type.tensor_type.shape.dim[0].dim_param for value in onnx.load(path).graph.input] == ["batch", "batch"]
    rng = np.random.default_rng(0)
    assert_same(litert, path, {"the-image": rng.random((batch, 8, 8, 1), np.float32), "code.1": rng.integers(0, 9, (batch, 4), np.int32)})


@pytest.mark.parametrize("approximate", [False, True])
def test_gelu_is_written_as_its_definition_and_noted(converted, tmp_path, approximate):
    import keras

    inputs = keras.Input((5,), name="values")
    litert = converted(inputs, keras.ops.gelu(keras.layers.Dense(5)(inputs), approximate=approximate))
    path, notes = LiteRTToOnnx().write(litert, tmp_path, None)
    assert notes in ({}, {"rewritten": "TFL_GELU as its definition with Erf or Tanh, 1 times"})
    assert notes or approximate, "the exact GELU is one operator in LiteRT"
    assert_same(litert, path, {"values": np.linspace(-6, 6, 15, dtype=np.float32).reshape(3, 5)})


def test_a_loop_keeps_its_answers_and_its_names(converted, tmp_path):
    import keras

    frames = keras.Input((None, 3), name="frames")
    litert = converted(frames, keras.layers.GRU(4, return_sequences=True)(frames))
    path, _ = LiteRTToOnnx().write(litert, tmp_path, None)
    assert_same(litert, path, {"frames": np.random.default_rng(0).normal(size=(1, 7, 3)).astype(np.float32)})


def test_one_tensor_with_several_names_becomes_several_outputs(tmp_path):
    import tensorflow as tf

    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "x")])
        def __call__(self, x):
            kept = tf.nn.relu(x)
            return {"first": kept, "second": kept, "negative": -kept, "same": x}

    module = Module()
    tf.saved_model.save(module, str(tmp_path / "source"), signatures=module.__call__)
    litert, _ = ToLiteRT().write(tmp_path / "source", tmp_path, None)
    path, _ = LiteRTToOnnx().write(litert, tmp_path, None)
    _, answers = both(litert, path, {"x": np.float32([[1, -2]])})
    assert {name: values.tolist() for name, values in answers.items()} == {
        "first": [[1, 0]], "second": [[1, 0]], "negative": [[-1, 0]], "same": [[1, -2]],
    }  # fmt: skip


def test_operators_without_translation_are_named_with_their_place(tmp_path):
    import tensorflow as tf

    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([4, 8], tf.float32, "x")])
        def __call__(self, x):
            return {"y": tf.math.real(tf.signal.rfft(x, [8]))}

    module = Module()
    tf.saved_model.save(module, str(tmp_path / "source"), signatures=module.__call__)
    litert, _ = ToLiteRT().write(tmp_path / "source", tmp_path, None)
    with pytest.raises(RefusedError) as refusal:
        LiteRTToOnnx().write(litert, tmp_path, None)
    assert str(refusal.value).startswith("ONNX has no translation for the LiteRT operators REAL (at PartitionedCall:0), RFFT2D (at ")
    assert str(refusal.value).endswith("Keep this model in LiteRT, or convert the model it was made from")
    assert not (tmp_path / "model.onnx").exists()


def test_a_file_that_is_no_model_is_refused(tmp_path):
    (tmp_path / "broken.tflite").write_bytes(b"no flatbuffer")
    with pytest.raises(RefusedError, match=r"broken\.tflite is no LiteRT file that opens: "):
        LiteRTToOnnx().write(tmp_path / "broken.tflite", tmp_path, None)
