"""Small Keras models of every kind, with inputs and outputs of shapes that tell them apart. ``library``: `keras` or `tf_keras`."""

import numpy as np

BOTH = ("sequential", "functional", "several_inputs", "several_outputs", "inner_model")


def sequential(library):
    layers = library.layers
    return library.Sequential([library.Input((6,), name="features"), layers.Dense(8, activation="relu"), layers.Dense(3)])


def deferred(library):
    """Its first layer got its shape from the first batch."""
    layers = library.layers
    model = library.Sequential([layers.Dense(8, activation="relu"), layers.Dense(3, activation="softmax")])
    model(np.zeros((1, 6), "float32"))
    return model


def functional(library):
    layers = library.layers
    image = library.Input((9, 9, 3), name="image")
    hidden = layers.BatchNormalization()(layers.Conv2D(4, 3, activation="relu")(layers.Rescaling(1 / 3)(image)))
    return library.Model(image, layers.Dense(5, activation="softmax")(layers.GlobalAveragePooling2D()(hidden)))


def several_inputs(library):
    layers = library.layers
    left, right = library.Input((4,), name="zulu"), library.Input((3,), name="alpha")
    return library.Model([left, right], layers.Dense(2)(layers.Concatenate()([left, right, right])))


def dictionary_inputs(library):
    layers = library.layers
    left, right = library.Input((4,), name="zulu"), library.Input((3,), name="alpha")
    return library.Model({"zulu": left, "alpha": right}, {"zulu": layers.Dense(2)(layers.Concatenate()([left, right]))})


def several_outputs(library):
    """Eleven, so that their numbers sort otherwise as text."""
    layers = library.layers
    values = library.Input((4,), name="values")
    return library.Model(values, [layers.Dense(size, name=f"out{12 - size}")(values) for size in range(1, 12)])


def inner_outputs(library):
    layers = library.layers
    values = library.Input((4,), name="my values.v")
    inner = {"x": layers.Dense(3)(values), "y": [layers.Dense(1)(values), layers.Dense(5)(values)]}
    return library.Model(values, {"scores": layers.Dense(2)(values), "more": inner})


def inner_model(library):
    layers = library.layers
    inner = library.Sequential([library.Input((4,)), layers.Dense(6, activation="tanh")], name="inner")
    values = library.Input((4,), name="values")
    return library.Model(values, layers.Dense(3)(layers.Add()([inner(values), inner(layers.Rescaling(2.0)(values))])))


def recurrent(library):
    layers = library.layers
    steps = library.Input((7, 5), name="steps")
    masked = layers.Masking(mask_value=0.0)(steps)
    hidden = layers.Bidirectional(layers.GRU(4, return_sequences=True))(masked)
    return library.Model(steps, layers.Dense(3, activation="softmax")(layers.LSTM(6)(hidden)))


def open_axes(library):
    """Pictures of any size, normalised by a layer that was adapted."""
    layers = library.layers
    adapted = layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 3.0])
    image = library.Input((None, None, 3), name="image")
    return library.Model(image, layers.GlobalMaxPooling2D()(layers.Conv2D(4, 3, strides=2, padding="same")(adapted(image))))


def subclassed(library):
    class Own(library.Model):
        def __init__(self):
            super().__init__()
            self.hidden, self.last = library.layers.Dense(8, activation="relu"), library.layers.Dense(3)

        def call(self, values, training=False):
            return self.last(self.hidden(values))

    model = Own()
    model(np.zeros((1, 6), "float32"))
    return model


def hard(library):
    """Layers that converters are known to get wrong, on odd sizes."""
    layers = library.layers
    picture = library.Input((11, 9, 8), name="picture")
    x = layers.Conv2D(16, 3, dilation_rate=(2, 3), padding="same", activation="swish")(picture)
    x = layers.GroupNormalization(4)(layers.Conv2D(16, 3, groups=4, strides=2, padding="same")(x))
    x = layers.Activation("gelu")(layers.DepthwiseConv2D(5, strides=2, padding="same", depth_multiplier=2)(x))
    y = layers.Conv2DTranspose(6, 4, strides=3, padding="same")(x)
    y = layers.Conv2DTranspose(3, 3, strides=2, output_padding=1)(layers.UpSampling2D((2, 3), interpolation="bilinear")(y))
    t = layers.Reshape((-1, 32))(x)
    t = layers.LayerNormalization()(t + layers.MultiHeadAttention(2, 8)(t, t))
    t = library.activations.gelu(layers.EinsumDense("abc,cd->abd", output_shape=(None, 10), bias_axes="d")(t), approximate=True)
    scores = layers.Dense(5, activation="softmax")(layers.GlobalMaxPooling1D()(t))
    return library.Model(picture, {"map": y, "scores": scores})


def mixed(library, policy: str, head: str | None):
    """Computes in half precision by the policy, its last layer by ``head`` where that is given."""
    layers = library.layers
    image = library.Input((12, 12, 3), name="image")
    hidden = layers.BatchNormalization(dtype=policy)(layers.Conv2D(8, 3, activation="relu", dtype=policy)(image))
    hidden = layers.GlobalAveragePooling2D(dtype=policy)(hidden)
    return library.Model(image, layers.Dense(5, activation="softmax", name="scores", dtype=head or policy)(hidden))
