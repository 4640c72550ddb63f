"""SavedModels with other signatures and with several graphs: one is chosen, told, and alone in the file that everything reads."""

import re

import numpy as np
import pytest

from studylib.artifacts.store import Store
from studylib.build.sources import Sources
from studylib.errors import ArtifactError
from studylib.models.own import OwnModel, saved_models
from studylib.models.own.safety import why_unsafe

WEIGHTS = np.random.default_rng(3).normal(size=(6, 4)).astype(np.float32)
VALUES = np.random.default_rng(4).normal(size=(3, 6)).astype(np.float32)


def _with_signatures(path, **factors: float):
    """A function for each name, which multiplies by its factor."""
    import tensorflow as tf

    module = tf.Module()
    module.weights = tf.Variable(WEIGHTS)
    functions = {}
    for name, factor in factors.items():
        function = tf.function(lambda x, factor=factor: {"y": tf.matmul(x, module.weights) * factor})
        functions[name] = function.get_concrete_function(tf.TensorSpec([None, 6], tf.float32, name="x"))
    module.functions = list(functions.values())
    tf.saved_model.save(module, str(path), signatures=functions)
    return path


def _with_graphs(path, *tags: list[str]):
    """TensorFlow 1: a graph for each list of tags, the number of the graph added to its answers."""
    import tensorflow as tf

    v1 = tf.compat.v1
    builder = v1.saved_model.Builder(str(path))
    for number, names in enumerate(tags):
        with v1.Graph().as_default(), v1.Session() as session:
            x = v1.placeholder(tf.float32, [None, 6], name="x")
            y = tf.add(tf.matmul(x, v1.get_variable("w", initializer=WEIGHTS)), float(number), name="y")
            session.run(v1.global_variables_initializer())
            signature = v1.saved_model.predict_signature_def({"x": x}, {"y": y})
            found = {"signature_def_map": {"serving_default": signature}}
            builder.add_meta_graph(names, **found) if number else builder.add_meta_graph_and_variables(session, names, **found)
    builder.save()
    return path


def _answer(folder):
    import tensorflow as tf

    return tf.saved_model.load(str(folder)).signatures["serving_default"](x=tf.constant(VALUES))["y"].numpy()


def _taken_in(path, tmp_path):
    artifact = Sources(OwnModel(str(path)), 1).source(Store(tmp_path / "store"))
    return artifact.path, (artifact.lineage[-1].get("notes") or {}).get("at the door", [])


def test_the_only_signature_is_taken_and_told(tmp_path):
    folder, told = _taken_in(_with_signatures(tmp_path / "m", predict=2.0), tmp_path)
    np.testing.assert_allclose(_answer(folder), VALUES @ WEIGHTS * 2, rtol=1e-5)
    assert told == ["its only signature, 'predict', is measured"]


def test_the_graph_for_serving_is_taken_and_told(tmp_path):
    folder, told = _taken_in(_with_graphs(tmp_path / "m", ["train"], ["serve", "gpu"], ["serve"]), tmp_path)
    np.testing.assert_allclose(_answer(folder), VALUES @ WEIGHTS + 2, rtol=1e-5)
    assert told == ["of its graphs (train; serve, gpu; serve) the one tagged serve is measured"]


def test_among_several_signatures_the_card_chooses(tmp_path):
    path = _with_signatures(tmp_path / "m", encode=2.0, infer=3.0)
    wanted = (
        r"m has the signatures encode, infer, and none is called serving_default; say which one to measure in a card beside it, m\.yaml: "
    )
    with pytest.raises(ArtifactError, match=wanted + "`signature: encode`"):
        _taken_in(path, tmp_path)
    before = OwnModel(str(path)).source_facts()
    (tmp_path / "m.yaml").write_text("signature: infer")
    assert OwnModel(str(path)).source_facts() != before
    folder, told = _taken_in(path, tmp_path)
    np.testing.assert_allclose(_answer(folder), VALUES @ WEIGHTS * 3, rtol=1e-5)
    assert told == ["its signature 'infer' is measured, as the card says (it has encode, infer)"]
    (tmp_path / "m.yaml").write_text("signature: decode")
    with pytest.raises(ArtifactError, match="the card chooses the signature 'decode', and m has encode, infer; name one of these"):
        _taken_in(path, tmp_path)


def test_a_file_that_is_plain_already_is_copied_and_nothing_is_told(tmp_path):
    path = _with_signatures(tmp_path / "m", serving_default=1.0, other=2.0)
    folder, told = _taken_in(path, tmp_path)
    assert (folder / "saved_model.pb").read_bytes() == (path / "saved_model.pb").read_bytes()
    assert told == []


def test_without_signatures_or_with_graphs_of_no_name_it_is_refused_in_words(tmp_path):
    import tensorflow as tf

    tf.saved_model.save(tf.Module(), str(tmp_path / "none"))
    with pytest.raises(ArtifactError, match="none has no signature, so nothing says what goes in and comes out; export it with one"):
        _taken_in(tmp_path / "none", tmp_path)
    with pytest.raises(ArtifactError, match=r"has several graphs and none is tagged serve \(found: train; eval\)"):
        _taken_in(_with_graphs(tmp_path / "m", ["train"], ["eval"]), tmp_path)


def test_a_rewritten_model_that_answers_otherwise_is_refused(tmp_path):
    import tensorflow as tf

    path = _with_signatures(tmp_path / "m", one=1.0, two=2.0)
    signatures = tf.saved_model.load(str(path)).signatures
    specs = {"x": tf.TensorSpec([None, 6], tf.float32)}
    saved_models._require_same(signatures["one"], signatures["one"], specs, "m")
    with pytest.raises(ArtifactError, match=r"m answers otherwise once its graph and signature stand alone \(output 'y'\)"):
        saved_models._require_same(signatures["one"], signatures["two"], specs, "m")


def test_summaries_that_write_are_refused_and_those_that_only_pack_are_not(tmp_path):
    import tensorflow as tf

    def saved(name: str, act):
        module = tf.Module()
        module.serve = tf.function(act, input_signature=[tf.TensorSpec([None, 2], name="x")])
        tf.saved_model.save(module, str(tmp_path / name), signatures={"serving_default": module.serve})
        return why_unsafe(tmp_path / name, "saved_model")

    def packs(x):
        tf.raw_ops.ScalarSummary(tags="mean", values=tf.reduce_mean(x))
        packed = tf.raw_ops.HistogramSummary(tag="x", values=x)
        return {"y": x, "packed": packed}

    def writes(x):
        writer = tf.raw_ops.SummaryWriter(shared_name="log", container="")
        tf.raw_ops.WriteScalarSummary(writer=writer, step=tf.constant(1, tf.int64), tag="mean", value=tf.reduce_mean(x))
        return {"y": x}

    assert saved("packs", packs) is None
    assert re.search(r"the operator (SummaryWriter|WriteScalarSummary) .*touches files", saved("writes", writes))
