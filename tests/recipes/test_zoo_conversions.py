"""Every model of the zoo reaches every format, opens in its runtime and is still the same model.

At its real size but where a part is repeated: two layers of BERT's twelve (one with longer questions), and DeepSpeech's quarter
(`deepspeech_small` is the same code).
"""

import gzip
import shutil
from types import SimpleNamespace

import pytest

from studylib.build import descriptions
from studylib.models.zoo import MODELS
from tests.in_process import study_of
from tests.outputs import conversion_status_of

# The smoke study takes mnist_cnn through every format already.
OTHERS = [name for name in MODELS if name not in ("mnist_cnn", "handmade", "deepspeech")]
FORMATS = ("saved_model", "onnx", "tflite")
# Published multiply-accumulates and parameters.
PUBLISHED = {"mobilenet_v2": (300_774_272, 3_538_984)}


class _Unpacked(gzip.GzipFile):
    """Stored as it is: how small a model is when it is packed is no question here, and takes a third of the time."""

    def __init__(self, *, compresslevel: int, **more):
        super().__init__(compresslevel=0, **more)


@pytest.fixture(params=OTHERS)
def converted(request, tmp_path, monkeypatch):
    """The study of one model after conversion and evaluation, in an outputs folder of its own that is emptied afterwards."""
    model = MODELS[request.param]
    monkeypatch.setattr(model, "test_samples", 8)
    monkeypatch.setattr(descriptions, "gzip", SimpleNamespace(GzipFile=_Unpacked))
    if hasattr(model, "layers"):
        # The second BERT is the first with longer questions: what layers say to each other is in the first already.
        monkeypatch.setattr(model, "layers", 1 if model.name == "bert_base_384" else 2)
    study = study_of(tmp_path, model.name, recipes=("fp32",))
    study.evaluate(("fp32",), matrix=False)
    yield study
    shutil.rmtree(tmp_path)


@pytest.mark.slow
def test_it_reaches_every_format_and_passes_parity(converted):
    (model,) = converted.plan.models
    cells = {(cell.source, cell.target): cell for cell in converted.results.conversions()}
    for target in FORMATS:
        cell = cells["keras", target]
        assert conversion_status_of(converted.results, cell) == ("ok", ""), target
        found = converted.results.evaluation(cell.trial.evaluation_id)
        assert found["sqnr"] > 90, (target, found["sqnr"])
        assert found["finite"]
    inside = {
        facts["format"]: converted.results.inside()[key]
        for key, facts in converted.results.artifacts().items()
        if key in converted.results.inside()
    }
    assert inside["tflite"]["select_tf_operators"] == inside["tflite"]["custom_operators"] == []
    if model in PUBLISHED:
        macs, parameters = PUBLISHED[model]
        assert {format: inside[format]["macs"] for format in ("keras", *FORMATS)} == dict.fromkeys(("keras", *FORMATS), macs)
        assert inside["keras"]["parameters"] == inside["saved_model"]["parameters"] == parameters
        # Converters fold batch normalisation into the convolutions before it.
        assert all(0.96 * parameters < inside[format]["parameters"] < parameters for format in ("onnx", "tflite"))
    if MODELS[model].weights == "random":
        assert "top1_accuracy" not in set(converted.results.table().metric)


def test_a_hand_made_graph_answers_by_hand_in_every_runtime_that_reads_onnx(tmp_path):
    import numpy as np

    from studylib.models.zoo import handmade
    from studylib.recipes.convert.to_openvino import OnnxToOpenVino
    from studylib.runtimes import RUNTIMES, Options

    source = MODELS["handmade"].write(tmp_path, 0)
    x = MODELS["handmade"].samples("test", 5, 1).inputs["x"]
    files = {"onnxruntime": source, "openvino": OnnxToOpenVino().write(source, tmp_path, None)}
    for runtime, path in files.items():
        outputs = RUNTIMES[runtime].load(path, Options()).run({"x": x})
        assert list(outputs) == ["scores"]
        assert np.allclose(outputs["scores"], handmade.answer(x), atol=1e-6)
    assert not np.allclose(handmade.answer(x), handmade.answer(-x))
