import pytest
from matplotlib.collections import PathCollection

from studylib.report.by_name import tables
from studylib.report.figures.precisions import precisions
from studylib.report.figures.trade_off import trade_off
from studylib.verdicts import compare
from studylib.verdicts.findings import Findings
from studylib.verdicts.variants import family as family_of
from studylib.verdicts.variants import variants as every_variant
from tests.recorded_results import measurement, small_study


def _why(results, recipe, start) -> str:
    (row,) = [row for row in tables.why(results).itertuples() if row.recipe == recipe and row.what.startswith(start)]
    return row.why


def test_the_front_holds_what_no_other_beats_in_both(variants):
    conv = {"Conv": 3}
    results = variants(
        {
            "fp32": (400_000, conv, 95, 90.0, {}), "fp16": (500_000, conv, 95, 60.0, {}),
            "static_wi8_ai8": (200_000, conv, 90, 20.0, {}), "dynamic_wi8_afp32": (300_000, conv, 85, 20.0, {}),
        }
    )  # fmt: skip
    table = tables.techniques(results).set_index("recipe")
    assert list(table.index[table.front == "●"]) == ["fp32", "static_wi8_ai8"]
    assert table.loc["static_wi8_ai8", "times smaller"] == pytest.approx(3, rel=0.01)
    assert table.loc["static_wi8_ai8", "gzip_kb"] == 1
    assert table.loc["static_wi8_ai8", "change"].startswith("-5.0 [-")
    assert table.loc["static_wi8_ai8", "change"].endswith("] points, p 0.062")
    assert table.loc["static_wi8_ai8", "against fp32"].endswith("faster")
    assert table.loc["fp16", "against fp32"].endswith("slower")
    assert table.loc["fp32", "against fp32"] == ""


def test_a_variant_that_was_not_timed_is_a_row_that_says_why(variants):
    failed = {"evaluation": {"status": "failed", "reason": "parity: SQNR 3.0 dB against the source model; at layer x"}}
    results = variants({"fp32": (400_000, {}, 95, 90.0, {}), "static_wi8_ai8": (0, {}, 20, 3.0, failed)})
    row = tables.techniques(results).set_index("recipe").loc["static_wi8_ai8"]
    assert row.status.startswith("failed: parity: SQNR 3.0 dB")
    assert row.p50_ms == "–"
    assert row.front == ""
    refused = [what for what in tables.why(results).what if what.startswith("refused")]
    assert refused == ["refused by the parity gate: SQNR 3.0 dB against the source model"]


def test_random_weights_are_judged_by_agreement(variants):
    results = variants({"fp32": (400_000, {}, 95, 90.0, {})}, weights="random")
    assert tables.techniques(results).quality[0].startswith("agreement 100.0")


@pytest.mark.parametrize(
    ("recipe", "family"),
    [
        ("fp16", "float"), ("static_wi8_ai8_entropy", "post-training quantization"), ("qat_wi8_ai8", "quantization-aware training"),
        ("pruned_qat_wi8_ai8", "quantization-aware training"), ("pruned_2by4_static_wi8_ai8", "pruning"), ("clustered16", "clustering"),
        ("pruned_channels50", "structured pruning"), ("student_half", "distillation"), ("adaptive_wi8", "adaptive"),
    ],
)  # fmt: skip
def test_every_recipe_belongs_to_a_kind_of_technique(recipe, family):
    assert family_of(recipe) == family


SLOWER = {
    "dynamic_wi8_afp32": ({"ConvInteger": 4, "DynamicQuantizeLinear": 5}, {}, "4 convolutions became ConvInteger"),
    "static_wi8_ai8": (
        {"Conv": 3},
        {"islands": {"operators": [{"type": "Softmax", "name": "s", "where": "between"}], "count": 1, "quantize": 2, "dequantize": 3}},
        "operators left in float between integer ones (1 Softmax): 5 conversions between the two",
    ),
    "fp16": ({"Conv": 3, "Cast": 6}, {}, "ONNX Runtime has no float16 kernels for x86: it computes in float32"),
    "weight_only_wi8_afp32": ({"Conv": 3, "DequantizeLinear": 4}, {}, "expanded to float in every inference (4 more dequantizers)"),
    "static_wi8_ai8_per_tensor": ({"Conv": 3, "Transpose": 2}, {}, "2 more transpositions"),
}  # fmt: skip


@pytest.mark.parametrize("recipe", SLOWER)
def test_a_slower_variant_is_explained_from_its_file(variants, recipe):
    operators, more, words = SLOWER[recipe]
    results = variants({"fp32": (400_000, {"Conv": 3}, 95, 90.0, {}), recipe: (800_000, operators, 95, 40.0, more)})
    assert words in _why(results, recipe, "slower: 0.")


def test_zeros_that_no_kernel_skips_explain_why_pruning_brought_no_speed(variants):
    more = {"notes": {"sparsity": 0.5}}
    results = variants({"fp32": (400_000, {"Conv": 3}, 95, 90.0, {}), "pruned_2by4": (400_000, {"Conv": 3}, 95, 40.0, more)})
    assert (
        _why(results, "pruned_2by4", "no faster: ")
        == "50% of the weights are zero, but no kernel here skips them: 1,000 multiply-accumulates as before"
    )
    results = variants({"fp32": (400_000, {"Conv": 3}, 95, 90.0, {}), "clustered16": (400_000, {"Conv": 3}, 95, 40.0, more)})
    assert _why(results, "clustered16", "no faster: ").startswith("weights repeat, but no kernel here")


def test_dependent_samples_carry_no_test(variants):
    more = {"evaluation": {"independent": False}}
    results = variants({"fp32": (400_000, {}, 95, 90.0, more), "static_wi8_ai8": (200_000, {}, 75, 12.0, more)})
    row = tables.techniques(results).set_index("recipe").loc["static_wi8_ai8"]
    assert row.change == "-20.0 points (samples depend on each other: no test)"
    (told,) = tables.why(results).what
    assert told == "worse: -20.0 points of accuracy (samples depend on each other: no test)"


def test_the_same_file_stands_on_the_front_once_and_is_no_rival_of_itself(variants):
    """A search that quantized nothing: fp32 looks 1.13 times slower than itself, by noise."""
    same = {"sha256": "e" * 64}
    results = variants({"adaptive_wi8": (355_000, {}, 95, 90.0, same), "fp32": (400_000, {}, 95, 90.0, same)})
    table = tables.techniques(results).set_index("recipe")
    assert table.loc["fp32", "front"] == "●"
    row = table.loc["adaptive_wi8"]
    assert (row.front, row["against fp32"], row.status) == ("", "", "the same file as fp32")
    assert tables.why(results).empty
    made = trade_off(results)
    figure, alt = made.figure, made.alt
    assert "of 1 variants these are on the Pareto front" in alt
    assert len(figure.axes[0].collections) == len(trade_off(variants({"fp32": (400_000, {}, 95, 90.0, same)})).figure.axes[0].collections)


def test_what_may_have_lost_more_than_the_budget_is_said_and_drawn_hollow(variants):
    answers = {"evaluation": {"n": 1000, "agreeing": [True] * 1000, "correct": [True] * 1000}}
    some = {"evaluation": {"n": 1000, "agreeing": [True] * 1000, "correct": [True] * 992 + [False] * 8}}
    rows = {
        "fp32": (400_000, {}, 0, 90.0, answers),
        "fp16": (350_000, {}, 0, 90.0, answers),
        "static_wi8_ai8": (200_000, {}, 0, 40.0, some),
    }
    results = variants(rows)
    assert list(tables.techniques(results).budget) == ["kept", "kept", "OVER BUDGET"]
    marks = [one.get_facecolor()[0][:3] for one in _marks(trade_off(results).figure)]
    assert [tuple(mark) == (1.0, 1.0, 1.0) for mark in marks] == [False, False, True]


def test_a_mark_of_the_trade_off_and_its_bar_are_one_estimate(tmp_path):
    """The median of all values and the mean of the repetitions' medians differ where repetitions do."""
    results = small_study(tmp_path)
    slow = results.plan()[0]
    for repetition in range(8):
        results.record(measurement(slow, repetition, [100_000 if repetition < 3 else 400_000] * 200, campaign=2))
    row = results.table().set_index(["trial_id", "metric"]).loc[(slow.id, "latency_p50")]
    panel = trade_off(results).figure.axes[0]
    assert 0.4 in [mark.get_offsets()[0][0] for mark in _marks(panel.figure)]
    bars = [tuple(line.get_xdata()) for line in panel.lines if len(line.get_xdata()) == 2 and len(set(line.get_ydata())) == 1]
    assert (row.ci_low / 1e6, row.ci_high / 1e6) in bars
    assert compare.typical_ns(results.measurements(slow.id)) / 1e6 == pytest.approx(0.238, abs=0.001)  # not what is drawn


def _marks(figure) -> list:
    """The collections of marks in a figure's first panel; bars of errors are lines."""
    return [one for one in figure.axes[0].collections if isinstance(one, PathCollection)]


def test_equals_in_different_files_stand_on_the_front_together(variants):
    results = variants({"fp32": (400_000, {}, 95, 90.0, {}), "adaptive_wi8": (400_000, {}, 95, 90.0, {})})
    assert list(tables.techniques(results).front) == ["●", "●"]


def test_a_refusal_is_not_explained_by_lessons(variants):
    failed = {"evaluation": {"status": "failed", "reason": "parity: SQNR 3.0 dB against the source model"}, "notes": {"taught": "labels"}}
    results = variants({"fp32": (400_000, {}, 95, 90.0, {}), "pruned_2by4_static_wi8_ai8": (0, {}, 95, 3.0, failed)})
    assert "taught" not in _why(results, "pruned_2by4_static_wi8_ai8", "refused by the parity gate")


@pytest.mark.parametrize("recipe", ["fp16", "static_wi8_ai8"])
def test_an_unknown_processor_is_never_blamed(variants, recipe):
    rows = {
        "fp32": (400_000, {}, 95, 90.0, {}), recipe: (800_000, {"Cast": 4}, 40, 9.0, {}),
        "static_wi8_ai8_reduce_range": (300_000, {}, 94, 25.0, {}),
    }  # fmt: skip
    assert not tables.why(variants(rows, isa=())).why.str.contains("processor").any()


def test_without_evidence_it_says_so(variants):
    results = variants({"fp32": (400_000, {"Conv": 3}, 95, 90.0, {}), "static_wi8_ai8": (800_000, {"Conv": 3}, 95, 40.0, {})})
    assert _why(results, "static_wi8_ai8", "slower") == "not known: neither its operators nor its neighbours tell"


def test_a_hybrid_file_quantizes_inside_its_operators(variants):
    islands = {"operators": [{"type": "MEAN", "name": "m", "where": "between"}], "count": 1, "quantize": 0, "dequantize": 0}
    rows = {"fp32": (400_000, {}, 95, 90.0, {}), "dynamic_wi8_afp32": (800_000, {}, 95, 40.0, {"islands": islands})}
    told = _why(variants(rows, runtime="litert", format="tflite"), "dynamic_wi8_afp32", "slower")
    assert told == "every operator with int8 weights quantizes its activations anew in every inference"


def test_a_faster_variant_needs_no_excuse(variants):
    results = variants({"fp32": (400_000, {"Conv": 3}, 95, 90.0, {}), "static_wi8_ai8": (200_000, {"ConvInteger": 3}, 95, 40.0, {})})
    assert tables.why(results).empty


def test_small_models_pay_for_every_operator(variants):
    results = variants({"fp32": (40_000, {"Conv": 3}, 95, 90.0, {}), "static_wi8_ai8": (80_000, {"Conv": 3, "Softmax": 4}, 95, 40.0, {})})
    assert "at 40 µs an inference the fixed cost of each operator counts: 7 operators instead of 3" in _why(
        results, "static_wi8_ai8", "slower"
    )


def test_a_processor_without_vnni_is_a_reason_and_one_with_it_is_none(variants):
    islands = {"islands": {"operators": [], "count": 0, "quantize": 1, "dequantize": 1}}
    rows = {"fp32": (400_000, {"Conv": 3}, 95, 90.0, {}), "static_wi8_ai8": (800_000, {"Conv": 3}, 95, 40.0, islands)}
    assert "no instruction that multiplies and adds int8" in _why(variants(rows, isa=("avx2",)), "static_wi8_ai8", "slower")
    assert "VNNI" not in _why(variants(rows), "static_wi8_ai8", "slower")


def test_saturation_is_named_only_where_reduce_range_shows_it(variants):
    rows = {
        "fp32": (400_000, {}, 95, 90.0, {}), "static_wi8_ai8": (300_000, {}, 60, 9.0, {}),
        "static_wi8_ai8_reduce_range": (300_000, {}, 94, 25.0, {}),
    }  # fmt: skip
    told = _why(variants(rows, isa=("avx2",)), "static_wi8_ai8", "worse: -35.0 points of accuracy")
    assert "saturate in 16 bits on this processor" in told
    assert "25.0 dB instead of 9.0" in told
    assert "saturate" not in _why(variants(rows), "static_wi8_ai8", "worse")


def test_exact_sums_do_not_saturate(variants):
    rows = {
        "fp32": (400_000, {}, 95, 90.0, {}), "static_wi8_ai8": (300_000, {}, 60, 9.0, {}),
        "static_wi8_ai8_reduce_range": (300_000, {}, 94, 25.0, {}),
    }  # fmt: skip
    assert "saturate" not in _why(variants(rows, isa=("avx2",), options="int8_sums=32"), "static_wi8_ai8", "worse")


def test_saturation_is_told_where_no_answer_changed(variants):
    """Without labels, or with answers that stay: 24 dB lost are said, and only where the processor loses them."""
    rows = {
        "fp32": (400_000, {}, 95, 90.0, {}), "static_wi8_ai8": (300_000, {}, 95, 16.1, {}),
        "static_wi8_ai8_reduce_range": (300_000, {}, 95, 39.8, {}),
    }  # fmt: skip
    told = _why(variants(rows, isa=("avx2", "avx512f")), "static_wi8_ai8", "loses signal: SQNR 16.1 dB")
    assert told.endswith("with 7-bit weights (reduce_range) SQNR is 39.8 dB instead of 16.1")
    with_vnni = tables.why(variants(rows))
    assert not with_vnni.what.str.contains("loses signal").any()


def test_worse_scales_are_named_beside_better_ones(variants):
    rows = {
        "fp32": (400_000, {}, 95, 90.0, {}), "static_wi8_ai8": (300_000, {}, 94, 30.0, {}),
        "static_wi8_ai8_per_tensor": (300_000, {}, 60, 9.0, {}),
    }  # fmt: skip
    assert "one scale a tensor is too coarse" in _why(variants(rows), "static_wi8_ai8_per_tensor", "worse")


def test_a_retrained_model_is_as_good_as_its_lessons(variants):
    more = {"notes": {"taught": "the answers of the source model on 200 samples"}, "macs": 400}
    results = variants({"fp32": (400_000, {}, 95, 90.0, {}), "pruned_channels50": (200_000, {}, 60, 5.0, more)})
    told = _why(results, "pruned_channels50", "worse")
    assert told == "taught by the answers of the source model on 200 samples, 40% of the multiply-accumulates are left"


NO_SCORES = {"without": ("agreeing", "correct")}


def test_equal_outputs_are_drawn_at_the_top(variants, tmp_path):
    rows = {"fp32": (400_000, {}, 95, float("inf"), NO_SCORES), "fp16": (300_000, {}, 95, 60.0, NO_SCORES)}
    results = variants(rows)
    assert {variant.measure for variant in every_variant(Findings(results))} == {"sqnr"}
    figure = trade_off(results).figure
    figure.savefig(tmp_path / "figure.png")
    assert figure.axes[0].get_ylim()[1] < 200


def test_float_islands_and_conversions_are_drawn_where_they_lie(variants, tmp_path):
    course = [["quantize", 1], ["integer", 6], ["dequantize", 1], ["island", 2], ["quantize", 1], ["integer", 2], ["dequantize", 1]]
    more = {"islands": {"operators": [], "count": 2, "quantize": 2, "dequantize": 2, "course": course}}
    results = variants({"fp32": (400_000, {}, 95, 90.0, {}), "static_wi8_ai8": (200_000, {}, 94, 30.0, more)})
    made = precisions(results)
    figure, alt = made.figure, made.alt
    figure.savefig(tmp_path / "figure.png")
    (axes,) = figure.axes
    strips = [(round(patch.get_x(), 2), round(patch.get_width(), 2)) for patch in axes.patches]
    assert strips == [(0.0, 0.6), (0.6, 0.2), (0.8, 0.2)]
    assert [round(segment[0][0], 2) for segment in axes.collections[0].get_segments()] == [0.0, 0.6, 0.8, 1.0]
    assert "static_wi8_ai8: 8 operators in integers, 2 in float islands, 4 conversions" in alt


def test_without_integers_no_graph_is_drawn(variants):
    assert precisions(variants({"fp32": (400_000, {}, 95, 90.0, {})})) is None


def test_the_figure_names_the_front_and_the_kinds(variants):
    results = variants({"fp32": (400_000, {}, 95, 90.0, {}), "static_wi8_ai8": (200_000, {}, 94, 30.0, {})})
    made = trade_off(results)
    figure, alt = made.figure, made.alt
    texts = [text.get_text() for text in figure.axes[0].get_legend().get_texts()][-2:]
    assert texts == ["1  onnxruntime static_wi8_ai8", "2  onnxruntime fp32"]
    assert "of 2 variants these are on the Pareto front" in alt


def test_the_bench_shows_what_pruning_brings(variants):
    from studylib.bench import compression_cost

    more = {"macs": 500}
    results = variants({"fp32": (400_000, {}, 95, 90.0, {}), "pruned_channels50": (200_000, {}, 94, 30.0, more)}, control=402_000)
    (row,) = compression_cost.pruned(results)
    assert (row["MACs left"], row["over fp32"].endswith("faster")) == ("50%", True)
    assert row["A/A noise"].startswith("up to 1.0")


def test_a_gpu_is_not_blamed_for_what_the_processor_lacks_and_int8_costs_it_conversions(variants):
    """Seen on an H100: the CUDA provider leaves the quantizers and dequantizers of a file where they are."""
    nodes = {
        "CUDAExecutionProvider": {"Conv": 7, "QuantizeLinear": 12, "DequantizeLinear": 20},
        "CPUExecutionProvider": {"DequantizeLinear": 8},
    }
    rows = {
        "fp32": (210_000, {"Conv": 7}, 95, 90.0, {}),
        "static_wi8_ai8": (310_000, {"Conv": 7, "QuantizeLinear": 12}, 95, 30.0, {"evaluation": {"nodes": nodes}}),
    }
    told = _why(variants(rows, isa=("avx2",), runtime="onnxruntime", provider="cuda"), "static_wi8_ai8", "slower")
    assert told == "ONNX Runtime's CUDA provider computes in float only: 40 nodes convert to int8 and back around each operator"
