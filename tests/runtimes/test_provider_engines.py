"""Engines that ONNX Runtime's TensorRT provider keeps: the files that it would leave are written by the test, since no GPU is here."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from studylib.runtimes import RUNTIMES, Options
from studylib.runtimes import onnxruntime as runtime
from studylib.runtimes.nvidia.provider_engines import KeptEngines, fixed_shapes, precisions


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


def _kept(file, shape=(1, 4), **settings) -> KeptEngines:
    return KeptEngines(file, {"x": shape}, settings)


def test_the_provider_may_use_the_file_s_own_precisions_only(file, halves, integers):
    assert (precisions(file), precisions(halves), precisions(integers)) == (set(), {"float16"}, {"int8"})
    told = [(found["trt_fp16_enable"], found["trt_int8_enable"]) for found in (_kept(f).options(f) for f in (file, halves, integers))]
    assert told == [("0", "0"), ("1", "0"), ("0", "1")]


def test_files_shapes_and_settings_have_folders_of_their_own(file, halves):
    folders = {_kept(file).folder, _kept(halves).folder, _kept(file, (8, 4)).folder, _kept(file, graph="basic").folder}
    assert len(folders) == 4
    assert _kept(file).options(file)["trt_engine_cache_path"] == str(_kept(file).folder)
    assert _kept(file).folder == _kept(file).folder


def test_what_was_built_is_kept_and_counted_once(file):
    engines = _kept(file)
    (engines.folder / "graph_sm90.engine").write_bytes(b"engine")
    (engines.folder / "graph_sm90.profile").write_bytes(b"shapes")
    engines.seal()
    engines.seal()
    assert engines.built == 1
    again = _kept(file)
    again.seal()
    assert again.built == 0
    assert (again.folder / "graph_sm90.engine").read_bytes() == b"engine"


def test_what_the_provider_wrote_anew_is_counted_and_kept(file):
    engines = _kept(file)
    path = engines.folder / "graph_sm90.engine"
    for content in (b"engine", b"another"):
        path.write_bytes(content)
        engines.seal()
    assert engines.built == 2
    assert (_kept(file).folder / path.name).read_bytes() == b"another"


@pytest.mark.parametrize("damage", [b"engin\xff", None], ids=["other bytes", "no hash"])
def test_what_is_not_as_its_maker_left_it_is_never_opened(file, damage):
    engines = _kept(file)
    path = engines.folder / "graph_sm90.engine"
    path.write_bytes(b"engine")
    if damage:
        engines.seal()
        path.write_bytes(damage)
    again = _kept(file)
    assert list(again.folder.iterdir()) == []
    path.write_bytes(b"built again")
    again.seal()
    assert again.built == 1
    assert [found.name for found in _kept(file).folder.iterdir() if found.suffix == ".engine"] == [path.name]


def test_shapes_that_a_file_leaves_open_are_decided_by_queries(file, tmp_path):
    assert fixed_shapes(file) == {"x": (1, 4)}
    model = onnx.load(file)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "n"
    onnx.save(model, tmp_path / "open.onnx")
    assert fixed_shapes(tmp_path / "open.onnx") == {}


@pytest.fixture
def session(file, tmp_path, monkeypatch):
    """A session of a file of any batch, on the CPU's provider instead of TensorRT's, which leaves an engine in its folder as that does."""
    model = onnx.load(file)
    for end in (model.graph.input[0], model.graph.output[0]):
        end.type.tensor_type.shape.dim[0].dim_param = "n"
    onnx.save(model, tmp_path / "open.onnx")
    monkeypatch.setitem(runtime._PROVIDERS, "tensorrt", "CPUExecutionProvider")
    real, opened = runtime._Session, []

    class Builder(real):
        def __init__(self, file, provider, settings, told):
            super().__init__(file, provider, settings, {})
            self.folder = Path(told["trt_engine_cache_path"])
            opened.append(self.folder)

        def run(self, inputs):
            engine = self.folder / "graph_sm90.engine"
            if not engine.exists():
                engine.write_bytes(str(inputs["x"].shape).encode())
            return super().run(inputs)

    monkeypatch.setattr(runtime, "_Session", Builder)
    found = RUNTIMES["onnxruntime"]
    return lambda: found.load(tmp_path / "open.onnx", Options("tensorrt")), opened


def test_each_set_of_shapes_has_a_session_and_an_engine_of_its_own(session):
    load, opened = session
    values = np.array([[-1, 0, 1, 2]], np.float32)
    first = load()
    for batch in (1, 4, 1):
        answered = first.run({"x": np.repeat(values, batch, axis=0)})["y"]
        assert answered.tolist() == [[0, 0, 1, 2]] * batch
    assert len(opened) == len(set(opened)) == 2
    assert first.disturbances() == {"engines_built": 2}
    assert first.placement() == "CPUExecutionProvider"


def test_an_engine_of_an_earlier_process_is_no_disturbance(session):
    load, _ = session
    values = {"x": np.ones((2, 4), np.float32)}
    load().run(values)
    again = load()
    again.run(values)
    assert again.disturbances() == {"engines_built": 0}
