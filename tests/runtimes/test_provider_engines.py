"""Engines that ONNX Runtime's TensorRT provider keeps: the files that it would leave are written by the test, since no GPU is here."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from studylib.runtimes import onnxruntime as runtime
from studylib.runtimes.provider_engines import KeptEngines, precisions


def _saved(path, nodes, kind=TensorProto.FLOAT, weights=()):
    ends = [helper.make_tensor_value_info(name, kind, [1, 4]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "g", [ends[0]], [ends[1]], list(weights))
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    return path


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("STUDYLIB_OUTPUTS", str(tmp_path / "outputs"))
    return _saved(tmp_path / "float.onnx", [helper.make_node("Relu", ["x"], ["y"])])


@pytest.fixture
def halves(tmp_path):
    weight = numpy_helper.from_array(np.ones((4, 4), np.float16), "w")
    return _saved(tmp_path / "half.onnx", [helper.make_node("MatMul", ["x", "w"], ["y"])], TensorProto.FLOAT16, [weight])


@pytest.fixture
def integers(tmp_path):
    scale, zero = numpy_helper.from_array(np.float32(0.1), "s"), numpy_helper.from_array(np.int8(0), "z")
    nodes = [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]), helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"])]
    return _saved(tmp_path / "int8.onnx", nodes, weights=[scale, zero])


def test_the_provider_may_use_the_file_s_own_precisions_only(file, halves, integers):
    assert (precisions(file), precisions(halves), precisions(integers)) == (set(), {"float16"}, {"int8"})
    told = [(found["trt_fp16_enable"], found["trt_int8_enable"]) for found in (KeptEngines(f).options(f) for f in (file, halves, integers))]
    assert told == [("0", "0"), ("1", "0"), ("0", "1")]


def test_every_file_has_a_folder_of_its_own(file, halves):
    first, second = KeptEngines(file), KeptEngines(halves)
    assert first.folder != second.folder
    assert first.options(file)["trt_engine_cache_path"] == str(first.folder)
    assert KeptEngines(file).folder == first.folder


def test_what_was_built_is_kept_and_counted_once(file):
    engines = KeptEngines(file)
    (engines.folder / "graph_sm90.engine").write_bytes(b"engine")
    (engines.folder / "graph_sm90.profile").write_bytes(b"shapes")
    engines.seal()
    engines.seal()
    assert engines.built == 1
    again = KeptEngines(file)
    again.seal()
    assert again.built == 0
    assert (again.folder / "graph_sm90.engine").read_bytes() == b"engine"


@pytest.mark.parametrize("damage", [b"engin\xff", None], ids=["other bytes", "no hash"])
def test_what_is_not_as_its_maker_left_it_is_never_opened(file, damage):
    engines = KeptEngines(file)
    path = engines.folder / "graph_sm90.engine"
    path.write_bytes(b"engine")
    if damage:
        engines.seal()
        path.write_bytes(damage)
    again = KeptEngines(file)
    assert list(again.folder.iterdir()) == []
    path.write_bytes(b"built again")
    again.seal()
    assert again.built == 1
    assert [found.name for found in KeptEngines(file).folder.iterdir() if found.suffix == ".engine"] == [path.name]


def test_a_session_seals_after_the_first_query_of_each_shape(file, monkeypatch):
    """On the CPU's provider, which keeps no engines: the test writes what TensorRT's would have written."""
    engines = KeptEngines(file)
    monkeypatch.setitem(runtime._PROVIDERS, "tensorrt", "CPUExecutionProvider")
    session = runtime._WithEngines(file, "tensorrt", None, {}, engines)
    (engines.folder / "graph_sm90.engine").write_bytes(b"engine")
    values = np.array([[-1, 0, 1, 2]], np.float32)
    assert session.run({"x": values})["y"].tolist() == [[0, 0, 1, 2]]
    assert session.disturbances() == {"engines_built": 1}
    (engines.folder / "more.engine").write_bytes(b"engine")
    session.run({"x": values})
    assert session.disturbances() == {"engines_built": 1}
