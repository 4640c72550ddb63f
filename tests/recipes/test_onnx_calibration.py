"""Ranges are those of the samples, found in any order and in memory that does not grow; files are written from them."""

import os
import subprocess
import sys

import numpy as np
import onnx
import pytest

from studylib.errors import InputError, RefusedError
from studylib.models.zoo import Samples
from studylib.recipes.quantize import onnx_calibration
from studylib.recipes.quantize.onnx_calibration import Scheme, prepared, quantize_qdq, quantize_qoperator, ranges
from tests import ROOT
from tests.recipes.onnx_models import answers, convolutional, operators, samples, save, sqnr_db, types


@pytest.fixture
def model(tmp_path):
    return prepared(convolutional(tmp_path / "source.onnx"), tmp_path)


@pytest.fixture
def relu(tmp_path):
    """Relu between an input and an output, small enough to know every range."""
    return prepared(save(tmp_path / "relu.onnx", [("Relu", ["x"], ["r"], {}), ("Clip", ["r"], ["y"], {})], {}, ("batch", 1000)), tmp_path)


def limits(found, name="x") -> tuple[float, float]:
    return tuple(float(limit) for limit in found[name].range_value)


def test_extremes_are_those_of_all_samples(relu):
    values = np.random.default_rng(0).normal(size=(20, 1000)).astype(np.float32)
    values[3, 7], values[18, 1] = -9, 11
    found = ranges(relu, Samples({"x": values}, None))
    assert limits(found) == (-9, 11)
    assert limits(found, "y") == (0, 11)
    assert limits(ranges(relu, Samples({"x": values}, None), symmetric=True)) == (-11, 11)


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
def test_the_order_of_the_samples_does_not_matter(model, method):
    given = samples()
    turned = Samples({"x": given.inputs["x"][::-1]}, None)
    found, other = ranges(model, given, method), ranges(model, turned, method)
    assert {name: limits(found, name) for name in found} == {name: limits(other, name) for name in other}


@pytest.mark.parametrize("method", ["entropy", "percentile"])
def test_a_single_outlier_is_cut_off_and_the_bulk_is_kept(relu, method):
    values = np.random.default_rng(0).normal(size=(50, 1000)).astype(np.float32)
    values[0, 0] = 1000
    low, high = limits(ranges(relu, Samples({"x": values}, None), method))
    assert values.min() <= low < -2
    assert 2 < high < 500


def test_zeros_do_not_outvote_what_is_not_zero(relu):
    """One value in two thousand: by share alone the percentile would cut off all that there is."""
    values = np.zeros((20, 1000), np.float32)
    values[:, 0] = np.linspace(1, 5, 20)
    found = ranges(relu, Samples({"x": values}, None), "percentile")
    assert limits(found)[1] > 4.9
    assert limits(ranges(relu, Samples({"x": np.zeros((4, 1000), np.float32)}, None), "entropy")) == (0, 0)


def test_histograms_are_counted_as_numpy_counts_them():
    values = np.random.default_rng(0).normal(size=5000).astype(np.float32)
    largest = float(np.abs(values).max())
    wanted, _ = np.histogram(values, 64, (-largest, largest))
    assert np.abs(onnx_calibration._counted(values, largest, 64) - wanted).sum() <= 4


def test_an_infinite_activation_is_named(tmp_path):
    path = save(tmp_path / "m.onnx", [("Exp", ["x"], ["e"], {}), ("Relu", ["e"], ["y"], {})], {}, ("batch", 4))
    given = Samples({"x": np.full((2, 4), 500, np.float32)}, None)
    with pytest.raises(RefusedError, match=r"the activation '\w+' lies in inf to inf, which is not finite; check the samples"):
        ranges(prepared(path, tmp_path), given)


def test_an_unknown_method_is_named_with_the_known(relu):
    with pytest.raises(InputError, match=r"Unknown calibration method 'entropi'.*Did you mean 'entropy'"):
        ranges(relu, Samples({"x": np.ones((1, 1000), np.float32)}, None), "entropi")


_MEASURED = """
import resource, sys
from pathlib import Path
import numpy as np
from studylib.recipes.quantize.onnx_calibration import ranges
from studylib.models.zoo import Samples
# A view of one sample: whatever memory grows is the calibration's.
values = np.broadcast_to(np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32), (int(sys.argv[2]), 3, 8, 8))
ranges(Path(sys.argv[1]), Samples({"x": values}, None), sys.argv[3])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.parametrize("method", ["minmax", "entropy"])
def test_memory_does_not_grow_with_the_number_of_samples(tmp_path, method):
    """Each sample has 4 MB of activations: 180 more of them would be 700 MB."""
    nodes = [("Expand", ["x", "size"], ["e"], {}), ("Relu", ["e"], ["r"], {}), ("Add", ["r", "r"], ["y"], {})]
    model = prepared(save(tmp_path / "m.onnx", nodes, {"size": np.int64([1792, 3, 8, 8])}), tmp_path)

    def peak(n: int) -> int:
        command = [sys.executable, "-c", _MEASURED, str(model), str(n), method]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        return (
            int(subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=300).stdout.split()[-1]) * 1024
        )

    assert peak(200) - peak(20) < 60_000_000


@pytest.mark.parametrize("write", [quantize_qdq, quantize_qoperator])
def test_one_calibration_serves_many_files(model, tmp_path, write):
    found = ranges(model, samples())
    before = {name: limits(found, name) for name in found}
    for name in ("a.onnx", "b.onnx"):
        write(model, tmp_path / name, found)
        assert sqnr_db(tmp_path / name, model) > 25
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    assert {name: limits(found, name) for name in found} == before


def test_only_the_named_nodes_are_quantized(model, tmp_path):
    found = ranges(model, samples())
    (dense,) = [node.name for node in onnx.load(model).graph.node if node.op_type == "Gemm"]
    quantize_qdq(model, tmp_path / "one.onnx", found, nodes=[dense])
    quantize_qdq(model, tmp_path / "none.onnx", found, nodes=[])
    quantize_qdq(model, tmp_path / "all.onnx", found)
    counts = {name: operators(tmp_path / f"{name}.onnx").count("QuantizeLinear") for name in ("none", "one", "all")}
    assert counts["none"] == 0 < counts["one"] < counts["all"]
    np.testing.assert_array_equal(answers(tmp_path / "none.onnx", samples()), answers(model, samples()))
    assert sqnr_db(tmp_path / "one.onnx", model) > sqnr_db(tmp_path / "all.onnx", model)


def test_an_unknown_node_is_named(model, tmp_path):
    with pytest.raises(RefusedError, match=r"prepared.onnx has no node 'nowhere'; its \d+ nodes are Conv_0, "):
        quantize_qdq(model, tmp_path / "m.onnx", ranges(model, samples()), nodes=["nowhere"])


def test_bits_signs_and_forms_are_in_the_file(model, tmp_path, caplog):
    found = ranges(model, samples())
    quantize_qdq(model, tmp_path / "16.onnx", found, Scheme(activation_bits=16))
    assert "UINT16" in types(tmp_path / "16.onnx")
    quantize_qdq(model, tmp_path / "4.onnx", found, Scheme(weight_bits=4))
    assert "INT4" in types(tmp_path / "4.onnx")
    quantize_qdq(model, tmp_path / "signed.onnx", found, Scheme(unsigned_activations=False, symmetric=True))
    assert "UINT8" not in types(tmp_path / "signed.onnx")
    quantize_qoperator(model, tmp_path / "q.onnx", found)
    assert {"QLinearConv", "QGemm"} <= set(operators(tmp_path / "q.onnx"))
    assert sqnr_db(tmp_path / "16.onnx", model) > sqnr_db(tmp_path / "signed.onnx", model) > sqnr_db(tmp_path / "4.onnx", model)
    assert not caplog.records
