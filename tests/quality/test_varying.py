"""Outputs whose shape depends on the input: speed is measured, fidelity is told as not comparable, and no number stands for it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from studylib.artifacts import arrays
from studylib.build.sources import Sources
from studylib.errors import ArtifactError
from studylib.models.own import OwnModel
from studylib.models.zoo import Samples
from studylib.quality import varying
from studylib.quality.answers import stacked
from studylib.report.by_name import tables
from studylib.report.tables.techniques import quality_text
from studylib.verdicts.losses import lost
from studylib.verdicts.variants import variants as every_variant
from tests.in_process import study_of
from tests.outputs import status_of

RNG = np.random.default_rng(3)


def detector(path, least: float = 0.85, weights: float = 1.0) -> str:
    """A detector with its non-maximum suppression inside: as many boxes as are found, another number for each picture."""
    from onnx import TensorProto, helper, numpy_helper, save

    rng = np.random.default_rng(3)
    constants = {
        "w": weights * rng.normal(size=(192, 96)).astype(np.float32) / 10, "v": rng.normal(size=(192, 24)).astype(np.float32) / 8,
        "flat_shape": np.array([1, -1]), "box_shape": np.array([1, 24, 4]), "score_shape": np.array([1, 1, 24]), "most": np.array([20]),
        "iou": np.array([0.5], np.float32), "least": np.array([least], np.float32), "last": np.array(2),
    }  # fmt: skip
    nodes = [
        ("Reshape", ["image", "flat_shape"], ["flat"]), ("MatMul", ["flat", "w"], ["b0"]), ("Sigmoid", ["b0"], ["b1"]),
        ("Reshape", ["b1", "box_shape"], ["boxes"]), ("MatMul", ["flat", "v"], ["s0"]), ("Sigmoid", ["s0"], ["s1"]),
        ("Reshape", ["s1", "score_shape"], ["scores"]), ("NonMaxSuppression", ["boxes", "scores", "most", "iou", "least"], ["selected"]),
        ("Gather", ["selected", "last"], ["which"]), ("Gather", ["boxes", "which"], ["kept"]),
    ]  # fmt: skip
    graph = helper.make_graph(
        [helper.make_node(*node, **({"axis": 1} if node[0] == "Gather" else {})) for node in nodes],
        "detector",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("kept", TensorProto.FLOAT, [1, "found", 4])],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return str(path)


def _outputs(shapes, seed=0) -> dict:
    rng = np.random.default_rng(seed)
    return varying.gathered([{"kept": rng.standard_normal((1, count, 4)).astype(np.float32)} for count in shapes])


def test_answers_of_any_shapes_are_kept_as_they_were(tmp_path):
    found = _outputs([3, 0, 2]) | {"scores": np.arange(6.0).reshape(3, 2)}
    kept, _ = arrays.load(arrays.save(tmp_path / "outputs", found))
    assert [one.shape for one in kept["kept"]] == [(1, 3, 4), (1, 0, 4), (1, 2, 4)]
    assert all(np.array_equal(one, other) for one, other in zip(kept["kept"], found["kept"], strict=True))
    assert np.array_equal(kept["scores"], found["scores"])
    assert kept["kept"][:2].dtype == object


def test_equal_shapes_stay_one_array():
    assert _outputs([2, 2, 2])["kept"].shape == (3, 1, 2, 4)
    assert varying.why_not_comparable(_outputs([2, 2]), _outputs([2, 2])) == ""


def test_sample_by_sample_tells_what_it_can_without_a_number_of_fidelity():
    reference = _outputs([3, 0, 2, 1])
    assert varying.told(_outputs([3, 0, 2, 1]), reference) == (
        "4 of 4 samples have as many answers as the source model gives, with equal values"
    )
    assert varying.told(_outputs([3, 0, 1, 1], seed=1), reference).startswith("3 of 4 samples have as many")
    assert varying.told(_outputs([3, 0, 1, 1], seed=1), reference).endswith("with not quite the same values")
    assert "dB" not in varying.told(_outputs([3, 0, 2, 1], seed=1), reference)


@pytest.mark.parametrize(
    ("shapes", "seed", "precision", "words"),
    [
        ([3, 0, 2, 1], 0, "fp32", None),
        ([3, 0, 2, 4], 1, "fp32", "parity: SQNR -"),
        ([1, 1, 1, 1], 1, "fp32", "parity: only 1 of 4 samples have as many answers as the source model gives; fp32 may differ in a few"),
        ([1, 1, 1, 1], 1, "static_wi8_ai8", None),
    ],
)
def test_a_float_conversion_that_finds_other_things_is_another_model(shapes, seed, precision, words):
    found = varying.why_not_same(_outputs(shapes, seed), _outputs([3, 0, 2, 1]), precision)
    assert found is None if words is None else found.startswith(words)


def test_what_is_empty_for_every_sample_asks_for_other_data():
    why = varying.why_not_comparable(_outputs([0, 0]), _outputs([0, 0]))
    assert why.startswith(
        "not comparable: the source model's output 'kept' is empty for every sample here (shape 1×0×4); give DATA in which"
    )


def test_what_must_be_comparable_refuses_with_the_remedy():
    samples, shapes = Samples({"x": np.zeros((2, 1), np.float32)}, None), iter([1, 2])
    with pytest.raises(ArtifactError, match=r"'kept' has another shape for another sample .* without its non-maximum suppression"):
        stacked(lambda query: {"kept": np.zeros((1, next(shapes), 4))}, samples)


def test_as_a_classification_it_is_refused(tmp_path):
    from studylib.artifacts.store import Store

    model = OwnModel(detector(tmp_path / "d.onnx"), declared_task="classification")
    with pytest.raises(ArtifactError, match=r"a classification needs one row .* another shape for another sample; say TASK=other"):
        Sources(model, 1).reference(8, Store(tmp_path / "store"))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study of the detector, everything evaluated and the single queries timed."""
    folder = tmp_path_factory.mktemp("detector")
    choice = {"recipes": ("fp32", "static_wi8_ai8"), "runtimes": ("onnxruntime", "openvino"), "batch_sizes": (1, 4)}
    made = study_of(folder / "outputs", detector(folder / "detector.onnx"), **choice)
    made.evaluate()
    made.bench.measure([one for one in made.timed if made.is_smallest(one)])
    made.save()
    return made


def test_speed_is_measured_and_fidelity_is_not_told(study):
    results = study.results
    for one in results.plan():
        if one.reason or one.batch_size > 1:
            continue
        assert status_of(results, one) == ("ok", "")
        found = results.evaluation(one.evaluation_id)
        assert (found["comparable"], "sqnr" in found, "n" in found, "agreeing" in found) == (False, False, False, False)
        assert "the number of answers depends on the input (output 'kept': 1×0×4 to " in found["why_not_comparable"]
        assert "without its non-maximum suppression" in found["why_not_comparable"]
    table = results.table()
    assert "latency_p50" in set(table.metric)
    assert not {"sqnr", "output_mse", "cosine", "agreement", "top1_accuracy"} & set(table.metric)


def test_every_table_says_not_comparable(study):
    results = study.results
    assert all(text.startswith("not comparable: ") for text in tables.quality(results).parity)
    timed = [variant for variant in every_variant(results) if results.state(variant.trial).ok]
    assert timed
    assert {quality_text(variant) for variant in timed} == {"not comparable"}
    assert {lost(variant).within(0.01) for variant in timed} == {None}
    words = "not known: the number of answers depends on the input"
    assert all(lost(variant).words.startswith(words) for variant in timed)
    cells = tables.conversions(results)
    assert cells[cells.status == "ok"]["reason or remark"].str.startswith("not comparable: ").all()


def test_its_batches_are_refused(study):
    reasons = {status_of(study.results, one) for one in study.results.plan() if one.batch_size > 1 and not one.reason}
    assert {status for status, _ in reasons} == {"failed"}
    assert all(reason.startswith("batch 4: no input of the model has a batch axis") for _, reason in reasons)


def test_a_record_that_is_not_comparable_carries_no_number(study, caplog):
    one = next(t for t in study.results.plan() if not t.reason)
    found = study.results.evaluation(one.evaluation_id)
    for change in ({"n": 3}, {"agreeing": [True]}, {"why_not_comparable": None}):
        study.results.record_evaluation("evaluation-planted", found | change)
        assert study.results.evaluation("evaluation-planted") is None
    assert "is damaged" in caplog.text


def test_another_model_in_its_place_is_refused(study, tmp_path):
    """The same detector with other weights, evaluated against this one's answers."""
    from studylib.build.site import Site
    from studylib.measure import worker

    one = next(t for t in study.trials if t.runtime == "onnxruntime" and not t.reason)
    other = study.store.put(Path(detector(tmp_path / "other.onnx", weights=-1.0)))
    job = replace(study.bench._evaluation(one), artifact=other.key)
    found = worker.evaluate(job, Site(store=str(study.store.folder)))
    assert found["status"] == "failed"
    assert found["reason"].startswith("parity: ")


def test_the_report_is_written(study):
    from studylib.report import report

    text = report.build(study.results).with_name("report.md").read_text(encoding="utf-8")
    assert "not comparable" in text
    assert pd.read_parquet(study.folder / "results.parquet").status.eq("ok").any()
