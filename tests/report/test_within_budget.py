"""The picture of what keeps the budget, and the block of the front page, on recorded results."""

import importlib.util

import pytest

from studylib.report import report
from studylib.report.figures.budget import within_budget
from tests import ROOT


def _of(ns: int, wrong: int = 0) -> tuple:
    answers = {"n": 1000, "agreeing": [True] * 1000, "correct": [True] * (1000 - wrong) + [False] * wrong}
    return ns, {}, 0, 90.0, {"evaluation": answers}


@pytest.fixture
def three(variants):
    """The quickest loses a tenth of the answers."""
    return variants({"fp32": _of(400_000), "fp16": _of(300_000), "static_wi8_ai8": _of(100_000, wrong=100)})


@pytest.fixture
def readme():
    spec = importlib.util.spec_from_file_location("update_readme", ROOT / "docs" / "update_readme.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _labels(results) -> list[str]:
    figure = within_budget(results).figure
    (axes,) = figure.axes
    return [label.get_text() for label in axes.get_yticklabels()][::-1]


def test_what_keeps_the_budget_is_drawn_in_the_order_of_its_medians(three):
    """The planted one, quicker and over the budget, is not there."""
    assert _labels(three) == ["onnxruntime fp16", "onnxruntime fp32"]
    alt = within_budget(three).alt
    assert alt.startswith("Interval plot. mnist_cnn: the lowest median is that of onnxruntime fp16, 0.3")


def test_the_baseline_is_drawn_whatever_stands_before_it(variants):
    """Before it and behind it."""
    many = {"fp32": _of(900_000)} | {f"fp16_{number}": _of(100_000 + 10_000 * number) for number in range(15)} | {"fp16": _of(2_000_000)}
    labels = _labels(variants(many))
    assert len(labels) == 12
    assert labels[-1] == "onnxruntime fp32"


def test_a_rehearsal_shows_no_order(recorded):
    assert within_budget(recorded()) is not None
    assert within_budget(recorded(native=False)) is None


def test_the_front_page_says_what_to_deploy_and_how_sure(variants, readme):
    results = variants({"fp32": _of(400_000), "fp16": _of(300_000)}, control=404_000)
    report.build(results)
    ground, table, picture = readme.content(results)
    assert ground.startswith("`")
    assert "Fit to measure: a trial against itself reads 0.99" in ground
    assert "| mnist_cnn | onnxruntime fp16 | 0.3" in table
    assert "1.3" in table
    assert "faster" in table
    assert "docs/example/within-budget.svg" in picture


def test_the_front_page_names_nobody_where_nobody_won(recorded, readme):
    results = recorded(native=False)
    report.build(results)
    _, table, *picture = readme.content(results)
    assert "none: this is a rehearsal" in table
    assert picture == []
