"""How ONNX Runtime is told to add products of int8, by processor and recipe; and that exact sums are what they say."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from studylib.errors import ArtifactError
from studylib.machine.hardware import probe
from studylib.runtimes import RUNTIMES, Options
from studylib.study import int8_sums
from studylib.study.opening import open_study

OLDER, NEWER = ("avx", "avx2", "fma"), ("avx2", "avx512_vnni")


@pytest.mark.parametrize(("isa", "does"), [(OLDER, True), (NEWER, False), (("avx_vnni",), False), (("asimddp",), False), ((), False)])
def test_which_processors_saturate(isa, does):
    assert replace(probe(), isa=isa).saturates_int8 is does


@pytest.mark.parametrize(
    ("recipe", "precision", "bits"),
    [
        ("static_wi8_ai8", "float32", "32"), ("static_wi8_ai8_symmetric", "float32", "32"), ("dynamic_wi8_afp32", "float32", "32"),
        ("adaptive_wi8", "float32", "32"), ("qat_wi8_ai8", "float32", "32"), ("pruned_channels50_static_wi8_ai8", "float32", "32"),
        ("static_wi8_ai8_reduce_range", "float32", "16"), ("fp32", "int8", "32"), ("fp32", "float32", None), ("fp16", "float32", None),
        ("weight_only_wi8_afp32", "float32", None), ("static_wi8_ai16", "float32", None),
    ],
)  # fmt: skip
def test_sums_are_wide_where_weights_are_whole_and_the_processor_saturates(recipe, precision, bits):
    host = replace(probe(), isa=OLDER)
    assert int8_sums.settings("onnxruntime", "cpu", recipe, precision, host) == ({"int8_sums": bits} if bits else {})
    assert int8_sums.settings("onnxruntime", "cpu", recipe, precision, replace(host, isa=NEWER)) == {}
    assert int8_sums.settings("litert", "cpu", recipe, precision, host) == {}
    assert int8_sums.settings("onnxruntime", "cuda", recipe, precision, host) == {}


@pytest.mark.parametrize(("isa", "more"), [(OLDER, ["[int8_sums=16]"]), (NEWER, [])])
def test_a_plan_has_seven_bits_beside_eight_where_that_is_faster(tmp_path, monkeypatch, isa, more):
    host = replace(probe(), isa=isa)
    monkeypatch.setattr("studylib.machine.hardware.probe", lambda: host)
    study = open_study("cpu", "smoke", write=lambda line: None)
    labels = [trial.label for trial in study.trials if trial.recipe == "static_wi8_ai8_reduce_range"]
    assert labels == [f"onnxruntime static_wi8_ai8_reduce_range {one}" for one in more]
    eight = next(t for t in study.trials if (t.runtime, t.recipe) == ("onnxruntime", "static_wi8_ai8"))
    assert eight.options == ("int8_sums=32" if more else "")
    assert {t.options for t in study.trials if t.recipe == "fp32" and not t.sweep} == {""}
    asked = open_study("cpu", "smoke", recipes=("static_wi8_ai8", "static_wi8_ai8_reduce_range"), write=lambda line: None)
    found = [t for t in asked.trials if (t.runtime, t.recipe) == ("onnxruntime", "static_wi8_ai8_reduce_range")]
    assert len(found) == 1


def product(path, shared: bool = False):
    """Products of the largest values: a pair of them needs 17 bits. ``shared``: the weights are those of two products."""
    weights = np.full((64, 8), 127, np.int8)
    constants = [numpy_helper.from_array(*one) for one in ((weights, "w"), (np.int8(0), "zero"), (np.uint8(0), "none"))]
    nodes = [helper.make_node("MatMulInteger", ["x", "w", "none", "zero"], ["y"])]
    nodes += [helper.make_node("MatMulInteger", ["x", "w", "none", "zero"], ["z"])] if shared else []
    ends = [helper.make_tensor_value_info("x", TensorProto.UINT8, (1, 64))]
    results = [helper.make_tensor_value_info(node.output[0], TensorProto.INT32, (1, 8)) for node in nodes]
    graph = helper.make_graph(nodes, "products", ends, results, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_sums_of_32_bits_are_exact_on_every_processor_and_of_16_only_without_saturation(tmp_path):
    largest, wanted = {"x": np.full((1, 64), 255, np.uint8)}, 64 * 255 * 127
    found = {
        bits: RUNTIMES["onnxruntime"].open(product(tmp_path / f"{bits}.onnx"), Options(settings={"int8_sums": bits})).run(largest)["y"]
        for bits in ("16", "32")
    }
    assert (found["32"] == wanted).all()
    assert (found["16"] == wanted).all() != probe().saturates_int8


def test_what_does_not_open_so_says_with_what_it_was_asked(tmp_path):
    if not probe().saturates_int8:
        pytest.skip("ONNX Runtime rewrites weights for exact sums only on processors that saturate")
    path, runtime = product(tmp_path / "shared.onnx", shared=True), RUNTIMES["onnxruntime"]
    runtime.open(path, Options())
    with pytest.raises(ArtifactError, match=r"session\.x64quantprecision=1 it opens no weights that several products share; static_wi8"):
        runtime.open(path, Options(settings={"int8_sums": "32"}))
