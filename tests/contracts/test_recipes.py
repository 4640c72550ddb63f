"""The promises that every recipe keeps, in every format it exists for, on the trained mnist_cnn."""

import dataclasses
import itertools
import json

import numpy as np
import pytest

from studylib.artifacts import arrays
from studylib.build.making import make
from studylib.build.sources import Sources
from studylib.errors import RefusedError
from studylib.params.recipe_names import split_recipe
from studylib.quality import metrics
from studylib.recipes import RECIPES, RETRAINED, chain, names, why_no_chain
from studylib.runtimes import RUNTIMES, Options
from studylib.runtimes.onnxruntime import INT8_SUMS
from studylib.study.opening import open_study
from studylib.study.plan import OPENERS
from tests.outputs import only
from tests.parts_of_a_study import reference_of, samples_of

ELEMENTARY = [recipe for targets in RECIPES.values() for recipes in targets.values() for recipe in recipes]
EVERY = [*ELEMENTARY, *RETRAINED.values()]


# One of each kind that trains; `make study RECIPE=all` trains the rest.
TAUGHT = ("qat", "pruned_polynomial80", "clustered16", "pruned_channels50", "distilled_half")


@pytest.fixture(params=EVERY, ids=lambda recipe: f"{recipe.name}-{recipe.source_format}-{recipe.target}")
def entry(request):
    """A recipe; one that trains does so for one epoch here."""
    recipe = request.param
    return dataclasses.replace(recipe, epochs=1) if recipe.learns_from == "training" else recipe


def _artifact(mnist, recipe):
    """What the smoke study made with ``recipe``, as a trial or in the matrix of formats; it is made here otherwise."""
    targets = [target for target in mnist.plan.targets if target.kind == "recipe"]
    made = [mnist.artifact(target.key) for target in targets if mnist.stock.has(target.key)]
    made = [a for a in made if a.lineage[-1]["made_by"] == recipe._made_by and _config(recipe) == _config_of(a)]
    if made:
        return made[0]
    if reason := recipe.missing():
        pytest.skip(reason)
    if recipe.learns_from == "training":
        return _taught(mnist, recipe)
    if recipe.learns_from == "search":
        return _searched(mnist, recipe)
    if recipe.name == "wi8_ai8":
        return recipe(_taught(mnist, dataclasses.replace(RETRAINED["qat"], epochs=1)), mnist.store)
    steps = chain(recipe.name, recipe.target, "keras")
    if not steps or type(steps[-1]) is not type(recipe):
        pytest.skip(f"mnist_cnn never passes here: it starts from {recipe.source_format}")
    way = tuple((step.name, step.source_format, step.target) for step in steps)
    return make(dataclasses.replace(targets[0], steps=way, lessons=None), mnist.store, {})


def _searched(mnist, recipe):
    """What a search finds for a format of which the smoke study has no runtime; the second time it is there."""
    choice = {"models": ("mnist_cnn",), "recipes": (recipe.name,), "runtimes": (OPENERS[recipe.target],)}
    study = dataclasses.replace(open_study("cpu", "smoke", write=lambda line: None, **choice), folder=mnist.folder.parent / "searched")
    study.compress(matrix=False)
    return study.artifact(next(trial.artifact_key for trial in study.made if trial.recipe == recipe.name))


def _taught(mnist, recipe):
    """What a recipe that trains made of mnist_cnn; trained when it is asked for first."""
    if recipe.name not in TAUGHT:
        pytest.skip("one of each kind is trained here; `make study RECIPE=all` trains this one")
    sources = _sources(mnist)
    return recipe(sources.source(mnist.store), mnist.store, sources.samples("train", sources.model.train_samples, mnist.store))


def _sources(mnist) -> Sources:
    return Sources(mnist.plan.models["mnist_cnn"], mnist.params.choice.seed)


def _config(recipe) -> dict:
    return {name: value for name, value in json.loads(json.dumps(dataclasses.asdict(recipe))).items() if name != "seed"}


def _config_of(artifact) -> dict:
    return {name: value for name, value in artifact.lineage[-1]["config"].items() if name != "seed"}


def _reference(mnist, artifact):
    """The outputs that an artifact must still give: the source model's, or those of the retrained version that it was made of."""
    base, _ = split_recipe(artifact.precision)
    if base is None:
        return reference_of(mnist)[:64]
    version = _taught(mnist, dataclasses.replace(RETRAINED[base], epochs=1))
    return only(arrays.load(_sources(mnist).reference(64, mnist.store, version).path)[0])[:, 0]


def test_it_is_a_frozen_configuration_with_names_and_a_source(entry):
    assert dataclasses.is_dataclass(entry)
    with pytest.raises(dataclasses.FrozenInstanceError):
        entry.anything = 1
    assert entry in RECIPES.get(entry.name, {}).get(entry.target, ()) or dataclasses.replace(RETRAINED[entry.name], epochs=1) == entry
    assert entry.packages
    assert type(entry).__doc__


@pytest.mark.parametrize("source", ["keras", "keras_h5", "torch", "saved_model", "onnx", "tflite"])
def test_every_chain_is_unbroken(entry, source):
    steps = chain(entry.name, entry.target, source)
    if steps:
        assert steps[0].source_format == source
        assert (steps[-1].name, steps[-1].target) == (entry.name, entry.target)
    assert all(after.source_format == before.target for before, after in itertools.pairwise(steps or []))
    assert steps is not None or why_no_chain(entry.name, entry.target, source).startswith(("no path from", f"{entry.name} trains a Keras"))


def test_a_chain_leads_to_it_from_its_own_source(entry):
    assert [type(step) for step in chain(entry.name, entry.target, entry.source_format)] == [type(entry)]


def test_its_artifact_runs_and_is_still_the_same_model(entry, mnist):
    artifact = _artifact(mnist, entry)
    assert artifact.format == entry.target
    assert artifact.precision == entry.name or artifact.precision.endswith(f"_{entry.name}") or entry.name == "fp32"
    samples, reference = samples_of(mnist), _reference(mnist, artifact)
    if entry.target not in OPENERS:
        pytest.skip(f"no runtime opens {entry.target} on this machine")
    whole = {INT8_SUMS: "32"} if entry.target == "onnx" and "weight_only" not in entry.name else {}
    session = RUNTIMES[OPENERS[entry.target]].load(artifact.path, Options(threads=1, settings=whole))
    outputs = {"it": np.concatenate([only(session.run(samples.batch(index, 1))) for index in range(64)])}
    assert metrics.why_not_same(metrics.metrics(outputs, {"it": reference}, None), split_recipe(artifact.precision)[1]) is None


def test_its_lineage_names_every_step(entry, mnist):
    artifact = _artifact(mnist, entry)
    assert len(artifact.lineage) >= 2
    assert artifact.lineage[-1]["key"] == artifact.key
    assert _config_of(artifact) == _config(entry)


def test_its_key_depends_on_its_configuration_parent_and_calibration(entry):
    if entry.missing():
        pytest.skip(entry.missing())
    base = entry.key("parent", "samples")
    assert base == entry.key("parent", "samples")
    assert base != entry.key("another", "samples")
    assert (base != entry.key("parent", "other samples")) == bool(entry.learns_from)
    for field in dataclasses.fields(entry):
        before = getattr(entry, field.name)
        changed = dataclasses.replace(entry, **{field.name: not before if isinstance(before, bool) else 7})
        assert changed.key("parent", "samples") != base


def test_it_refuses_the_wrong_format_and_says_what_it_takes(entry, mnist, tmp_path):
    wrong = dataclasses.replace(_artifact(mnist, entry), format="caffe")
    assert entry.source_format in entry.why_not(wrong)
    with pytest.raises(RefusedError, match="starts from"):
        entry(wrong, mnist.stock.store)


def test_it_refuses_what_is_already_quantized(entry, mnist):
    quantized = dataclasses.replace(_artifact(mnist, entry), format=entry.source_format, precision="static_wi8_ai8", is_float=False)
    assert "is already static_wi8_ai8; start from its fp32 artifact" in entry.why_not(quantized)


def test_without_calibration_samples_it_says_so(entry, mnist):
    if not entry.learns_from:
        assert not any("calibration" in field.name for field in dataclasses.fields(entry))
        return
    source = dataclasses.replace(_artifact(mnist, entry), format=entry.source_format, precision="fp32", is_float=True)
    with pytest.raises(
        RefusedError, match={"search": "needs a search"}.get(entry.learns_from, f"needs {entry.learns_from} samples; give real")
    ):
        entry(source, mnist.stock.store)


def test_quantized_artifacts_are_smaller_than_the_float_one(mnist):
    for target in ("tflite", "onnx"):
        post = [name for name in RECIPES if target in RECIPES[name] and not name.startswith("adaptive")]
        sizes = {name: _artifact(mnist, RECIPES[name][target][0]).size_bytes for name in post}
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


def test_every_name_that_can_be_asked_for_leads_somewhere():
    for name in names():
        base, last = split_recipe(name)
        targets = {target for target in ("saved_model", "tflite", "onnx") if chain(name, target, "keras")}
        assert targets, name
        assert (base in RETRAINED) == (base is not None)
        assert last in RECIPES


def test_names_are_made_of_what_trains_and_what_follows():
    assert split_recipe("pruned_2by4_static_wi8_ai8") == ("pruned_2by4", "static_wi8_ai8")
    assert split_recipe("pruned_clustered_qat_wi8_ai8") == ("pruned_clustered_qat", "wi8_ai8")
    assert split_recipe("clustered16") == ("clustered16", "fp32")
    assert split_recipe("static_wi8_ai8_per_tensor") == (None, "static_wi8_ai8_per_tensor")


@pytest.mark.parametrize("source", ["onnx", "tflite", "saved_model", "keras_h5"])
def test_what_is_no_keras_model_is_not_trained(source):
    assert chain("pruned_2by4", "onnx", source) is None
    assert why_no_chain("pruned_2by4", "onnx", source) == f"pruned_2by4 trains a Keras model; what comes as {source} cannot be trained here"


def test_the_grammar_of_names_knows_every_recipe_that_trains():
    from studylib.params import recipe_names
    from studylib.recipes import RETRAINED

    assert sorted(recipe_names.TRAINING) == sorted(RETRAINED)
    assert recipe_names.split_recipe("pruned_2by4_fp16") == ("pruned_2by4", "fp16")
    assert recipe_names.split_recipe("qat") == ("qat", "fp32")
    assert recipe_names.split_recipe("static_wi8_ai8") == (None, "static_wi8_ai8")
