"""Models by name. Adding one: a file here, a line in the table; the contract tests find it."""

from studylib.models.zoo.base import Model as Model
from studylib.models.zoo.base import Samples as Samples
from studylib.models.zoo.base import classes_of as classes_of
from studylib.models.zoo.bert import BertBase
from studylib.models.zoo.deepspeech import DeepSpeech, DeepSpeechStreaming
from studylib.models.zoo.efficientnet_lite0 import EfficientNetLite0
from studylib.models.zoo.handmade import Handmade
from studylib.models.zoo.image_references import MobileNetV2, ResNet50
from studylib.models.zoo.mnist_cnn import MnistCnn

# A table: what is looked up in it is named by whoever asks (`studylib.artifacts.code`).
DECIDES_NOTHING = ("MODELS",)

MODELS: dict[str, Model] = {
    model.name: model
    for model in (
        MnistCnn(),
        EfficientNetLite0(),
        Handmade(),
        ResNet50(),
        MobileNetV2(),
        BertBase("bert_base", tokens=128),
        BertBase("bert_base_384", tokens=384),
        DeepSpeech("deepspeech", units=2048),
        DeepSpeech("deepspeech_small", units=512),
        DeepSpeechStreaming("deepspeech_small_streaming", units=512),
    )
}
