"""A damaged model file is refused in the first second, by what is broken in it; a whole one never is."""

import shutil
import time

import numpy as np
import pytest

from studylib.errors import InputError
from studylib.models.own import OwnModel
from studylib.models.own.damage import why_damaged
from tests.command_line import cli

FORMATS = {"m.keras": "keras", "m.h5": "keras_h5", "m.onnx": "onnx", "m.tflite": "tflite", "saved": "saved_model", "m.pt2": "torch"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with one small model in every format, written by the frameworks themselves; the archive of `.pt2` is a zip as theirs."""
    import keras
    import onnx
    import tensorflow as tf
    from onnx import TensorProto, helper, numpy_helper

    folder = tmp_path_factory.mktemp("whole")
    keras.utils.set_random_seed(1)
    x = keras.Input((32,), name="x")
    model = keras.Model(x, keras.layers.Dense(64)(keras.layers.Dense(64, activation="relu")(x)))
    model.save(folder / "m.keras")
    model.save(folder / "m.h5")
    model.export(folder / "saved", verbose=False)
    (folder / "m.tflite").write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(folder / "saved")).convert())
    weights = numpy_helper.from_array(np.ones((32, 64), np.float32), "w")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size]) for name, size in (("x", 32), ("y", 64))]
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", ends[:1], ends[1:], [weights])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / "m.onnx")
    shutil.copyfile(folder / "m.keras", folder / "m.pt2")
    return folder


@pytest.mark.parametrize("name", FORMATS)
def test_a_whole_file_is_never_refused(whole, name):
    assert why_damaged(whole / name, FORMATS[name]) is None


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("name", FORMATS)
def test_a_file_that_was_cut_off_is_refused_at_once(whole, tmp_path, name, share):
    broken = tmp_path / name
    shutil.copytree(whole / name, broken) if (whole / name).is_dir() else shutil.copyfile(whole / name, broken)
    file = broken / "saved_model.pb" if broken.is_dir() else broken
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    begun = time.monotonic()
    with pytest.raises(InputError, match=r"the file is damaged or cut off: .*\. Copy or export it again\."):
        OwnModel(str(broken))
    assert time.monotonic() - begun < 1


@pytest.mark.parametrize("name", ["m.keras", "m.pt2"])
def test_a_byte_that_changed_inside_an_archive_is_seen(whole, tmp_path, name):
    content = bytearray((whole / name).read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=r"the part .*is not what was written|cannot be unpacked"):
        OwnModel(str(tmp_path / name))


@pytest.mark.parametrize(
    ("format", "content", "words"),
    [("onnx", b"this is no model at all", "does not decode as ONNX"), ("onnx", b"\x08\x09", "it holds no graph"),
     ("tflite", b"\xff\xff\x00\x00TFL3" + b"\x01" * 40, "beyond its end"), ("saved_model", b"", "is empty"),
     ("saved_model", b"\x08\x01", "holds no graph")],
)  # fmt: skip
def test_what_is_broken_is_named(tmp_path, format, content, words):
    if format == "saved_model":
        (tmp_path / "saved_model.pb").write_bytes(content)
    else:
        (tmp_path / "m").write_bytes(content)
    assert words in why_damaged(tmp_path if format == "saved_model" else tmp_path / "m", format)


def test_a_keras_archive_without_its_configuration_is_none(tmp_path):
    import zipfile

    for name, content, words in (("metadata.json", "{}", "no config.json"), ("config.json", "{", "is no JSON")):
        with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
            archive.writestr(name, content)
        with pytest.raises(InputError, match=words):
            OwnModel(str(tmp_path / "m.keras"))


def test_weights_that_lie_elsewhere_are_looked_for(whole, tmp_path):
    import onnx

    onnx.save(onnx.load(whole / "m.onnx"), tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    assert why_damaged(tmp_path / "m.onnx", "onnx") is None
    data = (tmp_path / "m.data").read_bytes()
    (tmp_path / "m.data").write_bytes(data[:-100])
    # Looked at again once the graph is another file; the weights alone do not change what is remembered of it.
    shutil.copyfile(tmp_path / "m.onnx", tmp_path / "n.onnx")
    assert "m.data ends before they do" in why_damaged(tmp_path / "n.onnx", "onnx")
    (tmp_path / "m.data").unlink()
    shutil.copyfile(tmp_path / "m.onnx", tmp_path / "o.onnx")
    with pytest.raises(InputError, match=r"m\.data is not beside it\. Copy that file there too"):
        why_damaged(tmp_path / "o.onnx", "onnx")


def test_a_shard_of_the_weights_that_is_missing_is_seen(whole, tmp_path):
    shutil.copytree(whole / "saved", tmp_path / "saved")
    (shard,) = (tmp_path / "saved" / "variables").glob("variables.data-*")
    shard.unlink()
    with pytest.raises(InputError, match=r"0 of its 1 files variables/variables\.data"):
        OwnModel(str(tmp_path / "saved"))


def test_a_file_corrected_in_place_is_looked_at_again(whole, tmp_path):
    (tmp_path / "m.onnx").write_bytes((whole / "m.onnx").read_bytes()[:-9])
    assert why_damaged(tmp_path / "m.onnx", "onnx")
    shutil.copyfile(whole / "m.onnx", tmp_path / "m.onnx")
    assert why_damaged(tmp_path / "m.onnx", "onnx") is None


@pytest.mark.parametrize("verb", ["plan", "study"])
def test_the_only_model_damaged_ends_the_study_before_it_begins(whole, tmp_path, verb):
    (tmp_path / "cut.keras").write_bytes((whole / "m.keras").read_bytes()[:-300])
    begun = time.monotonic()
    done = cli(verb, "--effort", "smoke", "--model", str(tmp_path / "cut.keras"), outputs=tmp_path / "out")
    assert done.returncode == 2
    assert "damaged or cut off: its archive has no directory" in done.stderr
    assert not (tmp_path / "out").exists()
    assert time.monotonic() - begun < 20  # processes start slowly on a busy machine; a study would take minutes


def test_others_go_on_beside_a_damaged_one(whole, tmp_path):
    (tmp_path / "cut.tflite").write_bytes((whole / "m.tflite").read_bytes()[:-300])
    done = cli("plan", "--effort", "smoke", "--model", f"{tmp_path / 'cut.tflite'},{whole / 'm.onnx'}", outputs=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "\n  m onnxruntime, single_stream, " in done.stdout
