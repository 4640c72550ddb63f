"""Models that nobody here made go in through MODEL=, and come out converted, checked and measured."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from studylib.artifacts import arrays
from studylib.recipes.convert.from_onnx import OnnxToSavedModel
from studylib.report.by_name import tables
from studylib.results.results import Results
from tests.in_process import measured
from tests.outputs import conversion_status_of, only, status_of

DENSENET = Path(find_spec("onnx").origin).parent / "backend" / "test" / "data" / "light" / "light_densenet121.onnx"
QUICK = {"recipes": ("fp32",), "batch_sizes": (1,), "sweeps": ()}


def _package_file(package: str, name: str) -> Path:
    found = find_spec(package)
    if found is None:
        pytest.skip(f"the package {package} of requirements/test-models.txt is not installed")
    return Path(found.submodule_search_locations[0]) / name


def _cells(results: Results, model: str) -> dict:
    return {(cell.source, cell.target): conversion_status_of(results, cell) for cell in results.conversions() if cell.model == model}


@pytest.fixture(scope="module")
def densenet(tmp_path_factory):
    """A network of the ``onnx`` wheel on the input that its published output belongs to: (results, that output)."""
    import onnx

    folder = tmp_path_factory.mktemp("densenet")
    values = np.arange(3 * 224 * 224, dtype=np.float64).reshape(1, 3, 224, 224) / (3 * 224 * 224)
    np.savez(folder / "data.npz", data_0=values.astype(np.float32)[None])
    published = onnx.TensorProto.FromString(DENSENET.with_name("light_densenet121_output_0.pb").read_bytes())
    results = measured(folder / "outputs", DENSENET, data=str(folder / "data.npz"), task="classification", **QUICK)
    return results, onnx.numpy_helper.to_array(published)


@pytest.mark.slow
def test_a_published_network_answers_what_was_published(densenet):
    results, published = densenet
    (key,) = [facts["key"] for facts in results.artifacts().values() if facts["format"] == "outputs"]
    outputs, _ = arrays.load(results.folder.parent / ".artifacts" / key[:2] / key / "content" / "outputs")
    assert np.allclose(only(outputs)[0], published, atol=1e-5)
    cells = _cells(results, "light_densenet121")
    assert cells["onnx", "openvino"] == ("ok", "")
    away = OnnxToSavedModel().missing()
    assert cells["onnx", "tflite"] == (("no path", away) if away else ("ok", ""))


@pytest.mark.slow
def test_it_is_measured_and_carries_no_accuracy(densenet):
    table = densenet[0].table()
    measured = table[table.status == "ok"]
    assert {"latency_p50", "sqnr", "max_abs_error", "cosine", "agreement"} <= set(measured.metric)
    assert "top1_accuracy" not in set(table.metric)
    assert set(table.weights) == {"own"}
    others = set() if OnnxToSavedModel().missing() else {"tensorflow", "litert"}
    assert set(measured.runtime) == {"onnxruntime"} | others


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """A stateful speech detector and an old Keras file, together with a damaged file, in one study without data."""
    folder = tmp_path_factory.mktemp("others")
    vad, old = _package_file("silero_vad", "data/silero_vad.onnx"), _package_file("fer", "data/emotion_model.hdf5")
    (folder / "cut.onnx").write_bytes(vad.read_bytes()[:100_000])
    (folder / "vad.onnx").write_bytes(vad.read_bytes())
    (folder / "vad.yaml").write_text(
        "task: other\ninputs:\n  input: {shape: [512], range: [-0.5, 0.5]}\n  sr: {range: [16000, 16001]}\n", encoding="utf-8"
    )
    return measured(folder / "outputs", folder / "cut.onnx", folder / "vad.onnx", folder / "gone.onnx", old, **QUICK)


@pytest.mark.slow
def test_a_stateful_model_keeps_its_states_as_inputs_and_outputs(others):
    cells = _cells(others, "vad")
    # Its branches hide the rank of a tensor from OpenVINO's reader: the matrix says so instead of the user finding out.
    status, reason = cells["onnx", "openvino"]
    assert status == "failed"
    assert reason.startswith("OpenVINO stops at Conv")
    (trial,) = [t for t in others.plan() if t.model == "vad" and t.runtime == "onnxruntime" and not t.control]
    assert status_of(others, trial) == ("ok", "")
    found = others.evaluation(trial.evaluation_id)
    assert [one["name"] for one in found["outputs"]] == ["output", "stateN"]
    assert (found["data"], "agreeing" in found) == ("synthetic", False)


@pytest.mark.slow
def test_an_old_keras_file_reaches_every_format(others):
    cells = _cells(others, "emotion_model")
    for target in ("saved_model", "onnx", "tflite", "openvino", "serving"):
        assert cells["keras_h5", target] == ("ok", ""), target


@pytest.mark.slow
def test_a_damaged_file_costs_its_own_rows_and_nothing_else(others):
    states = {t.model: status_of(others, t) for t in others.plan() if t.runtime == "onnxruntime" and not t.control}
    assert states["cut"][0] == "failed"
    assert "damaged or cut off" in states["cut"][1]
    assert states["vad"][0] == states["emotion_model"][0] == "ok"
    assert states["gone"][0] == "failed"
    assert "gone.onnx: no such file or folder" in states["gone"][1]
    assert {cell for cell in [*_cells(others, "cut").values(), *_cells(others, "gone").values()] if cell[0] == "ok"} == set()


@pytest.mark.slow
def test_what_was_assumed_is_said(others):

    remarks = tables.remarks(others)
    assert any("no DATA was given" in remark for remark in remarks[remarks.model == "emotion_model"].remark)
    assert any("Keras 2" in remark or "Keras 1" in remark for remark in remarks[remarks.model == "emotion_model"].remark)
    report = (others.folder / "report" / "report.md").read_text(encoding="utf-8")
    assert "no DATA was given" in report
    assert json.loads((others.folder / "run.json").read_text())["parameters"]["choice"]["models"]


COLOURS = {"blue": (20, 20, 220), "green": (20, 220, 20), "red": (220, 20, 20)}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Pictures as a notebook and a Mac leave them, for a model of four classes that is right on each: results."""
    import keras
    from PIL import Image

    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(3)
    for name, colour in COLOURS.items():
        (folder / "set" / name).mkdir(parents=True)
        for index in range(12):
            values = np.clip(np.array(colour) + rng.normal(0, 12, (16, 16, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(values).save(folder / "set" / name / f"{index}.png")
        (folder / "set" / name / "._0.png").write_bytes(b"Mac OS X")
    (folder / "set" / ".ipynb_checkpoints").mkdir()
    (folder / "set" / ".ipynb_checkpoints" / "0-checkpoint.png").write_bytes((folder / "set" / "red" / "0.png").read_bytes())
    wanted = np.array([*COLOURS.values(), (128, 128, 128)], np.float32) / 255
    image = keras.Input((16, 16, 3), name="image")
    scores = keras.layers.Dense(4, activation="softmax", name="scores")
    model = keras.Model(image, scores(keras.layers.GlobalAveragePooling2D()(image)))
    scores.set_weights([20 * wanted.T, -10 * (wanted**2).sum(1)])
    model.save(folder / "colours.keras")
    return measured(folder / "outputs", folder / "colours.keras", data=str(folder / "set"), runtimes=("onnxruntime",), **QUICK)


@pytest.mark.slow
def test_what_decides_an_accuracy_stands_beside_it(pictures):
    from studylib.report import summary

    (row,) = tables.quality(pictures).to_dict("records")
    assert row["accuracy_%"].startswith("100")
    assert row["accuracy assumes"].startswith(
        "WARNING: 3 class folders for a model of 4 classes and no `labels` in a card: blue is class 0"
    )
    assert "multiplied by 1/255" in row["accuracy assumes"]
    screen = summary.first_screen(pictures)
    assert any(line.startswith("WARNING about its accuracy: 3 class folders for a model of 4 classes") for line in screen)
    report = (pictures.folder / "report" / "report.md").read_text(encoding="utf-8")
    assert "blue is class 0, green is class 1, red is class 2" in report


@pytest.mark.slow
def test_a_signal_of_any_length_is_timed_on_a_signal_and_a_single_value_says_so(tmp_path):
    from onnx import TensorProto, helper, save

    for name, operator in (("signal", "CumSum"), ("values", "Add")):
        ends = [helper.make_tensor_value_info(end, TensorProto.FLOAT, [None]) for end in ("x", "y")]
        axis = helper.make_tensor("axis", TensorProto.INT64 if operator == "CumSum" else TensorProto.FLOAT, [], [0])
        graph = helper.make_graph([helper.make_node(operator, ["x", "axis"], ["y"])], "g", ends[:1], ends[1:], [axis])
        save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / f"{name}.onnx")
    models = (tmp_path / "signal.onnx", tmp_path / "values.onnx")
    results = measured(tmp_path / "outputs", *models, runtimes=("onnxruntime",), **QUICK)

    remarks = tables.remarks(results)
    said = " ".join(remarks[remarks.model == "signal"].remark)
    assert "'x': dynamic axes are 128 long, so a sample has the shape [128]" in said
    latency = tables.latency(results)
    assert set(latency[latency.model == "signal"].remark) == {""}
    assert set(latency[latency.model == "values"].remark.str.startswith("'x' is a single value a sample")) == {True}
    table = results.table()
    assert set(table[(table.model == "values") & (table.status == "ok")].reason.str.contains("'x' is a single value a sample")) == {True}
