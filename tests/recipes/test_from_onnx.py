"""ONNX becomes SavedModel and LiteRT by onnx2tf: names, axes and batch as they were, and words where it does not."""

from pathlib import Path

import numpy as np
import pytest

from studylib.errors import RefusedError, TrialError
from studylib.formats.input_names import as_known, identifier
from studylib.models.zoo import Samples
from studylib.recipes import chain, why_no_chain
from studylib.recipes.convert import from_onnx
from studylib.recipes.convert import onnx2tf_reference as reference
from studylib.recipes.convert.from_onnx import OnnxToSavedModel
from studylib.recipes.convert.to_litert import ToLiteRT
from studylib.runtimes import RUNTIMES, Options

needs_onnx2tf = pytest.mark.skipif(bool(OnnxToSavedModel().missing()), reason=str(OnnxToSavedModel().missing()))


def pictures(folder: Path) -> Path:
    """Convolutions of pictures of which no two axes are alike: a map in channels first and scores; odd names; an open batch."""
    from onnx import TensorProto, helper, numpy_helper, save

    rng = np.random.default_rng(0)
    weights = {"kernel": (4, 3, 3, 3), "bias": (4,), "dense": (4, 2)}
    nodes = [
        helper.make_node("Conv", ["image.1", "kernel", "bias"], ["raw"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["raw"], ["map/0"], "second"),
        helper.make_node("GlobalAveragePool", ["map/0"], ["pooled"], "third"),
        helper.make_node("Flatten", ["pooled"], ["flat"], "fourth"),
        helper.make_node("MatMul", ["flat", "dense"], ["product"], "fifth"),
        helper.make_node("Mul", ["product", "class"], ["scores:0"], "sixth"),
    ]
    inputs = {"image.1": ["batch", 3, 8, 6], "class": ["batch", 2]}
    outputs = {"map/0": ["batch", 4, 8, 6], "scores:0": ["batch", 2]}
    graph = helper.make_graph(
        nodes,
        "pictures",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name) for name, shape in weights.items()],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "pictures.onnx")
    return folder / "pictures.onnx"


def stranger(folder: Path) -> Path:
    """A graph with an operator of ONNX Runtime's own."""
    from onnx import TensorProto, helper, save

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in ("x", "y")]
    node = helper.make_node("QuickGelu", ["x"], ["y"], "gate_7", domain="com.microsoft")
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    save(helper.make_model(helper.make_graph([node], "one", ends[:1], ends[1:]), opset_imports=opsets, ir_version=8), folder / "odd.onnx")
    return folder / "odd.onnx"


def _query(batch: int) -> dict:
    rng = np.random.default_rng(batch)
    return {"image.1": rng.normal(size=(batch, 3, 8, 6)).astype(np.float32), "class": rng.normal(size=(batch, 2)).astype(np.float32)}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(the ONNX file, the SavedModel, its notes, a LiteRT file of it)."""
    folder = tmp_path_factory.mktemp("made")
    source = pictures(folder)
    saved, notes = OnnxToSavedModel().write(source, folder, None)
    lite, _ = ToLiteRT().write(saved, folder, None)
    return source, saved, notes, lite


@needs_onnx2tf
@pytest.mark.parametrize(("runtime", "which"), [("tensorflow", 1), ("litert", 3)])
def test_the_same_queries_get_the_same_answers_under_the_same_names(made, runtime, which):
    before = RUNTIMES["onnxruntime"].open(made[0], Options(threads=1))
    # Not activated: of one process TensorFlow takes its threads once, and here it has converted already.
    after = RUNTIMES[runtime].load(made[which], Options(threads=1))
    for batch in (1, 3):
        wanted, outputs = before.run(_query(batch)), after.run(_query(batch))
        assert set(outputs) == {"map/0", "scores:0"}
        assert all(np.allclose(outputs[name], wanted[name], atol=1e-4) for name in wanted)


@needs_onnx2tf
def test_the_lineage_says_what_was_renamed_and_assumed(made):
    assert made[2]["inputs"] == {"image.1": "image_1", "class": "input_class"}
    assert made[2]["layout"] in ("inputs channels first", "inputs as it is")
    assert made[2]["translated by"].startswith("onnx2tf 1.")
    assert "batch" not in made[2]


@needs_onnx2tf
def test_calibration_samples_keep_the_names_of_the_onnx_file(made, tmp_path):
    (recipe,) = chain("static_wi8_ai8_float_io", "tflite", "onnx")[1:]
    inputs = _query(16)
    path, notes = recipe.write(made[1], tmp_path, Samples(inputs, None))
    assert "int8" in notes["weights"]
    wanted = RUNTIMES["onnxruntime"].open(made[0], Options(threads=1)).run(_query(1))
    outputs = RUNTIMES["litert"].open(path, Options(threads=1)).run(_query(1))
    assert all(np.abs(outputs[name] - wanted[name]).max() < 0.1 * np.abs(wanted[name]).max() for name in wanted)


@needs_onnx2tf
def test_an_operator_that_is_not_known_is_named_with_its_node(tmp_path):
    with pytest.raises(RefusedError, match=r"onnx2tf does not know the operator QuickGelu \(node gate_7\)\. Keep this model in ONNX"):
        OnnxToSavedModel().write(stranger(tmp_path), tmp_path, None)


def test_without_its_environment_the_words_name_the_command(monkeypatch, tmp_path):
    monkeypatch.setenv(from_onnx.ENVIRONMENT, str(tmp_path))
    words = f"no path out of ONNX yet: onnx2tf is not installed at STUDYLIB_ONNX2TF={tmp_path}; `make converters` brings it"
    for source, target in (("onnx", "saved_model"), ("onnx", "tflite"), ("tflite", "saved_model")):
        assert why_no_chain("fp32", target, source).startswith(words)
    assert why_no_chain("static_wi8_ai8", "tflite", "onnx").startswith(words)
    with pytest.raises(RefusedError, match="`make converters` brings it, in an environment of its own"):
        OnnxToSavedModel().write(pictures(tmp_path), tmp_path, None)


def _environment(folder: Path, script: str) -> Path:
    """An environment whose interpreter is a shell script."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "bin" / "python").chmod(0o755)
    (folder / ".complete").touch()
    return folder


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo some words; exit 3", "onnx2tf's process ended without an answer: some words"),
        ("exec sleep 60", "timeout: onnx2tf did not end within 1 s; its process was killed"),
        ('echo "$https_proxy $PYTHONPATH."', "ended without an answer: http://127.0.0.1:9 ."),
    ],
)
def test_a_process_that_dies_or_hangs_is_told_and_none_gets_a_network(monkeypatch, tmp_path, script, words):
    monkeypatch.setenv(from_onnx.ENVIRONMENT, str(_environment(tmp_path / "environment", script)))
    monkeypatch.setattr(OnnxToSavedModel, "timeout_s", 1.0)
    with pytest.raises(TrialError, match=words):
        OnnxToSavedModel().write(pictures(tmp_path), tmp_path, None)


def test_its_key_depends_on_the_versions_over_there(monkeypatch, tmp_path):
    keys = []
    for version in ("1.29.24", "1.29.25"):
        there = tmp_path / version / "lib" / "python3.11" / "site-packages" / "onnx2tf.dist-info"
        there.mkdir(parents=True)
        (there / "METADATA").write_text(f"Metadata-Version: 2.1\nName: onnx2tf\nVersion: {version}\n")
        monkeypatch.setenv(from_onnx.ENVIRONMENT, str(tmp_path / version))
        keys.append(OnnxToSavedModel().key("parent"))
    assert keys[0] != keys[1]


def test_inputs_that_would_get_one_name_are_refused(tmp_path):
    import onnx

    model = onnx.load(pictures(tmp_path))
    for node in model.graph.node:
        node.input[:] = ["image:1" if name == "class" else name for name in node.input]
    model.graph.input[1].name = "image:1"
    onnx.save(model, tmp_path / "twice.onnx")
    with pytest.raises(RefusedError, match=r"cannot tell the inputs \['image.1', 'image:1'\] apart, which it would all call 'image_1'"):
        from_onnx._names(tmp_path / "twice.onnx")


@pytest.mark.parametrize(
    ("name", "plain"), [("x", "x"), ("input.1", "input_1"), ("gpu_0/data_0", "gpu_0_data_0"), ("0", "input_0"), ("class", "input_class")]
)
def test_names_become_identifiers(name, plain):
    assert identifier(name) == plain
    assert plain.isidentifier()
    assert list(as_known({name: 1}, {plain})) == [plain]
    assert list(as_known({name: 1}, {name, "other"})) == [name]


def test_samples_go_under_the_names_of_a_file_with_their_axes():
    samples = Samples({"a.b": np.zeros((4, 2)), "c": np.ones((4, 3))}, None, {"a.b": 1})
    renamed = samples.under(["a_b", "c"])
    assert list(renamed.inputs) == ["a_b", "c"]
    assert renamed.batch_axes == {"a_b": 1}
    assert samples.under(["something", "else"]).inputs.keys() == {"a.b", "c"}


def test_the_axes_of_an_output_are_found_by_its_values():
    wanted = np.random.default_rng(0).normal(size=(2, 4, 5, 6))
    assert reference._transposition("y", wanted, wanted) == (0, 1, 2, 3)
    assert reference._transposition("y", wanted.transpose(0, 2, 3, 1), wanted) == (0, 3, 1, 2)
    square = np.random.default_rng(0).normal(size=(1, 4, 4, 4))
    assert reference._transposition("y", square.transpose(0, 2, 1, 3), square) == (0, 2, 1, 3)
    # Where all values are equal, the axes that onnx2tf usually turns.
    assert reference._transposition("y", np.ones((1, 1, 1, 7)), np.ones((1, 7, 1, 1))) == (0, 3, 1, 2)


@pytest.mark.parametrize(
    ("made_of", "words"),
    [
        (lambda wanted: wanted * 1.5, "another 'y' than ONNX Runtime"),
        (lambda wanted: wanted[:1], r"gives 'y' the shape \[1, 4, 5, 6\]; ONNX Runtime gives \[2, 4, 5, 6\]"),
        (lambda wanted: wanted[:, :, :, 0], r"the shape \[2, 4, 5\]"),
    ],
)
def test_a_translation_that_answers_otherwise_is_caught(made_of, words):
    wanted = np.random.default_rng(0).normal(size=(2, 4, 5, 6))
    with pytest.raises(reference.Refusal, match=words):
        reference._transposition("y", made_of(wanted), wanted)


def test_the_script_needs_nothing_of_the_study():
    assert not any("studylib" in line for line in from_onnx._SCRIPT.read_text().splitlines() if "import" in line)
