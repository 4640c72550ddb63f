"""Names of inputs read from files of every format without their frameworks, the same that opening them gives."""

import pytest

from studylib.formats import inside
from studylib.models.own import OwnModel
from studylib.models.own.input_names import input_names


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A model with the inputs ``noise`` and ``label`` in every format: (path, format)."""
    import keras
    import tensorflow as tf
    from onnx import TensorProto, helper, save

    folder = tmp_path_factory.mktemp("named")
    noise, label = keras.Input((4,), name="noise"), keras.Input((4,), name="label")
    model = keras.Model([noise, label], keras.layers.Add(name="sum")([noise, label]))
    model.save(folder / "a.keras")
    model.save(folder / "a.h5")
    model.export(folder / "saved", verbose=False)
    converted = tf.lite.TFLiteConverter.from_saved_model(str(folder / "saved")).convert()
    (folder / "a.tflite").write_bytes(converted)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in ("noise", "label", "sum")]
    graph = helper.make_graph([helper.make_node("Add", ["noise", "label"], ["sum"])], "g", ends[:2], ends[2:])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / "a.onnx")
    names = {"a.keras": "keras", "a.h5": "keras_h5", "saved": "saved_model", "a.tflite": "tflite", "a.onnx": "onnx"}
    return [(folder / name, format) for name, format in names.items()]


def test_they_are_those_that_opening_the_file_gives(files):
    for path, format in files:
        found = input_names(path, format)
        assert sorted(set(found)) == ["label", "noise"], format
        assert set(found) == {tensor["name"] for tensor in inside.look(path, format)["inputs"]}, format


def test_the_task_is_no_classification_where_label_is_an_input(files, tmp_path):
    import numpy as np

    np.savez(tmp_path / "inputs.npz", noise=np.ones((5, 4)), label=np.ones((5, 4)))
    np.savez(tmp_path / "labelled.npz", noise=np.ones((5, 4)), label=np.ones((5, 4)), labels=np.ones(5, int))
    for path, _ in files:
        assert OwnModel(str(path), str(tmp_path / "inputs.npz")).task == "other"
        assert OwnModel(str(path), str(tmp_path / "labelled.npz")).task == "classification"


@pytest.mark.parametrize("format", ["onnx", "keras", "keras_h5", "tflite", "saved_model", "torch"])
def test_of_a_damaged_file_nothing_is_known(tmp_path, format):
    (tmp_path / "saved_model.pb").write_bytes(b"\x0f\xff broken")
    path = tmp_path if format == "saved_model" else tmp_path / "saved_model.pb"
    assert input_names(path, format) is None
