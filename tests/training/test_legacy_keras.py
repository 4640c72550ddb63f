"""A model of Keras 3 and its twin in legacy Keras answer alike; what has no twin is named."""

import numpy as np
import pytest

from studylib.errors import RefusedError
from studylib.training.legacy_keras import translate

RNG = np.random.default_rng(4)


def inputs(model, n=3):
    kinds = {"f": lambda shape: RNG.normal(size=shape), "i": lambda shape: RNG.integers(0, 5, shape)}
    return [kinds[np.dtype(tensor.dtype).kind]((n, *tensor.shape[1:])).astype(tensor.dtype) for tensor in model.inputs]


def twin(model):
    """`translate` has compared the answers, to 1e-5, when it returns."""
    return translate(model, inputs(model))


def randomised(model):
    """Weights of batch normalization and biases that are not what every model begins with."""
    model.set_weights([values + RNG.uniform(0.1, 0.5, values.shape) for values in model.get_weights()])
    return model


def test_convolutions_and_their_like():
    import keras
    from keras import layers as L

    x = entry = keras.Input((12, 12, 3), name="image")
    for layer in (
        L.Rescaling(0.5), L.Conv2D(4, 3, strides=2, padding="same", use_bias=False), L.BatchNormalization(momentum=0.9), L.ReLU(6),
        L.DepthwiseConv2D(3, padding="same"), L.LeakyReLU(0.1), L.SeparableConv2D(6, 3), L.ELU(), L.Conv2DTranspose(4, 3),
        L.ZeroPadding2D(1), L.MaxPooling2D(), L.UpSampling2D(), L.PReLU(), L.Dropout(0.5), L.GlobalAveragePooling2D(),
        L.Dense(5, "softmax"),
    ):  # fmt: skip
        x = layer(x)
    model = randomised(keras.Model(entry, x))
    found = twin(model)
    assert set(found.layers) == {layer.name for layer in model.layers} - {"image"}
    assert found.carried == []


def test_recurrent_and_wrapped_layers():
    import keras
    from keras import layers as L

    entry = keras.Input((6, 3), name="frames")
    x = L.Bidirectional(L.GRU(3, return_sequences=True))(L.LSTM(4, return_sequences=True)(entry))
    x = L.TimeDistributed(L.Dense(2, activation="gelu"))(x)
    assert len(twin(randomised(keras.Model(entry, L.Conv1D(2, 3, padding="causal")(x)))).layers) == 4


def test_attention_and_operations_that_are_no_layers_are_carried():
    import keras
    from keras import layers as L
    from keras import ops

    keras.utils.clear_session()  # names are counted on from test to test
    ids = keras.Input((6,), name="ids", dtype="int32")
    x = L.Embedding(5, 4)(ids)
    x = L.LayerNormalization()(x + L.MultiHeadAttention(2, 3)(x, x))
    x = 1.0 - ops.matmul(ops.transpose(x, (0, 2, 1)), x)
    found = twin(randomised(keras.Model(ids, {"b": x, "a": x[..., 0]})))
    assert {"add", "transpose", "matmul", "subtract"} <= set(found.carried)


def test_models_inside_the_model_are_laid_open_and_names_stay_apart():
    import keras
    from keras import layers as L

    inner = keras.Sequential([keras.Input((4,)), L.Dense(4, name="d"), L.Dense(3, activation="hard_silu")], name="inner")
    entry = keras.Input((4,), name="x")
    model = randomised(keras.Model(entry, inner(L.Dense(4, name="d")(entry))))
    found = twin(model)
    assert len({"d", "d_1"} & set(found.layers)) == 2
    assert found.layers["d_1"] is inner.get_layer("d")


def test_a_layer_used_twice_keeps_one_set_of_weights():
    import keras

    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    shared = keras.layers.Dense(3, name="shared")
    found = twin(keras.Model([a, b], keras.layers.Subtract()([shared(a), shared(b)])))
    assert len(found.model.weights) == 2


def test_weights_come_back():
    import keras

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="d"), keras.layers.BatchNormalization()])
    found = twin(model)
    found.model.set_weights([values + 1 for values in found.model.get_weights()])
    found.take_back(found.model)
    given = inputs(model)[0]
    np.testing.assert_allclose(model.predict(given, verbose=0), found.model.predict(given, verbose=0), atol=1e-6)


def test_a_layer_that_legacy_keras_lacks_is_named():
    import keras

    entry = keras.Input((4,), name="x")
    with pytest.raises(RefusedError, match=r"layer rms \(RMSNormalization\) has no counterpart in legacy Keras"):
        twin(keras.Model(entry, keras.layers.RMSNormalization(name="rms")(entry)))


def test_a_custom_layer_with_weights_is_named_although_its_name_is_known():
    import keras

    class Dense(keras.layers.Dense):
        def call(self, inputs):
            return super().call(inputs) * 2

    entry = keras.Input((4,), name="x")
    with pytest.raises(RefusedError, match=r"layer own \(Dense\) has no counterpart"):
        twin(keras.Model(entry, Dense(3, name="own")(entry)))


def test_a_layer_that_answers_differently_is_named():
    import keras

    # Legacy Keras has no rms_scaling, so it would centre what Keras 3 only scales.
    entry = keras.Input((4,), name="x")
    x = keras.layers.LayerNormalization(name="scaled", rms_scaling=True, center=False)(keras.layers.Dense(4)(entry))
    with pytest.raises(RefusedError, match=r"layer scaled \(LayerNormalization\) (answers differently|has weights of shapes)"):
        twin(keras.Model(entry, x))


def test_a_model_without_a_graph_is_refused():
    import keras

    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(RefusedError, match="the model 'own' is neither functional nor sequential"):
        translate(Own(name="own"), [np.zeros((1, 2), np.float32)])
