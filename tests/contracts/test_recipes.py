"""The promises that every recipe keeps, in every format it exists for, on the trained mnist_cnn."""

import dataclasses
import itertools

import numpy as np
import pytest
from conftest import only, reference_of, samples_of

from studylib import quality
from studylib.errors import RefusedError
from studylib.plan import OPENERS
from studylib.recipes import RECIPES, chain, why_no_chain
from studylib.runtimes import RUNTIMES, Options

EVERY = [recipe for targets in RECIPES.values() for recipes in targets.values() for recipe in recipes]


@pytest.fixture(params=EVERY, ids=lambda recipe: f"{recipe.name}-{recipe.source_format}-{recipe.target}")
def entry(request):
    return request.param


def _artifact(mnist, recipe):
    """What the smoke study made with ``recipe``, or what it makes of the study's float artifacts now."""
    keys = [target["key"] for target in mnist.plan.targets if target["kind"] == "recipe"]
    made = [mnist.artifact(key) for key in keys if mnist.is_made(key)]
    step = {"made_by": recipe._made_by, "config": dataclasses.asdict(recipe)}
    found = [a for a in made if step.items() <= a.lineage[-1].items()]
    return found[0] if found else _made_now(mnist, recipe, made)


def _made_now(mnist, recipe, made):
    sources = [a for a in made if a.format == recipe.source_format and a.precision == "fp32"]
    if recipe.name == "fp32" or recipe.missing() or not sources or recipe.learns_from not in ("", "calibration"):
        pytest.skip(f"mnist_cnn never passes here: {recipe.missing() or f'it starts from {recipe.source_format}'}")
    train = next(target["key"] for target in mnist.plan.targets if target["kind"] == "samples" and target["split"] == "train")
    return recipe(sources[0], mnist.store, mnist.artifact(train) if recipe.learns_from else None)


def test_it_is_a_frozen_configuration_with_names_and_a_source(entry):
    assert dataclasses.is_dataclass(entry)
    with pytest.raises(dataclasses.FrozenInstanceError):
        entry.anything = 1
    assert entry in RECIPES[entry.name][entry.target]
    assert entry.packages
    assert type(entry).__doc__


@pytest.mark.parametrize("source", ["keras", "keras_h5", "torch", "saved_model", "onnx", "tflite"])
def test_every_chain_is_unbroken(entry, source):
    steps = chain(entry.name, entry.target, source)
    if steps:
        assert steps[0].source_format == source
        assert (steps[-1].name, steps[-1].target) == (entry.name, entry.target)
    assert all(after.source_format == before.target for before, after in itertools.pairwise(steps or []))
    assert steps is not None or why_no_chain(entry.name, entry.target, source).startswith("no path from")


def test_a_chain_leads_to_it_from_its_own_source(entry):
    assert [type(step) for step in chain(entry.name, entry.target, entry.source_format)] == [type(entry)]


def test_its_artifact_runs_and_is_still_the_same_model(entry, mnist):
    artifact = _artifact(mnist, entry)
    assert (artifact.format, artifact.precision) == (entry.target, entry.name)
    samples, reference = samples_of(mnist), reference_of(mnist)[:64]
    if entry.target not in OPENERS:
        pytest.skip(f"nothing outside macOS opens {entry.target}")
    session = RUNTIMES[OPENERS[entry.target]].load(artifact.path, Options(threads=1))
    outputs = {"it": np.concatenate([only(session.run(samples.batch(index, 1))) for index in range(64)])}
    assert quality.why_not_same(quality.metrics(outputs, {"it": reference}, None), entry.name) is None


def test_its_lineage_names_every_step(entry, mnist):
    artifact = _artifact(mnist, entry)
    assert len(artifact.lineage) >= 2
    assert artifact.lineage[-1]["key"] == artifact.key
    assert artifact.lineage[-1]["config"] == dataclasses.asdict(entry)


def test_its_key_depends_on_its_configuration_parent_and_calibration(entry):
    if entry.missing():
        pytest.skip(entry.missing())
    base = entry.key("parent", "samples")
    assert base == entry.key("parent", "samples")
    assert base != entry.key("another", "samples")
    assert (base != entry.key("parent", "other samples")) == bool(entry.learns_from)
    for field in dataclasses.fields(entry):
        changed = dataclasses.replace(entry, **{field.name: not getattr(entry, field.name)})
        assert changed.key("parent", "samples") != base


def test_it_refuses_the_wrong_format_and_says_what_it_takes(entry, mnist, tmp_path):
    wrong = dataclasses.replace(_artifact(mnist, entry), format="caffe")
    assert entry.source_format in entry.why_not(wrong)
    with pytest.raises(RefusedError, match="starts from"):
        entry(wrong, mnist.store)


def test_it_refuses_what_is_already_quantized(entry, mnist):
    quantized = dataclasses.replace(_artifact(mnist, entry), format=entry.source_format, precision="static_wi8_ai8", is_float=False)
    assert "is already static_wi8_ai8; start from its fp32 artifact" in entry.why_not(quantized)


def test_without_calibration_samples_it_says_so(entry, mnist):
    if not entry.learns_from:
        assert not any("calibration" in field.name for field in dataclasses.fields(entry))
        return
    source = dataclasses.replace(_artifact(mnist, entry), format=entry.source_format, precision="fp32")
    with pytest.raises(RefusedError, match="needs calibration samples; give real training samples"):
        entry(source, mnist.store)


def test_quantized_artifacts_are_smaller_than_the_float_one(mnist):
    for target in ("tflite", "onnx"):
        sizes = {name: _artifact(mnist, RECIPES[name][target][0]).size_bytes for name in RECIPES if target in RECIPES[name]}
        assert all(sizes[name] < sizes["fp32"] for name in sizes if name != "fp32")


def test_int8_files_really_hold_int8(mnist):
    import onnx
    from ai_edge_litert.interpreter import Interpreter

    lite = Interpreter(model_path=str(_artifact(mnist, RECIPES["static_wi8_ai8"]["tflite"][0]).path))
    assert {lite.get_input_details()[0]["dtype"], lite.get_output_details()[0]["dtype"]} == {np.int8}
    graph = onnx.load(_artifact(mnist, RECIPES["static_wi8_ai8"]["onnx"][0]).path).graph
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in graph.node}
    assert onnx.TensorProto.INT8 in {tensor.data_type for tensor in graph.initializer}


def test_onnx_files_name_their_inputs_outputs_and_batch(mnist):
    import onnx

    graph = onnx.load(_artifact(mnist, RECIPES["fp32"]["onnx"][0]).path).graph
    assert [value.name for value in graph.input] == ["image"]
    assert ":" not in graph.output[0].name
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
