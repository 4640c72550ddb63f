"""A model that the user brings: what is refused from outside, how it is named, what its key depends on."""

import zipfile
from importlib.util import find_spec

import pytest

from studylib.errors import ArtifactError, InputError, ParameterError
from studylib.models.own import OwnModel, facts_of, find_model, is_own
from studylib.models.own.model import slug
from studylib.models.zoo import MODELS
from studylib.study.opening import open_study


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    """A small ONNX file."""
    folder = tmp_path_factory.mktemp("graph")
    return MODELS["handmade"].write(folder, 0)


def test_files_folders_and_factories_are_told_from_names(tmp_path):
    assert all(is_own(text) for text in ("a.onnx", "x/y", "m.H5", "package.module:make", str(tmp_path)))
    assert not any(is_own(name) for name in [*MODELS, "nonsense"])


@pytest.mark.parametrize(
    ("location", "name"),
    [("/data/My Model.onnx", "my_model"), ("a/saved", "saved"), ("x.y:make_it", "make_it"), ("/ü.onnx", "model"), ("a/b.v2.keras", "b.v2")],
)
def test_names_come_from_the_file(location, name):
    assert slug(location) == name


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.onnx", None, r"gone\.onnx: no such file or folder\. Give a SavedModel folder, \.keras, \.h5"),
        ("empty.onnx", b"", r"empty\.onnx: the file is empty"),
        ("a.keras", b"not a zip", r"a\.keras: not a \.keras file: it begins with b'not a zi'"),
        ("a.h5", b"PK\x03\x04", r"a\.h5: not a \.h5 file"),
        ("a.hdf5", b"nothing", r"a\.hdf5: not a \.hdf5 file"),
        ("a.tflite", b"\x00" * 20, r"a\.tflite: not a \.tflite file"),
        ("a.pt2", b"\x80\x02pickle", r"a\.pt2: not a \.pt2 file"),
        ("a.onnx", b"version https://git-lfs.github.com/spec/v1", r"a Git LFS pointer, not the model\. Run `git lfs pull`"),
        ("a.pth", b"x", r"a\.pth: holds a PyTorch model's weights, .*save it with torch\.export\.save as \.pt2"),
        ("a.ORT", b"x", r"ONNX Runtime's own format, .* Give the \.onnx file"),
        ("a.pb", b"x", r"a TensorFlow graph by itself\. Give the folder of its SavedModel"),
        ("a.plan", b"x", r"a TensorRT engine, which belongs to one GPU"),
        ("a.pkl", b"x", r"a pickle, which runs code when it is opened"),
        ("a.caffemodel", b"x", r"the ending '\.caffemodel' is not known\. Give a SavedModel folder"),
    ],
)
def test_what_cannot_be_a_model_is_refused_before_anything_runs(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        OwnModel(str(path))


def test_a_folder_that_is_no_saved_model_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"a folder without saved_model\.pb is no SavedModel\. Give the folder that holds that file"):
        OwnModel(str(tmp_path))


def test_it_survives_the_way_to_another_process(graph):
    import json

    model = OwnModel(str(graph), declared_task="other", trust=True, name="mine")
    again = find_model(json.loads(json.dumps(facts_of(model))))
    assert again == model
    assert again.source_format == "onnx"
    assert find_model(facts_of(MODELS["mnist_cnn"])) is MODELS["mnist_cnn"]


def test_its_key_depends_on_its_bytes_and_on_trust(graph, tmp_path):
    same, other = tmp_path / "same.onnx", tmp_path / "other.onnx"
    same.write_bytes(graph.read_bytes())
    other.write_bytes(graph.read_bytes() + b"\x32\x01 ")  # a field of ONNX, doc_string, with a blank in it
    facts = OwnModel(str(same)).source_facts()
    assert facts == OwnModel(str(graph)).source_facts()
    assert facts != OwnModel(str(other)).source_facts()
    assert facts != OwnModel(str(same), trust=True).source_facts()


def test_a_study_names_every_model_once(graph, tmp_path):
    (tmp_path / "handmade.onnx").write_bytes(graph.read_bytes())
    study = open_study("cpu", "smoke", models=("handmade", str(tmp_path / "handmade.onnx"), str(graph)))
    assert list(study.plan.models) == ["handmade", "handmade_2", "model"]
    assert {trial.weights for trial in study.trials if trial.model == "model"} == {"own"}


def test_data_without_a_file_of_ones_own_is_refused(tmp_path):
    with pytest.raises(InputError, match="DATA belongs to one MODEL that is a file, and none of the models is"):
        open_study("cpu", "smoke", data=str(tmp_path / "x.npz"))


def test_an_unknown_name_is_still_an_unknown_name():
    with pytest.raises(ParameterError, match=r"Unknown model 'mnist_cn'.*Did you mean 'mnist_cnn'"):
        open_study("cpu", "smoke", models=("mnist_cn",))


def _cut(path, target):
    content = path.read_bytes()
    target.write_bytes(content[: len(content) * 2 // 3])
    return OwnModel(str(target))


@pytest.mark.parametrize("kind", ["onnx", "keras", "keras_h5", "tflite", "saved_model"])
def test_a_file_that_was_cut_off_is_refused_before_anything_runs(kind, tmp_path, mnist):
    made = {artifact.format: artifact.path for artifact in map(mnist.artifact, _made(mnist))}
    with pytest.raises(InputError, match=r"the file is damaged or cut off: .*Copy or export it again"):
        if kind == "saved_model":
            import shutil

            shutil.copytree(made["saved_model"], tmp_path / "saved")
            _cut_in_place(tmp_path / "saved" / "saved_model.pb")
            OwnModel(str(tmp_path / "saved"))
        elif kind == "keras_h5":
            import keras

            keras.models.load_model(made["keras"]).save(tmp_path / "whole.h5")
            _cut(tmp_path / "whole.h5", tmp_path / "cut.h5")
        else:
            _cut(made[kind], tmp_path / f"cut.{kind}")


def _made(mnist):
    return [target.key for target in mnist.plan.targets if target.kind in ("source", "recipe") and target.recipe == "fp32"]


def _cut_in_place(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def test_weights_in_other_files_come_along_and_must_be_there(tmp_path):
    import numpy as np
    import onnx

    model = onnx.load(MODELS["handmade"].write(tmp_path, 0))
    whole = tmp_path / "apart.onnx"
    onnx.save(model, whole, save_as_external_data=True, location="apart.onnx.data", size_threshold=0)
    folder = tmp_path / "in"
    folder.mkdir()
    taken = OwnModel(str(whole)).write(folder, 0)
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(taken).graph.initializer}
    assert np.array_equal(weights["bias"], np.array([0.1, -0.2, 0.3], np.float32))
    (tmp_path / "apart.onnx.data").unlink()
    with pytest.raises(ArtifactError, match="keeps its weights in other files, and they cannot be read"):
        OwnModel(str(whole)).write(folder, 0)


def test_code_inside_a_keras_file_needs_trust(tmp_path):
    import keras

    marker = tmp_path / "marker"
    inputs = keras.Input((2,))
    keras.Model(inputs, keras.layers.Lambda(_touch(str(marker)), output_shape=(2,), name="sly")(inputs)).save(tmp_path / "sly.keras")
    marker.unlink(missing_ok=True)
    folder = tmp_path / "in"
    folder.mkdir()
    with pytest.raises(ArtifactError, match=r"Lambda layer 'sly', which runs Python code.*TRUST=1"):
        OwnModel(str(tmp_path / "sly.keras")).write(folder, 0)
    assert not marker.exists()
    assert OwnModel(str(tmp_path / "sly.keras"), trust=True).write(folder, 0).exists()


def _touch(path):
    """Code that Keras writes into the file itself, since it has no name, and that leaves a trace when it runs."""
    return lambda x: open(path, "w") and x  # noqa: PTH123


def test_a_saved_model_that_calls_python_needs_trust(tmp_path):
    import tensorflow as tf

    module = tf.Module()
    module.serve = tf.function(lambda x: tf.numpy_function(lambda v: v + 1, [x], tf.float32), input_signature=[tf.TensorSpec([None, 2])])
    tf.saved_model.save(module, str(tmp_path / "sly"), signatures={"serving_default": module.serve})
    folder = tmp_path / "in"
    folder.mkdir()
    with pytest.raises(ArtifactError, match=r"the SavedModel holds the operator \w*PyFunc\w* .*runs Python.*TRUST=1"):
        OwnModel(str(tmp_path / "sly")).write(folder, 0)


def test_a_zip_that_is_no_keras_model_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(InputError, match=r"damaged or cut off: its archive has no config\.json, so it is no Keras model"):
        OwnModel(str(tmp_path / "a.keras"))


@pytest.mark.skipif(find_spec("torch") is not None, reason="torch is installed")
def test_without_torch_its_files_and_factories_are_refused_in_words(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pt2", "w") as archive:
        archive.writestr("a/models/model.json", "{}")
    for location in (str(tmp_path / "a.pt2"), "package.module:make"):
        with pytest.raises(InputError, match=r"the package torch is not installed; `make converters` brings it"):
            OwnModel(location)


def test_a_factory_returns_a_module_and_its_example_inputs(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    (tmp_path / "made_here.py").write_text(
        "import torch\ndef factory():\n    return torch.nn.Linear(3, 2), (torch.zeros(1, 3),)\ndef wrong():\n    return 3\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    model = OwnModel("made_here:factory")
    path = model.write(tmp_path, 0)
    samples, _ = model.described_samples("test", 4, 1, path, lambda inputs: ({}, None))
    assert [values.shape for values in samples.inputs.values()] == [(4, 3)]
    assert torch.export.load(path)
    with pytest.raises(ArtifactError, match=r"returned int; it must return \(torch\.nn\.Module, tuple of example tensors\)"):
        OwnModel("made_here:wrong").write(tmp_path, 0)


def test_a_saved_model_that_writes_files_needs_trust(tmp_path):
    import tensorflow as tf

    writers = {
        "WriteFile": lambda x: tf.io.write_file("somewhere", tf.strings.as_string(x[0, 0])),
        "PrintV2": lambda x: tf.print(x, output_stream="file://somewhere"),
    }
    for operator, act in writers.items():
        module = tf.Module()
        module.serve = tf.function(_acting(act), input_signature=[tf.TensorSpec([None, 2])])
        tf.saved_model.save(module, str(tmp_path / operator), signatures={"serving_default": module.serve})
        (tmp_path / f"in-{operator}").mkdir()
        with pytest.raises(ArtifactError, match=f"the SavedModel holds the operator {operator} .*touches files.*TRUST=1"):
            OwnModel(str(tmp_path / operator)).write(tmp_path / f"in-{operator}", 0)


def _acting(act):
    def serve(x):
        act(x)
        return x + 1

    return serve


def test_an_honest_saved_model_needs_no_trust(mnist, tmp_path):
    saved = next(artifact for artifact in map(mnist.artifact, _made(mnist)) if artifact.format == "saved_model")
    assert (OwnModel(str(saved.path)).write(tmp_path, 0) / "saved_model.pb").exists()


def test_among_several_models_a_bad_one_is_kept_as_a_failure(graph, tmp_path):
    study = open_study("cpu", "smoke", models=(str(graph), str(tmp_path / "gone.onnx")), recipes=("fp32",), write=lambda line: None)
    with pytest.raises(ArtifactError, match=r"gone\.onnx: no such file or folder"):
        study.plan.models["gone"].write(tmp_path, 0)
    assert study.plan.targets
    with pytest.raises(InputError, match=r"gone\.onnx: no such file or folder"):
        open_study("cpu", "smoke", models=(str(tmp_path / "gone.onnx"),))


def test_among_several_models_a_bad_card_and_a_missing_package_cost_their_own_rows(graph, tmp_path):
    (tmp_path / "carded.onnx").write_bytes(graph.read_bytes())
    (tmp_path / "carded.yaml").write_text("task: vision")
    refused = [str(tmp_path / "carded.onnx"), str(tmp_path / "gone.pt2"), "no_such_package.module:make"]
    study = open_study("cpu", "smoke", models=("handmade", *refused), recipes=("fp32",), write=lambda line: None)
    assert study.plan.targets
    assert [bool(getattr(model, "refusal", "")) for model in study.plan.models.values()] == [False, True, True, True]
    with pytest.raises(ParameterError, match="task is 'vision'; it should be 'classification'"):
        open_study("cpu", "smoke", models=(refused[0],))


def test_several_files_of_which_none_is_there_are_refused_at_once():
    with pytest.raises(InputError, match=r"first\.onnx: no such file or folder"):
        open_study("cpu", "smoke", models=("/nowhere/first.onnx", "/nowhere/second.onnx"))
    found = open_study("cpu", "smoke", models=("/nowhere/first.onnx", "mnist_cnn"))
    assert "no such file" in found.plan.models["first"].refusal
