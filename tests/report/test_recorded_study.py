"""A recorded study is told as it was: every table, every sentence, the numbers of every figure.

A change that is meant: ``python -m tests.report.recorded_study``, and the difference is part of the commit.
"""

import numpy as np
import pytest

from tests.report.recorded_study import STUDIES, told, told_of, unpacked


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] if name == "all" else []) for name in STUDIES])
def test_everything_is_told_as_it_was(name, tmp_path):
    lines, wanted = told(unpacked(name, tmp_path)).splitlines(), told_of(name).read_text(encoding="utf-8").splitlines()
    for number, (line, other) in enumerate(zip(lines, wanted, strict=False)):
        assert _same(line, other), f"line {number + 1} of {name}.txt"
    assert len(lines) == len(wanted)


def _same(line: str, other: str) -> bool:
    """Equal words; numbers that stand alone may differ in their last digits, as another processor's arithmetic leaves them."""
    words, others = line.split(" "), other.split(" ")
    return len(words) == len(others) and all(one == two or _near(one, two) for one, two in zip(words, others, strict=True))


def _near(one: str, two: str) -> bool:
    try:
        return bool(np.isclose(float(one), float(two), rtol=1e-4, atol=1e-9, equal_nan=True))
    except ValueError:
        return False


def test_the_comparison_sees_a_changed_word_and_a_changed_number():
    assert _same("points 1.2345 nan", "points 1.23451 nan")
    assert not _same("points 1.2345", "points 1.2545")
    assert not _same("faster 2.1x", "slower 2.1x")
    assert not _same("a b", "a b c")
