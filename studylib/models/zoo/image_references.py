"""ResNet-50 and MobileNetV2 of keras.applications: with the published ImageNet weights when the cache holds them, otherwise random."""

from abc import abstractmethod

import numpy as np

from studylib.models.zoo.downloads import PublishedFile
from studylib.models.zoo.normalisation import calm, set_batch_statistics, spread_logits
from studylib.models.zoo.photographs import SeesPhotographs

_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"
_NORMALISED_ON = 16  # photographs that decide the statistics of random weights


class _ImageReference(SeesPhotographs):
    """What both share: photographs in, 1000 ImageNet probabilities out."""

    packages = ("keras", "tensorflow", "scikit-image", "scikit-learn", "matplotlib", "pillow")
    test_samples = 100
    published: PublishedFile
    branch_end: str

    @property
    def weights(self) -> str:
        return "random" if self.published.why_not() else "trained"

    def build(self, seed: int):
        import keras
        import tensorflow as tf

        keras.utils.set_random_seed(seed)
        # The same weights whenever they are made again here, so that a rebuilt model is the model that was measured.
        tf.config.experimental.enable_op_determinism()
        image = keras.Input(self.inputs["image"], name="image")
        features = self.trunk(image).output
        probabilities = keras.layers.Dense(1000, activation="softmax", name="probabilities")(features)
        model = keras.Model(image, probabilities, name=self.name)
        if self.weights == "trained":
            model.load_weights(self.published.path)
        else:
            photographs = self.crops("train", _NORMALISED_ON, seed).inputs
            calm(model, self.branch_end)
            set_batch_statistics(model, photographs)
            spread_logits(model, photographs, "probabilities")
        return model

    @abstractmethod
    def trunk(self, image):
        """The Keras model from ``image`` to pooled features, freshly initialised."""


class ResNet50(_ImageReference):
    """Photographs, 224x224 BGR less the ImageNet mean, to 1000 probabilities. Source: He et al. 2015, keras.applications.

    Weights: Keras' own file, checked by the MD5 that Keras publishes.
    """

    name = "resnet50"
    branch_end = "_3_bn"
    published = PublishedFile(
        f"{_KERAS}/resnet/resnet50_weights_tf_dim_ordering_tf_kernels.h5", "md5", "2cb95161c43110f7111970584f804107", 102_967_424
    )

    def trunk(self, image):
        import keras

        return keras.applications.ResNet50(include_top=False, weights=None, input_tensor=image, pooling="avg")

    def preprocess(self, pixels: np.ndarray) -> np.ndarray:
        return pixels[..., ::-1].astype(np.float32) - np.array([103.939, 116.779, 123.68], np.float32)


class MobileNetV2(_ImageReference):
    """Photographs, 224x224 RGB scaled to -1 … 1, to 1000 probabilities. Source: Sandler et al. 2018, keras.applications.

    Weights: Keras' own file. Keras publishes no hash of it; the SHA-256 is the one that other projects pin it to.
    """

    name = "mobilenet_v2"
    branch_end = "_project_BN"
    published = PublishedFile(
        f"{_KERAS}/mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5",
        "sha256",
        "3e195a2857356cfc092cbbb460beb2a5bce279015d7792598b8d3d9e451902e3",
        14_536_120,
    )

    def trunk(self, image):
        import keras

        return keras.applications.MobileNetV2(include_top=False, weights=None, input_tensor=image, pooling="avg")

    def preprocess(self, pixels: np.ndarray) -> np.ndarray:
        return pixels.astype(np.float32) / np.float32(127.5) - np.float32(1)
