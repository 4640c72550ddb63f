"""Answers on a grid of whole numbers: one unit, shares and steps, and one step too many is caught."""

import numpy as np
import pytest

from studylib.artifacts import arrays
from studylib.formats.inside.grids import Grid
from studylib.quality import integer_parity, parity
from studylib.quality.criteria import Criteria

GRID = Grid(scale=0.5, zero_point=3, dtype="uint8", stored=True)
RNG = np.random.default_rng(0)
WHOLE = RNG.integers(20, 230, (40, 10)).astype(np.uint8)


def rounded(whole: np.ndarray, share: float = 0.1) -> np.ndarray:
    """Whole numbers of which a share is one step off, to either side alike."""
    off = np.random.default_rng(1).choice([-1, 0, 1], whole.shape, p=[share / 2, 1 - share, share / 2])
    return (whole.astype(int) + off).astype(np.uint8)


def found(whole: np.ndarray) -> dict:
    return integer_parity.steps([("y", GRID.real(whole), GRID.real(WHOLE))], {"y": GRID.to_json()})


def test_whole_numbers_and_real_ones_are_one_unit():
    grids = {"y": GRID.to_json()}
    real = integer_parity.real({"y": WHOLE}, grids, ["y"])["y"]
    assert real.dtype == np.float32 and np.array_equal(real, (WHOLE.astype(float) - 3) * 0.5)
    assert integer_parity.real({"y": real}, grids, ["y"])["y"] is real
    # A runtime that renamed the outputs keeps their order.
    renamed = integer_parity.real({"first": WHOLE, "second": WHOLE}, grids, ["x", "y"])
    assert renamed["first"] is WHOLE and np.array_equal(renamed["second"], real)


def test_whole_numbers_come_back_from_real_ones():
    assert np.array_equal(GRID.whole(GRID.real(WHOLE)), WHOLE)
    assert GRID.whole(np.array([-1e9, 1e9])).tolist() == [0, 255]
    assert GRID.bounds == (-1.5, 126.0)


def test_rounding_to_both_sides_is_the_same_model_and_is_counted():
    one = found(rounded(WHOLE))["y"]
    assert 0.85 < one["equal"] < 0.95 and one["within"] == 1 and one["largest"] == 1
    assert integer_parity.why_not_same(found(rounded(WHOLE))) is None
    assert integer_parity.told(found(rounded(WHOLE))) == f"{100 * one['equal']:.1f} % of whole numbers equal, all within 1 step"
    assert integer_parity.told(found(WHOLE)) == "100.0 % of whole numbers equal"
    assert integer_parity.told({}) == ""


def test_one_integer_step_too_many_is_caught():
    reason = integer_parity.why_not_same(found(WHOLE + 1))
    assert reason == (
        "parity: the whole numbers of output 'y' lie +1.00 steps beside the source model's in the mean; rounding alone stays within 0.25"
    )
    assert "-1.00 steps beside" in integer_parity.why_not_same(found(WHOLE - 1))
    # Rounding does not hide it.
    assert "steps beside" in integer_parity.why_not_same(found(rounded(WHOLE, 0.4) + 1))


def test_steps_to_both_sides_that_no_rounding_makes_are_caught():
    far = (WHOLE.astype(int) + np.random.default_rng(2).choice([-2, 2], WHOLE.shape)).astype(np.uint8)
    assert "0.0 % of the whole numbers of output 'y' lie within one step" in integer_parity.why_not_same(found(far))


@pytest.fixture
def judge(tmp_path):
    """`parity.judged` against a reference of whole numbers on `GRID`."""
    arrays.save(tmp_path / "reference", {"y": GRID.real(WHOLE)}, {"grids": {"y": GRID.to_json()}})
    criteria, wanted = Criteria("int8", "other", True, "real"), parity.Wanted(tmp_path / "reference", tmp_path / "reference")
    return lambda values: parity.judged({"y": values}, None, wanted, criteria, parity.Ran("CPU", {}, None))


def test_an_evaluation_tells_steps_and_passes_what_rounds(judge):
    evaluation = judge(rounded(WHOLE))
    assert evaluation["status"] == "ok" and evaluation["steps"]["y"]["largest"] == 1
    assert evaluation["sqnr"] > 40  # whole numbers were held against real ones: 0 dB and less


def test_an_evaluation_catches_one_step_too_many_where_its_decibels_do_not(judge):
    evaluation = judge(WHOLE + 1)
    assert evaluation["sqnr"] > 35 and evaluation["status"] == "failed"
    assert evaluation["reason"].startswith("parity: the whole numbers of output 'y' lie +1.00 steps beside")


def test_another_model_of_the_same_precision_fails(judge):
    evaluation = judge(np.random.default_rng(5).integers(20, 230, WHOLE.shape).astype(np.uint8))
    assert evaluation["status"] == "failed" and "int8 needs 20 dB" in evaluation["reason"]
