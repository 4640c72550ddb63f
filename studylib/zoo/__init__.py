"""Models by name. Adding one: a file here, a line in the table; the contract tests find it."""

from studylib.zoo.base import Model as Model
from studylib.zoo.base import Samples as Samples
from studylib.zoo.efficientnet_lite0 import EfficientNetLite0
from studylib.zoo.mnist_cnn import MnistCnn

MODELS: dict[str, Model] = {model.name: model for model in (MnistCnn(), EfficientNetLite0())}
