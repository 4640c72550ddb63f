"""Samples that would give meaningless ranges are refused with what was found; what is only odd becomes a note."""

import numpy as np
import pytest

from studylib.errors import RefusedError
from studylib.models.zoo import Samples
from studylib.recipes.quantize import onnx
from studylib.recipes.quantize.calibration_check import check, onnx_inputs
from tests.recipes.onnx_models import convolutional, save

WANTED = {"image": [None, 4, 4], "mask": [None, 2]}


def given(**changes) -> Samples:
    rng = np.random.default_rng(0)
    inputs = {"image": rng.normal(size=(5, 4, 4)).astype(np.float32), "mask": rng.integers(0, 2, (5, 2))}
    return Samples({name: np.asarray(values) for name, values in (inputs | changes).items() if values is not None}, None)


def test_good_samples_pass_without_a_note():
    assert check(given(), WANTED) == {}
    assert check(given(image=np.float32(np.arange(16).reshape(1, 4, 4)), mask=np.ones((1, 2))), WANTED | {"image": None})


@pytest.mark.parametrize("samples", [Samples({}, None), given(image=np.zeros((0, 4, 4), np.float32), mask=np.zeros((0, 2)))])
def test_none_at_all(samples):
    with pytest.raises(RefusedError, match=r"calibration data is empty: .* give at least one training sample"):
        check(samples, WANTED)


def test_a_missing_input_is_named():
    with pytest.raises(RefusedError, match=r"has the inputs \['image'\]; the model takes \['image', 'mask'\]"):
        check(given(mask=None), WANTED)


@pytest.mark.parametrize(("shape", "told"), [((5, 4, 3), "1×4×3"), ((5, 4, 4, 1), "1×4×4×1"), ((5,), "1")])
def test_a_wrong_shape_is_told_with_the_wanted(shape, told):
    with pytest.raises(RefusedError, match=rf"the input 'image' has the shape {told} a query; the model takes any×4×4"):
        check(given(image=np.ones(shape, np.float32)), WANTED)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_counted_and_placed(bad):
    image = given().inputs["image"]
    image[3, 0, :2] = bad
    with pytest.raises(RefusedError, match="the input 'image' holds 2 values that are NaN or infinite in sample 3: "):
        check(given(image=image), WANTED)


def test_samples_that_never_vary():
    with pytest.raises(RefusedError, match=r"calibration data never varies \('image' is always 0.5\): ranges made from it are empty"):
        check(given(image=np.full((5, 4, 4), 0.5, np.float32)), WANTED)


def test_one_input_of_several_that_never_varies_is_a_note():
    notes = check(given(mask=np.ones((5, 2), np.float32)), WANTED)
    assert notes == {"calibration": "the input 'mask' is always 1"}


def test_equal_samples_are_a_note():
    same = given()
    notes = check(given(**{name: np.repeat(values[:1], 5, 0) for name, values in same.inputs.items()}), WANTED)
    assert notes == {"calibration": "all 5 samples are equal, so ranges are those of one sample"}


def test_integer_inputs_alone_may_be_constant():
    assert check(Samples({"mask": np.ones((1, 2), np.int64)}, None), {"mask": [1, 2]}) == {}


def test_shapes_are_read_from_the_file(tmp_path):
    assert onnx_inputs(convolutional(tmp_path / "m.onnx")) == {"x": [None, 3, 8, 8]}
    assert onnx_inputs(save(tmp_path / "n.onnx", [("Relu", ["x"], ["y"], {})], {}, None)) == {"x": None}


def test_every_calibrated_onnx_recipe_checks(tmp_path):
    (tmp_path / "content").mkdir()
    wrong = Samples({"x": np.ones((2, 8, 8, 3), np.float32)}, None)
    with pytest.raises(RefusedError, match="the input 'x' has the shape 1×8×8×3 a query; the model takes any×3×8×8"):
        onnx.Static().write(convolutional(tmp_path / "m.onnx"), tmp_path / "content", wrong)
