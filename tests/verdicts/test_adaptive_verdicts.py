import numpy as np
import pytest

from studylib.report.by_name import tables
from studylib.report.figures.sensitivity import sensitivity


def _of(ns: int, right: int, sqnr: float) -> tuple:
    """A variant with so many of a hundred answers right, of a thousand samples."""
    answers = {"n": 1000, "agreeing": [True] * 1000, "correct": [True] * (10 * right) + [False] * (1000 - 10 * right)}
    return ns, {}, right, sqnr, {"evaluation": answers}


FP32, STATIC = _of(400_000, 95, 90.0), _of(200_000, 80, 12.0)


def _row(results):
    (row,) = tables.adaptive(results).to_dict("records")
    return row


def test_it_wins_over_the_best_uniform_recipe_that_keeps_the_budget(variants):
    row = _row(variants({"fp32": FP32, "static_wi8_ai8": STATIC, "adaptive_wi8": _of(300_000, 95, 30.0)}))
    assert row["best uniform within budget"] == "onnxruntime fp32"
    assert row["over it"].startswith("1.3")
    assert row["over it"].endswith("faster")
    assert row["budget"] == "at most 1 points: kept"
    assert row["against the others"] == "faster than 1 of 2; slower than onnxruntime static_wi8_ai8 (over budget)"


def test_over_the_budget_is_said(variants):
    row = _row(variants({"fp32": FP32, "adaptive_wi8": _of(300_000, 90, 30.0)}))
    assert row["lost"] == "5.0 points of accuracy (n 1000), up to 6.4 within the interval"
    assert row["budget"] == "at most 1 points: OVER BUDGET"


@pytest.mark.parametrize(("most", "said"), [(0.05, "at most 5 points: kept"), (0.02, "at most 2 points: OVER BUDGET")])
def test_the_budget_is_the_one_that_was_given(variants, most, said):
    results = variants({"fp32": FP32, "adaptive_wi8": _of(300_000, 92, 30.0)}, most=most)
    assert _row(results)["budget"] == said


def test_without_fp32_nobody_knows_what_was_lost(variants):
    row = _row(variants({"static_wi8_ai8": STATIC, "adaptive_wi8": _of(300_000, 50, 30.0)}))
    assert row["lost"] == "not known: fp32 was not evaluated beside it"
    assert row["budget"] == "at most 1 points: not known"
    assert row["over fp32"] == "not timed"


def test_a_loss_is_judged_by_its_unfavourable_end(variants):
    """Four in a thousand lost, and perhaps nine: within a point. Eight, and perhaps fourteen: over it."""
    for wrong, said in ((4, "kept"), (8, "OVER BUDGET")):
        answers = {"n": 1000, "agreeing": [True] * 1000, "correct": [True] * (1000 - wrong) + [False] * wrong}
        rows = {"fp32": _of(400_000, 100, 90.0), "adaptive_wi8": (300_000, {}, 0, 30.0, {"evaluation": answers})}
        assert _row(variants(rows))["budget"] == f"at most 1 points: {said}"


def test_a_search_that_quantized_nothing_found_nothing_better(variants):
    ns, operators, right, sqnr, more = FP32
    same = (ns, operators, right, sqnr, more | {"sha256": "e" * 64})
    row = _row(variants({"fp32": same, "adaptive_wi8": (355_000, *same[1:])}))
    assert row["over fp32"] == "the search found nothing better: the same file as onnxruntime fp32"
    assert (row["over it"], row["against the others"]) == ("", "")


def test_a_search_that_could_not_win_is_shown_as_such(variants):
    row = _row(variants({"fp32": FP32, "adaptive_wi8": FP32}))
    assert row["over fp32"].endswith("cannot tell")
    assert row["against the others"] == "faster than 0 of 1"


@pytest.mark.parametrize(("sqnr", "kept"), [(25.0, "kept"), (15.0, "OVER BUDGET")])
def test_random_weights_are_held_to_fidelity(variants, sqnr, kept):
    row = _row(variants({"fp32": FP32, "adaptive_wi8": _of(300_000, 95, sqnr)}, weights="random"))
    assert row["budget"] == f"at least 20 dB: {kept}"
    assert row["lost"] == f"SQNR {sqnr:.1f} dB (n 1000)"


def test_without_adaptive_recipes_there_is_no_row(variants):
    assert tables.adaptive(variants({"fp32": FP32, "static_wi8_ai8": STATIC})).empty


SEARCH = {
    "model": "mnist_cnn", "format": "onnx", "digest": "b", "layers": {"first": "static_wi8_ai8"},
    "facts": {"budget_words": "at most 1 point", "within_budget": True, "why": "1 of 2 layers quantized", "stopped_by": "time limit"},
    "ranked_on": 32, "ranking": "", "sensitivity": [
        {"layer": "last", "operator": "Gemm", "parameters": 10, "precision": "static_wi8_ai8",
         "alone_quantized": {"sqnr_db": 9.0, "loss": 0.05}, "alone_float": {"sqnr_db": 30.0, "loss": 0.0}},
        {"layer": "first", "operator": "Conv", "parameters": 20, "precision": "static_wi8_ai8",
         "alone_quantized": {"sqnr_db": 31.0, "loss": None}, "alone_float": {"sqnr_db": 9.5, "loss": 0.05}},
    ],
    "steps": [
        {"what": "time of each layer", "times": None, "seconds": 0.1},
        {"what": "all fp32", "digest": "a", "quantized": 0, "sqnr_db": None, "loss": 0.0, "ratio": None},
        {"what": "first static_wi8_ai8", "digest": "b", "quantized": 1, "sqnr_db": 31.0, "loss": 0.0, "ratio": 1.31, "ratio_low": 1.2,
         "ratio_high": 1.4, "rounds": 8},
    ],
}  # fmt: skip


def test_layers_are_ranked_and_say_what_was_chosen(variants):
    results = variants({"fp32": FP32}, searches={"k": SEARCH})
    table = tables.layers(results)
    assert list(table.layer) == ["last", "first"]
    assert list(table.chosen) == ["fp32", "static_wi8_ai8"]
    assert list(table.loss) == ["5.0 points", ""]
    assert list(table.n) == [32, 32]
    made = sensitivity(results)
    figure, alt = made.figure, made.alt
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["Conv first", "Gemm last"]
    assert "last (Gemm) with 9.0 dB" in alt


def test_every_step_of_a_search_is_shown_and_the_chosen_one_marked(variants):
    results = variants({"fp32": FP32}, searches={"k": SEARCH})
    table = tables.searches(results)
    assert list(table.chosen) == ["", "●"]
    assert list(table["speed-up over fp32"]) == ["not timed", "1.31x [1.20, 1.40], 8 rounds"]
    (verdict,) = tables.found(results).to_dict("records")
    assert (verdict["within budget"], verdict["ranked"]) == ("yes", "every layer")


def test_a_given_assignment_was_not_judged(variants):
    given = SEARCH | {"sensitivity": [], "steps": [], "facts": SEARCH["facts"] | {"within_budget": None}}
    (verdict,) = tables.found(variants({"fp32": FP32}, searches={"k": given})).to_dict("records")
    assert verdict["within budget"] == "not judged"


def test_outputs_that_are_not_finite_are_ranked_and_drawn(variants):
    broken = SEARCH["sensitivity"][0] | {"alone_quantized": {"sqnr_db": "-inf", "loss": 1.0}}
    results = variants({"fp32": FP32}, searches={"k": SEARCH | {"sensitivity": [broken]}})
    assert tables.layers(results)["alone quantized, dB"][0] == -np.inf
    assert sensitivity(results) is not None


def test_without_a_search_there_is_nothing_to_draw(variants):
    results = variants({"fp32": FP32})
    assert sensitivity(results) is None
    assert tables.layers(results).empty
    assert tables.searches(results).empty
    assert tables.found(results).empty


def test_a_gain_within_the_noise_of_the_run_is_none(variants):
    """The A/A control reads as much where there is no difference."""
    rows = {"fp32": _of(400_000, 95, 90.0), "adaptive_wi8": _of(385_000, 95, 30.0)}
    assert _row(variants(rows))["over fp32"].endswith("faster")
    row = _row(variants(rows, control=370_000))
    assert "cannot tell: within this run's noise [0.9" in row["over fp32"]
    assert row["against the others"] == "faster than 0 of 1"


def test_a_ranking_that_was_cut_short_says_so_in_the_figure(variants):
    cut = SEARCH | {"ranking": "the first 2 of 50 layers, for lack of time: 1 s each; EFFORT=full ranks more"}
    figure = sensitivity(variants({"fp32": FP32}, searches={"k": cut})).figure
    assert figure.axes[0].get_title() == "mnist_cnn, onnx (the first 2 of 50 layers)"
