"""Models by name. Adding one: a file here, a line in the table; the contract tests find it."""

from studylib.zoo.base import Model as Model
from studylib.zoo.base import Samples as Samples
from studylib.zoo.base import classes_of as classes_of
from studylib.zoo.bert import BertBase
from studylib.zoo.deepspeech import DeepSpeech, DeepSpeechStreaming
from studylib.zoo.efficientnet_lite0 import EfficientNetLite0
from studylib.zoo.handmade import Handmade
from studylib.zoo.image_references import MobileNetV2, ResNet50
from studylib.zoo.mnist_cnn import MnistCnn

# A table: what is looked up in it is named by whoever asks (`studylib.deciding`).
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
