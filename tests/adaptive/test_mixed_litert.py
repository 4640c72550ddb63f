from collections import Counter

import numpy as np
import pytest

from studylib import stats
from studylib.adaptive import FORMATS
from studylib.errors import InputError, RefusedError
from tests.adaptive.small_models import images, write_tflite

DYNAMIC, STATIC = "dynamic_wi8_afp32", "static_wi8_ai8"
SURGEON = FORMATS["tflite"]


@pytest.fixture(scope="module")
def small_tflite(tmp_path_factory):
    return write_tflite(tmp_path_factory.mktemp("litert"))


def answers(path, held_back) -> np.ndarray:
    run = SURGEON.open(path, 1)
    return np.concatenate([next(iter(run(held_back.batch(index, 1)).values())) for index in range(len(held_back))])


def operators(path) -> list[tuple[str, str]]:
    """(kind, type of what it reads) of every operator."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path))
    types = {tensor["index"]: np.dtype(tensor["dtype"]).name for tensor in interpreter.get_tensor_details()}
    return [(operator["op_name"], types[operator["inputs"][0]]) for operator in interpreter._get_ops_details()]


def test_layers_by_the_names_people_gave(small_tflite):
    layers = SURGEON.layers(small_tflite)
    assert [layer.operator for layer in layers] == ["CONV_2D", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"]
    assert [layer.name.split("/")[0].split("_")[0] for layer in layers] == ["first", "second", "deep", "head"]
    assert layers[1].parameters == 32 * 32 * 9 + 32
    # The weights of the first are too few to be worth it, and no kernel computes the third dynamically.
    assert [DYNAMIC in layer.precisions for layer in layers] == [False, True, False, True]


def test_static_dynamic_and_float_in_one_file(small_tflite, tmp_path):
    model = SURGEON.calibrated(small_tflite, images(8, 1), tmp_path)
    first, second, _, head = (layer.name for layer in model.layers)
    mixed = SURGEON.apply(model, {first: STATIC, second: STATIC, head: DYNAMIC}, tmp_path / "mixed.tflite")
    found = operators(mixed)
    # The addition between two static layers and a float one stays float; the inputs and outputs stay float as well.
    assert [kind for kind, type in found if type == "int8" and kind not in ("DEQUANTIZE",)] == ["CONV_2D", "CONV_2D"]
    assert ("DEPTHWISE_CONV_2D", "float32") in found and ("FULLY_CONNECTED", "float32") in found
    assert 25 < stats.sqnr_db(answers(small_tflite, images(8, 2)), answers(mixed, images(8, 2))) < 60


def test_all_static_leaves_no_conversion_between_layers(small_tflite, tmp_path):
    model = SURGEON.calibrated(small_tflite, images(8, 1), tmp_path)
    path = SURGEON.apply(model, {layer.name: STATIC for layer in model.layers}, tmp_path / "static.tflite")
    counts = Counter(kind for kind, _ in operators(path))
    assert counts["QUANTIZE"] == 1 and counts["DEQUANTIZE"] == 1
    assert ("ADD", "int8") in operators(path)


def test_the_range_covers_every_sample(small_tflite, tmp_path):
    few = images(8, 1)
    few.inputs["image"][5] *= 50
    model = SURGEON.calibrated(small_tflite, few, tmp_path)
    widest = max(float(np.max(limits["max"])) for name, limits in model.ranges.items() if "image" in name)
    assert widest == pytest.approx(float(few.inputs["image"].max()))


def test_weights_have_a_scale_for_each_channel(small_tflite, tmp_path):
    from ai_edge_litert.interpreter import Interpreter

    model = SURGEON.calibrated(small_tflite, images(4, 1), tmp_path)
    path = SURGEON.apply(model, {layer.name: STATIC for layer in model.layers}, tmp_path / "static.tflite")
    tensors = Interpreter(model_path=str(path)).get_tensor_details()
    assert [len(one["quantization_parameters"]["scales"]) for one in tensors if one["dtype"] is np.int8 and 32 in one["shape"][:1]] == [
        32,
        32,
    ]


def test_refusals_say_why(small_tflite, tmp_path):
    with pytest.raises(RefusedError, match="calibration samples are empty"):
        SURGEON.calibrated(small_tflite, images(0, 1), tmp_path)
    first = SURGEON.layers(small_tflite)[0].name
    with pytest.raises(RefusedError, match="static_wi8_ai8 needs calibration samples"):
        SURGEON.apply(small_tflite, {first: STATIC}, tmp_path / "x.tflite")
    with pytest.raises(InputError, match="cannot be dynamic_wi8_afp32 in this format"):
        SURGEON.apply(small_tflite, {first: DYNAMIC}, tmp_path / "x.tflite")


def test_a_quantized_file_has_nothing_left_to_quantize(small_tflite, tmp_path):
    model = SURGEON.calibrated(small_tflite, images(4, 1), tmp_path)
    path = SURGEON.apply(model, {layer.name: STATIC for layer in model.layers}, tmp_path / "static.tflite")
    with pytest.raises(RefusedError, match=r"static.tflite has no operator that can be quantized \(CONV_2D, .* in float32\)"):
        SURGEON.layers(path)
