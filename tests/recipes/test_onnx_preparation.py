"""A prepared file answers as its source; every node has a name; what could not be done is told."""

import numpy as np
import onnx
import pytest
from onnx import helper

from studylib import stats
from studylib.errors import RefusedError
from studylib.formats import onnx_versions
from studylib.models.zoo import Samples
from studylib.recipes.quantize.onnx import Static
from studylib.recipes.quantize.onnx_preparation import preparation_note, prepared
from tests.recipes.onnx_models import answers, convolutional, operators, samples, save


def test_it_answers_the_same_and_names_every_node(tmp_path):
    source = convolutional(tmp_path / "source.onnx")
    assert {node.name for node in onnx.load(source).graph.node} == {""}
    path = prepared(source, tmp_path)
    names = [node.name for node in onnx.load(path).graph.node]
    assert "" not in names
    assert len(set(names)) == len(names)
    np.testing.assert_allclose(answers(path, samples()), answers(source, samples()), rtol=1e-5, atol=1e-5)
    assert preparation_note(path) is None
    assert sorted(file.name for file in tmp_path.iterdir()) == ["prepared.onnx", "source.onnx"]


def test_batch_normalization_is_folded_into_the_convolution(tmp_path):
    weights = {"w": np.ones((2, 3, 1, 1), np.float32), **{name: np.full(2, 2, np.float32) for name in "smvb"}}
    nodes = [("Conv", ["x", "w"], ["c"], {}), ("BatchNormalization", ["c", *"smvb"], ["y"], {})]
    assert operators(prepared(save(tmp_path / "m.onnx", nodes, weights), tmp_path)) == ["Conv"]


def test_the_newest_file_is_lowered_to_where_quantized_operators_run(tmp_path):
    """What `onnx` writes today by default: the runtime opens it, and has no kernel yet for what a quantizer would write into it."""
    newest, quantized = onnx_versions.newest()[1], onnx_versions.newest_quantized()
    assert 13 <= quantized <= newest
    weights = {"w": np.random.default_rng(1).normal(size=(8, 4)).astype(np.float32)}
    source = save(tmp_path / "m.onnx", [("MatMul", ["x", "w"], ["m"], {}), ("Relu", ["m"], ["y"], {})], weights, ("batch", 8), opset=newest)
    given = np.random.default_rng(2).normal(size=(64, 8)).astype(np.float32)
    path = prepared(source, tmp_path)
    assert onnx_versions.opset_of(onnx.load(path)) == quantized
    assert preparation_note(path) is None
    (tmp_path / "made").mkdir()
    made, _ = Static().write(source, tmp_path / "made", Samples({"x": given}, None))
    wanted, found = (answers(one, Samples({"x": given}, None)) for one in (source, made))
    assert stats.sqnr_db(wanted, found) > 25


def test_equal_names_are_told_apart(tmp_path):
    path = save(tmp_path / "m.onnx", [("Relu", ["x"], ["r"], {"name": "it"}), ("Exp", ["r"], ["y"], {"name": "it"})], {})
    assert [node.name for node in onnx.load(prepared(path, tmp_path)).graph.node] == ["it", "it_1"]


def test_a_pass_that_fails_is_done_without_and_told(tmp_path, caplog):
    """The optimizer opens the file, which it cannot here; ONNX Runtime only logs that, and goes on."""
    source = convolutional(tmp_path / "source.onnx")
    model = onnx.load(source)
    model.graph.node[1].domain = "somewhere.else"
    model.opset_import.append(helper.make_opsetid("somewhere.else", 1))
    onnx.save(model, source)
    path = prepared(source, tmp_path)
    assert preparation_note(path).startswith("not optimized before quantization (onnxruntime.capi.")
    assert "somewhere.else" in preparation_note(path)
    assert str(tmp_path) not in preparation_note(path)
    assert operators(path) == operators(source)
    assert not caplog.records


def test_a_file_that_nothing_reads_is_refused(tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"no model at all")
    with pytest.raises(RefusedError, match=r"ONNX Runtime cannot prepare broken.onnx for quantization: \w+: "):
        prepared(tmp_path / "broken.onnx", tmp_path)
