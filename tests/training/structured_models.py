"""Small models for the tests of structured pruning and distillation, and their samples."""

import numpy as np

from studylib.models.zoo import Samples


def residual(seed: int = 1):
    """Residual additions, depthwise and separable convolutions, concatenation, flattening, and two outputs."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    image = keras.Input((8, 8, 3), name="image")
    x = layers.ReLU()(layers.BatchNormalization(name="stem_bn")(layers.Conv2D(16, 3, padding="same", use_bias=False, name="stem")(image)))
    for index in range(2):
        y = layers.Conv2D(24, 1, activation="relu", name=f"expand{index}")(x)
        y = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, activation="relu", name=f"depthwise{index}")(y)
        y = layers.BatchNormalization(name=f"project_bn{index}")(layers.Conv2D(16, 1, name=f"project{index}")(y))
        x = layers.Add(name=f"add{index}")([x, y])
    side = layers.SeparableConv2D(12, 3, padding="same", activation="relu", name="separable")(x)
    x = layers.Concatenate(name="joined")([x, side])
    x = layers.MaxPooling2D(2)(layers.ZeroPadding2D(1)(x))
    x = layers.Conv2D(20, 3, strides=2, activation="relu", name="down")(x)
    flat = layers.Flatten()(x)
    hidden = layers.Dense(32, activation="relu", name="hidden")(flat)
    kinds = layers.Dense(4, activation="softmax", name="kinds")(hidden)
    height = layers.Dense(1, name="height")(layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, {"kinds": kinds, "height": height}, name="residual")


def plain(seed: int = 1, last: str = "softmax"):
    """Three convolutions and a classifier of ten digits of 8x8 values."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    image = x = keras.Input((14, 14, 1), name="image")
    for index, filters in enumerate((16, 32, 32)):
        x = layers.Conv2D(filters, 3, strides=1 + index % 2, padding="same", use_bias=False, name=f"conv{index}")(x)
        x = layers.ReLU()(layers.BatchNormalization(name=f"bn{index}")(x))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(10, activation=last, name="digit")(x), name="plain")


def noise(n: int = 24, shape: tuple = (8, 8, 3), name: str = "image", seed: int = 0) -> Samples:
    return Samples({name: np.random.default_rng(seed).normal(size=(n, *shape)).astype(np.float32)}, None)


def digits(split: str, n: int) -> Samples:
    """Real handwritten digits, halved to 14x14."""
    from studylib.models.zoo.mnist_cnn import MnistCnn

    samples = MnistCnn().samples(split, n, 0)
    return Samples({"image": samples.inputs["image"].reshape(-1, 14, 2, 14, 2, 1).mean((2, 4))}, samples.labels)


def saved(model, tmp_path):
    model.save(tmp_path / "source.keras")
    return tmp_path / "source.keras"


def awakened(model, seed: int = 5):
    """The model with statistics and shifts of batch normalisation that are not those of a new one."""
    import keras

    numbers = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([numbers.uniform(0.5, 1.5, value.shape) for value in layer.get_weights()])
    return model


def trained(model, samples: Samples, epochs: int = 10):
    """The model taught the labels of the samples, the learning rate falling to nothing."""
    import keras

    from studylib.training.lessons import lessons
    from studylib.training.normalising import renormalise

    rates = keras.optimizers.schedules.CosineDecay(1e-2, epochs * len(samples) // 32)
    model.compile(keras.optimizers.Adam(rates), "sparse_categorical_crossentropy")
    model.fit(np.array(samples.inputs["image"]), samples.labels, epochs=epochs, verbose=0, batch_size=32)
    renormalise(model, lessons(keras, model, samples), 0)
    return model
