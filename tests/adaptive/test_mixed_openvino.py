import numpy as np
import pytest

from studylib import stats
from studylib.adaptive import FORMATS, Budget, SearchTask, search
from studylib.errors import InputError, RefusedError
from studylib.quality.answers import stacked
from studylib.recipes.convert.to_openvino import openvino_without_telemetry
from studylib.recipes.quantize.openvino import quantized
from tests.adaptive.small_models import SIZE, samples

STATIC = "static_wi8_ai8"
SURGEON = FORMATS["openvino"]
FIRST, SECOND, THIRD, HEAD = "Convolution 1", "Convolution 2", "GroupConvolution 3", "MatMul 4"


def write_openvino(folder, scale: float = 1.0):
    """Two convolutions that are added, a depthwise one, pooling and a product; the second's weights reach ``scale`` times as far."""
    openvino = openvino_without_telemetry()
    from openvino import opset13 as ov

    rng = np.random.default_rng(5)

    def weights(*shape, of: float = 0.3):
        return ov.constant((of * rng.normal(size=shape)).astype(np.float32))

    def convolved(values, kernel, bias: int):
        made = ov.convolution(values, kernel, [1, 1], [1, 1], [1, 1], [1, 1])
        return ov.relu(ov.add(made, weights(1, bias, 1, 1)))

    image = ov.parameter([-1, SIZE, SIZE, 3], np.float32, name="image")
    image.output(0).set_names({"image"})
    turned = ov.transpose(image, ov.constant(np.array([0, 3, 1, 2])))
    first = convolved(turned, weights(16, 3, 3, 3), 16)
    kernel = (0.1 * rng.normal(size=(16, 16, 3, 3))).astype(np.float32)
    kernel[:, 0] *= scale
    second = convolved(first, ov.constant(kernel), 16)
    joined = ov.add(first, second)
    deep = ov.group_convolution(joined, weights(16, 1, 1, 3, 3), [1, 1], [1, 1], [1, 1], [1, 1])
    pooled = ov.reduce_mean(deep, ov.constant(np.array([2, 3])), keep_dims=False)
    scores = ov.matmul(pooled, weights(16, 5, of=1.0), False, False)
    scores.output(0).set_names({"scores"})
    openvino.save_model(openvino.Model([scores], [image], "small"), folder / "model.xml", compress_to_fp16=False)
    return folder


def images(n: int, seed: int):
    values = samples(n, seed)
    values.inputs["image"] = np.ascontiguousarray(values.inputs["image"].transpose(0, 2, 3, 1))
    return values


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return write_openvino(tmp_path_factory.mktemp("openvino"))


@pytest.fixture(scope="module")
def model(small, tmp_path_factory):
    return SURGEON.calibrated(small, images(20, 1), tmp_path_factory.mktemp("calibrated"))


def answers(path, of=None) -> np.ndarray:
    return stacked(SURGEON.open(path, 1), of or images(8, 2))["scores"]


def precisions(path) -> list[tuple[str, str]]:
    """(kind, what the processor computes it in) of each layer."""
    compiled = openvino_without_telemetry().Core().compile_model(path / "model.xml", "CPU")
    steps = [step.get_rt_info() for step in compiled.get_runtime_model().get_ordered_ops()]
    told = [(str(step["layerType"].value), str(step["runtimePrecision"].value)) for step in steps]
    return [one for one in told if one[0] in ("Convolution", "GroupConvolution", "FullyConnected", "MatMul")]


def quantizers(path) -> int:
    return [node.get_type_name() for node in read(path).get_ordered_ops()].count("FakeQuantize")


def read(path):
    return openvino_without_telemetry().Core().read_model(path / "model.xml")


def test_layers_by_kind_and_place(small):
    layers = SURGEON.layers(small)
    assert [(layer.name, layer.operator, layer.parameters) for layer in layers] == [
        (FIRST, "Convolution", 16 * 27),
        (SECOND, "Convolution", 16 * 144),
        (THIRD, "GroupConvolution", 144),
        (HEAD, "MatMul", 80),
    ]
    assert {layer.precisions for layer in layers} == {("fp32", STATIC)}


def test_all_static_is_what_the_recipe_makes(small, model, tmp_path):
    whole = SURGEON.apply(model, dict.fromkeys((FIRST, SECOND, THIRD, HEAD), STATIC), tmp_path / "whole")
    made = quantized(read(small), images(20, 1))
    openvino_without_telemetry().save_model(made, tmp_path / "model.xml", compress_to_fp16=False)
    np.testing.assert_array_equal(answers(whole), answers(tmp_path))
    assert quantizers(whole) == quantizers(tmp_path)


def test_nothing_static_is_the_float_file(small, model, tmp_path):
    plain = SURGEON.apply(model, {FIRST: "fp32"}, tmp_path / "plain")
    np.testing.assert_array_equal(answers(small), answers(plain))
    assert quantizers(plain) == 0


@pytest.mark.parametrize("chosen", [(FIRST,), (SECOND,), (THIRD,), (FIRST, SECOND), (FIRST, SECOND, THIRD)], ids=len)
def test_the_chosen_layers_compute_in_integers_and_no_other(small, model, tmp_path, chosen):
    mixed = SURGEON.apply(model, dict.fromkeys(chosen, STATIC), tmp_path / "mixed")
    # Signed or not depends on what comes in; the names are the plugin's own.
    in_integers = [precision in ("u8", "i8") for _, precision in precisions(mixed)]
    assert in_integers == [name in chosen for name in (FIRST, SECOND, THIRD, HEAD)]
    assert 20 < stats.sqnr_db(answers(small), answers(mixed)) < 80


def test_what_stays_float_keeps_its_own_weights_and_biases(small, model, tmp_path):
    mixed = SURGEON.apply(model, {SECOND: STATIC}, tmp_path / "mixed")

    def held(path) -> list[bytes]:
        nodes = [node for node in read(path).get_ordered_ops() if node.get_type_name() == "Constant"]
        return [np.asarray(node.data).tobytes() for node in nodes if np.asarray(node.data).size > 4]

    kept = [content for content in held(small) if content in held(mixed)]
    # Of the weights and biases only the second layer's are others: its kernel, and its bias, which is corrected.
    assert len(held(small)) - len(kept) == 2


def test_an_addition_between_static_layers_stays_in_integers(model, tmp_path):
    together = SURGEON.apply(model, dict.fromkeys((FIRST, SECOND, THIRD), STATIC), tmp_path / "together")
    apart = SURGEON.apply(model, dict.fromkeys((FIRST, THIRD), STATIC), tmp_path / "apart")
    # Image, between the first two, both sides of the addition, behind it; of the second file the image and behind the addition.
    assert quantizers(apart) == 2
    assert quantizers(together) >= 4


def test_times_of_every_layer(model, tmp_path):
    queries = [images(4, 1).batch(index, 1) for index in range(4)]
    for chosen in ((), (FIRST, SECOND), (FIRST, SECOND, THIRD, HEAD)):
        path = SURGEON.apply(model, dict.fromkeys(chosen, STATIC), tmp_path / str(len(chosen)))
        times = SURGEON.layer_times(model, path, queries, 1)
        assert len(times) >= 0.8 * 4 and set(times) <= {FIRST, SECOND, THIRD, HEAD}
        assert all(0 <= value < 1 for value in times.values())


def test_static_needs_calibration(small, tmp_path):
    with pytest.raises(RefusedError, match=f"{STATIC} needs calibration samples; calibrate the model first"):
        SURGEON.apply(small, {FIRST: STATIC}, tmp_path / "mixed")


def test_a_layer_that_is_not_there_and_a_precision_that_it_has_not(model, tmp_path):
    with pytest.raises(InputError, match=r"no layer 'Convolution 9'; it has 4, first 'Convolution 1'"):
        SURGEON.apply(model, {"Convolution 9": STATIC}, tmp_path / "mixed")
    with pytest.raises(InputError, match=r"cannot be dynamic_wi8_afp32 in this format; it can be fp32, static_wi8_ai8"):
        SURGEON.apply(model, {FIRST: "dynamic_wi8_afp32"}, tmp_path / "mixed")


def test_a_file_without_layers_is_refused(tmp_path):
    openvino = openvino_without_telemetry()
    from openvino import opset13 as ov

    x = ov.parameter([1, 4], np.float32)
    openvino.save_model(openvino.Model([ov.relu(x)], [x], "none"), tmp_path / "model.xml")
    with pytest.raises(RefusedError, match="has no operator that can be quantized"):
        SURGEON.layers(tmp_path)


def test_a_search_leaves_float_what_costs_too_much(tmp_path):
    (tmp_path / "small").mkdir()
    path = write_openvino(tmp_path / "small", scale=400.0)
    held_back = images(40, 2)
    reference = {"scores": answers(path, held_back)}
    task = SearchTask(path, "openvino", images(20, 1), held_back, reference, "other", tmp_path)
    found = search(task, Budget(None, 30.0), 20.0, 1, tmp_path / "trace.jsonl", 0)
    noise = {step["digest"]: step["sqnr_db"] for step in found.steps if step["what"] == "all static_wi8_ai8"}
    assert max(noise.values()) < 30, "all in int8 would keep the budget: this model shows nothing"
    assert found.within_budget
    assert found.assignment.format == "openvino"
    assert found.assignment.facts["packages"].keys() == {"openvino", "nncf"}
