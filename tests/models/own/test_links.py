"""Links: their own name, ending and card count; weights beside them are followed inside the folder and nowhere else."""

import hashlib
import shutil

import numpy as np
import pytest
from onnx import TensorProto, helper, load, numpy_helper, save

from studylib.artifacts.store import Store
from studylib.build.sources import Sources
from studylib.errors import ArtifactError, InputError
from studylib.models.own import OwnModel
from studylib.models.own.onnx_files import copied
from studylib.study.opening import located

WEIGHTS = np.random.default_rng(3).normal(size=(64, 8)).astype(np.float32)


def _graph():
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size]) for name, size in (("x", 64), ("y", 8))]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "m", ends[:1], ends[1:], [numpy_helper.from_array(WEIGHTS, "w")]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def _hub(folder, apart):
    """A model in the layout of a hub's cache: links with names to blobs without."""
    snapshot = folder / "snapshots" / "0a1b"
    snapshot.mkdir(parents=True)
    (folder / "blobs").mkdir()
    options = {"save_as_external_data": True, "location": "model.onnx_data", "size_threshold": 0} if apart else {}
    save(_graph(), folder / "model.onnx", **options)
    for file in list(folder.glob("model.onnx*")):
        blob = folder / "blobs" / hashlib.sha256(file.read_bytes()).hexdigest()
        shutil.move(file, blob)
        (snapshot / file.name).symlink_to(f"../../blobs/{blob.name}")
    return snapshot / "model.onnx"


@pytest.mark.parametrize("apart", [False, True])
def test_a_model_in_the_cache_of_a_hub_is_read_with_its_weights(tmp_path, apart):
    path = _hub(tmp_path / "hub", apart)
    model = OwnModel(located(str(path)))
    assert (model.name, model.source_format) == ("model", "onnx")
    (tmp_path / "in").mkdir()
    taken = model.write(tmp_path / "in", 0)
    assert not taken.is_symlink()
    assert np.array_equal(numpy_helper.to_array(load(taken).graph.initializer[0]), WEIGHTS)
    Sources(model, 1).reference(4, Store(tmp_path / "store"))


def test_the_weights_of_a_link_decide_its_key(tmp_path):
    path = _hub(tmp_path / "hub", True)
    before = OwnModel(str(path)).source_facts()["sha256"]
    weights = path.with_name("model.onnx_data").resolve()
    weights.write_bytes(weights.read_bytes()[::-1])
    assert OwnModel(str(path)).source_facts()["sha256"] != before


def test_a_link_has_its_own_name_and_card(tmp_path, monkeypatch):
    save(_graph(), tmp_path / "v7.onnx")
    (tmp_path / "current.onnx").symlink_to("v7.onnx")
    (tmp_path / "current.yaml").write_text("task: other\ninputs:\n  x: {range: [0, 1]}\n")
    monkeypatch.chdir(tmp_path)
    model = OwnModel(located("current.onnx"))
    assert (model.name, model.card.inputs["x"].range) == ("current", (0, 1))
    assert OwnModel(located("v7.onnx")).card.inputs == {}
    assert model.source_facts() == OwnModel(located("v7.onnx")).source_facts()
    (tmp_path / "plain").symlink_to("v7.onnx")
    with pytest.raises(InputError, match=r"plain: the ending '' is not known"):
        OwnModel(str(tmp_path / "plain"))


def test_a_link_to_nothing_says_so(tmp_path):
    (tmp_path / "a.onnx").symlink_to("blobs/gone")
    with pytest.raises(InputError, match=r"a\.onnx: a link to blobs/gone, which is not there"):
        OwnModel(str(tmp_path / "a.onnx"))


@pytest.mark.parametrize("place", ["../secret", "/etc/passwd", "..\\secret", "C:\\secret", "a/../../secret"])
def test_weights_outside_the_models_folder_are_never_read(tmp_path, place):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(WEIGHTS.tobytes())
    save(_graph(), folder / "m.onnx", save_as_external_data=True, location="w", size_threshold=0)
    content = (folder / "m.onnx").read_bytes()
    model = load(folder / "m.onnx", load_external_data=False)
    next(entry for entry in model.graph.initializer[0].external_data if entry.key == "location").value = place
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    assert content != (folder / "m.onnx").read_bytes()
    (tmp_path / "in").mkdir()
    with pytest.raises(
        ArtifactError, match=r"keeps its weights in other files, and they cannot be read: 'w' lies in .*leaves the model's folder"
    ):
        copied(folder / "m.onnx", tmp_path / "in")


def test_weights_that_end_too_early_are_refused(tmp_path):
    save(_graph(), tmp_path / "m.onnx", save_as_external_data=True, location="w", size_threshold=0)
    (tmp_path / "w").write_bytes((tmp_path / "w").read_bytes()[:100])
    (tmp_path / "in").mkdir()
    with pytest.raises(ArtifactError, match=r"'w' ends at byte 2048 of 'w', which has 100"):
        copied(tmp_path / "m.onnx", tmp_path / "in")
