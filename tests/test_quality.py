import numpy as np
import pytest

from studylib import quality

RNG = np.random.default_rng(0)
REFERENCE = RNG.dirichlet(np.full(10, 0.1), size=500)
LABELS = REFERENCE.argmax(1)


def _why_not(outputs, precision="fp32"):
    return quality.why_not_same(quality.metrics(outputs, REFERENCE, LABELS), precision)


def test_the_same_model_passes():
    assert _why_not(REFERENCE) is None
    assert _why_not(REFERENCE * (1 + 1e-5)) is None


@pytest.mark.parametrize("precision", ["fp32", "fp16", "dynamic_wi8_afp32", "static_wi8_ai8"])
@pytest.mark.parametrize(
    "wrong",
    [np.zeros_like(REFERENCE), REFERENCE[:, ::-1], REFERENCE[::-1], np.full_like(REFERENCE, 0.1), 1 - REFERENCE, np.roll(REFERENCE, 1, 1)],
    ids=["zeroed", "classes swapped", "samples swapped", "uniform", "inverted", "shifted"],
)
def test_a_wrong_model_is_caught_at_every_precision(wrong, precision):
    assert _why_not(wrong, precision).startswith("parity:")


def test_a_small_error_is_caught_where_only_rounding_is_allowed():
    noisy = REFERENCE + RNG.normal(0, 0.003, REFERENCE.shape)
    assert "fp32 needs 60 dB" in _why_not(noisy, "fp32")
    assert _why_not(noisy, "static_wi8_ai8") is None


def test_a_planted_wrong_class_is_caught():
    spoiled = REFERENCE.copy()
    spoiled[:10] = np.roll(spoiled[:10], 1, axis=1)
    assert _why_not(spoiled, "fp32") is not None


def test_nan_is_caught():
    spoiled = REFERENCE.copy()
    spoiled[3, 3] = np.nan
    assert _why_not(spoiled) == "parity: outputs hold NaN or infinity"


def test_outputs_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"outputs have the shape \(500, 9\), the source model's have \(500, 10\)"):
        quality.metrics(REFERENCE[:, :9], REFERENCE, LABELS)


def test_without_labels_there_is_no_accuracy():
    assert "correct" not in quality.metrics(REFERENCE, REFERENCE, None)
    assert sum(quality.metrics(REFERENCE, REFERENCE, LABELS)["correct"]) == 500
