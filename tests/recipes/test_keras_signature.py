"""What Keras models are called and how they are asked: names that a SavedModel can have, batches of any size, Keras 2, half precision."""

import json
import shutil
import zipfile

import numpy as np
import pytest

from studylib.artifacts.store import Store
from studylib.build.sources import Sources, open_source
from studylib.errors import ArtifactError, RefusedError
from studylib.formats.keras_files import library_of, load_keras, written_by
from studylib.formats.keras_safety import why_unsafe
from studylib.formats.keras_signature import signature_of
from studylib.formats.mixed_precision import policies
from studylib.models.own import OwnModel
from studylib.recipes.convert.to_litert import ToLiteRT
from studylib.recipes.convert.to_onnx import ToOnnx
from studylib.recipes.convert.to_saved_model import ToSavedModel
from tests.recipes import keras_models

pytestmark = pytest.mark.filterwarnings("ignore")


def _tensors(signature):
    return [(tensor.name, tensor.shape) for tensor in signature.inputs], [tensor.name for tensor in signature.outputs]


@pytest.mark.parametrize(
    ("kind", "inputs", "outputs"),
    [
        ("sequential", [("features", (None, 6))], ["output_0"]),
        ("several_inputs", [("zulu", (None, 4)), ("alpha", (None, 3))], ["output_0"]),
        ("dictionary_inputs", [("alpha", (None, 3)), ("zulu", (None, 4))], ["zulu_output"]),
        ("several_outputs", [("values", (None, 4))], [f"output_{index}" for index in range(11)]),
        ("inner_outputs", [("my_values_v", (None, 4))], ["scores", "more_x", "more_y_0", "more_y_1"]),
    ],
)
def test_names_are_such_as_a_saved_model_can_have(kind, inputs, outputs):
    import keras

    assert _tensors(signature_of(getattr(keras_models, kind)(keras))) == (inputs, outputs)


def test_the_batch_of_a_deferred_model_is_free_and_that_of_a_state_is_not():
    import keras

    assert signature_of(keras_models.deferred(keras)).inputs[0].shape == (None, 6)
    steps = keras.Input(batch_shape=(2, 5, 3))
    assert signature_of(keras.Model(steps, keras.layers.LSTM(4, stateful=True)(steps))).inputs[0].shape == (2, 5, 3)
    pair = keras.Input(batch_shape=(2, 6))
    assert signature_of(keras.Model(pair, keras.layers.Dense(3)(pair))).inputs[0].shape == (None, 6)
    baked = keras.ops.reshape(keras.layers.Dense(3)(pair), (1, 6))
    assert signature_of(keras.Model(pair, baked)).inputs[0].shape == (2, 6)


def test_a_model_that_was_never_called_is_refused_with_what_to_do(tmp_path):
    import keras

    keras.Sequential([keras.layers.Dense(4)]).save(tmp_path / "m.keras")
    folder = tmp_path / "in"
    folder.mkdir()
    with pytest.raises(ArtifactError, match=r"was saved before it was ever called.*begin it with keras\.Input\(shape\), or call it once"):
        OwnModel(str(tmp_path / "m.keras")).write(folder, 0)


def _renamed(path, target):
    """The file as TensorFlow 2.15 wrote it: Keras was not yet called tf_keras there."""
    with zipfile.ZipFile(path) as read, zipfile.ZipFile(target, "w") as written:
        for name in read.namelist():
            content = read.read(name)
            if name == "config.json":
                content = content.replace(b"tf_keras.src.", b"keras.src.")
            if name == "metadata.json":
                content = json.dumps(json.loads(content) | {"keras_version": "2.15.0"}).encode()
            written.writestr(name, content)
    return target


def test_a_keras_2_file_is_read_by_tf_keras_whatever_its_modules_are_called(tmp_path):
    import tf_keras

    model = keras_models.functional(tf_keras)
    model.save(tmp_path / "two.keras")
    model.save(tmp_path / "two.h5")
    older = _renamed(tmp_path / "two.keras", tmp_path / "older.keras")
    assert (written_by(older), library_of(older)) == ("2.15.0", "tf_keras")
    assert written_by(tmp_path / "two.keras") == tf_keras.__version__
    values = np.random.default_rng(0).normal(size=(3, 9, 9, 3)).astype(np.float32)
    wanted = np.asarray(model(values))
    for name in ("two.keras", "older.keras", "two.h5"):
        assert np.array_equal(np.asarray(load_keras(tmp_path / name)(values)), wanted), name
    _, notes = ToSavedModel().write(older, tmp_path, None)
    assert notes == {"written by": "Keras 2.15.0", "read by": f"tf_keras {tf_keras.__version__}"}


def test_what_acts_in_a_keras_2_file_is_refused_as_strictly(tmp_path):
    import tensorflow as tf
    import tf_keras

    marker = tmp_path / "the-planted-code-ran"
    inputs = tf_keras.Input((2,), name="values")
    evil = eval(f"lambda x: (__import__('pathlib').Path({str(marker)!r}).touch(), x)[1]")
    tf_keras.Model(inputs, tf_keras.layers.Lambda(evil, name="evil")(inputs)).save(tmp_path / "lambda.keras")
    marker.unlink()
    assert "a Lambda layer 'evil', which runs Python code" in why_unsafe(tmp_path / "lambda.keras")
    with pytest.raises(RefusedError, match="a Lambda layer 'evil'"):
        load_keras(tmp_path / "lambda.keras")
    assert not marker.exists()
    load_keras(tmp_path / "lambda.keras", trust=True)
    assert marker.exists()

    arithmetic = tf_keras.Model(inputs, tf.concat([tf.nn.relu(inputs), inputs * 2], -1))
    arithmetic.save(tmp_path / "arithmetic.keras")
    assert why_unsafe(tmp_path / "arithmetic.keras") is None
    planted = tmp_path / "planted.keras"
    for function in ("io.write_file", "load_op_library"):
        with zipfile.ZipFile(tmp_path / "arithmetic.keras") as read, zipfile.ZipFile(planted, "w") as written:
            for name in read.namelist():
                written.writestr(name, read.read(name).replace(b'"nn.relu"', f'"{function}"'.encode()))
        assert f"which calls tf.{function}" in why_unsafe(planted)


@pytest.mark.parametrize(
    ("described", "words"),
    [
        ({"class_name": "function", "module": "tf_keras.src.engine.training", "config": "os.system"}, "'os.system' from the module"),
        ({"class_name": "function", "module": "keras.src.testing_infra.test_utils", "config": "run"}, "'run' from the module"),
        ({"class_name": "function", "module": "keras.applications", "config": "ResNet50"}, "'ResNet50' from the module"),
        ({"class_name": "function", "module": "builtins", "config": "eval"}, "'eval' from the module 'builtins'"),
        ({"class_name": "Sub", "module": None, "registered_name": "Sub", "config": {}}, "the class 'Sub', which is not part of Keras"),
        ({"class_name": "Functional", "module": "tf_keras.src.engine.functional", "config": {}}, None),
        ({"class_name": "Functional", "module": "keras.src.engine.functional", "config": {}}, None),
        ({"class_name": "function", "module": "builtins", "config": "relu", "registered_name": "relu"}, None),
    ],
)
def test_only_the_computing_parts_of_either_keras_are_let_through(tmp_path, described, words):
    path = tmp_path / "described.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Functional", "config": {"layers": [described]}}))
    found = why_unsafe(path)
    assert (words in found) if words else found is None


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """Models of both policies, with and without a last layer in float32: name to file."""
    import keras

    folder, files = tmp_path_factory.mktemp("half"), {}
    for kind in ("bfloat16", "float16"):
        for head in (None, "float32"):
            keras.utils.set_random_seed(3)
            path = folder / f"{kind}{'_head32' if head else ''}.keras"
            keras_models.mixed(keras, f"mixed_{kind}", head).save(path)
            files[path.stem] = path
    return files


REMEDY = r"save a float32 copy of the same weights and give that: model = keras\.models\.load_model"


def test_answers_in_bfloat16_are_refused_with_the_policy_and_what_to_do(half, tmp_path):
    with pytest.raises(
        ArtifactError, match=rf"answers in bfloat16 .*policy mixed_bfloat16\. Give that layer dtype=\"float32\", or {REMEDY}"
    ):
        Sources(OwnModel(str(half["bfloat16"])), 1).reference(3, Store(tmp_path))
    for name in ("bfloat16_head32", "float16", "float16_head32"):
        sources, store = Sources(OwnModel(str(half[name])), 1), Store(tmp_path)
        assert sources.reference(3, store)
        (remark,) = sources.source(store).lineage[-1]["notes"]["at the door"]
        assert remark.startswith(f"it computes in half precision (policy mixed_{name.removesuffix('_head32')})")


def test_formats_without_half_precision_say_so_and_others_go_on(half, tmp_path):
    for name, litert, onnx in (("bfloat16_head32", "bfloat16", "bfloat16"), ("float16_head32", "float16", None)):
        (tmp_path / name).mkdir()
        saved, _ = ToSavedModel().write(half[name], tmp_path / name, None)
        with pytest.raises(RefusedError, match=rf"computes in {litert} \(a mixed precision policy of Keras\), and LiteRT has no.*{REMEDY}"):
            ToLiteRT().write(saved, tmp_path / name, None)
        if onnx:
            with pytest.raises(RefusedError, match=rf"computes in {onnx} .*, and ONNX has no.*{REMEDY}"):
                ToOnnx().write(saved, tmp_path / name, None)
        else:
            assert ToOnnx().write(saved, tmp_path / name, None)[0].exists()


def test_the_remedy_works(half, tmp_path, monkeypatch):
    """The words themselves are run."""
    import keras

    from studylib.formats.mixed_precision import REMEDY

    code = REMEDY.partition("give that: ")[2]
    monkeypatch.chdir(tmp_path)
    exec(code, {"keras": keras, "path": half["bfloat16"]})
    copy = tmp_path / "float32.keras"
    assert policies(half["bfloat16"]) == ["mixed_bfloat16"]
    assert policies(copy) == []
    store, values = Store(tmp_path / "store"), {"image": np.random.default_rng(0).normal(size=(2, 12, 12, 3)).astype(np.float32)}
    source = Sources(OwnModel(str(copy)), 1).source(store)
    answers = open_source(source)(values)["output_0"]
    assert answers.dtype == np.float32
    np.testing.assert_allclose(answers, np.asarray(keras.models.load_model(half["bfloat16"])(values["image"]), np.float32), atol=0.02)
    saved, _ = ToSavedModel().write(copy, tmp_path, None)
    assert ToLiteRT().write(saved, tmp_path, None)[0].exists()
    shutil.rmtree(saved)


def test_a_sequential_model_is_searched_layer_by_layer_and_trained_like_any_other(tmp_path):
    import keras
    import tf_keras

    from studylib.quality.divergence.keras import opened
    from studylib.training.reading import read_model

    keras_models.deferred(keras).save(tmp_path / "deferred.keras")
    values = np.random.default_rng(0).normal(size=(2, 6)).astype(np.float32)
    model = read_model(tmp_path / "deferred.keras")
    assert [tensor.shape for tensor in model.inputs] == [(None, 6)]
    assert [len(layer._inbound_nodes) for layer in model.layers] == [1, 1, 1]
    whole = keras.models.load_model(tmp_path / "deferred.keras")
    np.testing.assert_array_equal(np.asarray(model(values)), np.asarray(whole(values)))

    found = opened(tmp_path / "deferred.keras", {"whatever": values})
    assert [tensor.name for tensor in found.tensors] == [layer.name for layer in whole.layers]
    assert found.outputs == [whole.layers[-1].name]
    np.testing.assert_allclose(found.read(found.outputs[0]), np.asarray(whole(values)), rtol=1e-5)

    keras_models.sequential(tf_keras).save(tmp_path / "two.keras")
    assert opened(tmp_path / "two.keras", {"features": values}).outputs
    with pytest.raises(RefusedError, match=r"two\.keras was written by Keras 2.*what trains here works on models of Keras 3"):
        read_model(tmp_path / "two.keras")
    keras.Sequential([keras.layers.Dense(4)]).save(tmp_path / "never.keras")
    with pytest.raises(RefusedError, match="was saved before it was ever called"):
        read_model(tmp_path / "never.keras")
