"""Labels are taught where the model is a classifier, its own answers elsewhere; samples that cannot teach are refused in words."""

import importlib

import numpy as np
import pytest

from studylib.errors import RefusedError
from studylib.models.zoo import Samples
from studylib.training.lessons import answers_of, lessons

RNG = np.random.default_rng(5)
INPUT = RNG.normal(size=(20, 4)).astype(np.float32)


@pytest.fixture(params=["keras", "tf_keras"])
def library(request):
    return importlib.import_module(request.param)


def model(library, *layers, inputs=None):
    entry = library.Input((4,), name="x")
    x = entry
    for layer in layers:
        x = layer(x)
    return library.Model(entry, x)


def samples(labels=None, **inputs) -> Samples:
    return Samples(inputs or {"x": INPUT}, labels)


def test_integer_labels_are_taught_to_a_row_of_scores(library):
    labels = RNG.integers(0, 3, 20)
    found = lessons(library, model(library, library.layers.Dense(3, activation="softmax")), samples(labels))
    assert (found.losses, found.from_scores, found.outputs) == (["SparseCategoricalCrossentropy"], [False], [0])
    assert found.taught == "labels of 20 samples, by cross-entropy"
    np.testing.assert_array_equal(found.answers[0], labels)


def test_scores_before_the_softmax_are_told_from_probabilities(library):
    found = lessons(library, model(library, library.layers.Dense(3)), samples(RNG.integers(0, 3, 20)))
    assert found.from_scores == [True]
    one = lessons(library, model(library, library.layers.Dense(1, activation="sigmoid")), samples(RNG.integers(0, 2, 20)))
    assert (one.losses, one.from_scores, one.answers[0].shape) == (["BinaryCrossentropy"], [False], (20, 1))


def test_without_labels_the_models_own_probabilities_are_the_lesson(library):
    teacher = model(library, library.layers.Dense(3, activation="softmax"))
    found = lessons(library, teacher, samples())
    assert found.losses == ["KLDivergence"]
    assert found.taught == "the source model's own answers to 20 samples, by Kullback-Leibler divergence"
    np.testing.assert_allclose(found.answers[0], teacher.predict(INPUT, verbose=0), rtol=1e-5)


def test_several_inputs_and_outputs_go_by_name_and_count_alike(library):
    a, b = library.Input((2,), name="a"), library.Input((3,), name="b")
    joined = library.layers.Concatenate()([a, b])
    large = library.layers.Rescaling(100.0)(library.layers.Dense(2)(joined))
    both = library.Model([b, a], [library.layers.Dense(3, activation="softmax")(joined), large])
    given = samples(a=INPUT[:, :2], b=INPUT[:, 1:])
    found = lessons(library, both, given)
    assert found.losses == ["KLDivergence", "MeanSquaredError"]
    np.testing.assert_array_equal(found.inputs[0], given.inputs["b"])
    assert found.weights[1] == pytest.approx(1 / found.answers[1].var())
    taught = found.compiled(library, both, library.optimizers.SGD(0.0))
    history = taught.fit(tuple(found.inputs), tuple(found.answers), verbose=0)
    assert history.history["loss"][0] == pytest.approx(0, abs=1e-5)


def test_labels_do_not_teach_a_model_without_a_row_of_scores(library):
    found = lessons(library, model(library, library.layers.Reshape((2, 2))), samples(RNG.integers(0, 2, 20)))
    assert found.taught.startswith("the source model's own answers")


def test_answers_keep_the_order_of_outputs(library):
    entry = library.Input((4,), name="x")
    two = library.Model(entry, {"z": entry, "a": library.layers.Rescaling(2.0)(entry)})
    assert [values.shape for values in answers_of(library, two, [INPUT])] == [(20, 4), (20, 4)]
    for tensor, values in zip(two.outputs, answers_of(library, two, [INPUT]), strict=True):
        np.testing.assert_allclose(values, library.Model(entry, tensor).predict(INPUT, verbose=0))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (samples(np.array([0, 3] * 10)), "the label 3 is none of the model's 3 classes; allowed are 0 to 2"),
        (samples(np.array([0, -1] * 10)), "the label -1 is none of"),
        (samples(a=INPUT, b=INPUT), r"training samples are for the inputs \['a', 'b'\]; the model has \['x'\]"),
        (samples(x=INPUT[:0]), "there are no training samples"),
        (samples(x=np.where(INPUT > 1, np.nan, INPUT)), "of the input 'x' hold NaN or infinity; remove those samples"),
        (Samples({"x": INPUT}, None, {"x": 1}), "the input 'x' has no batch on its first axis"),
    ],
)
def test_samples_that_cannot_teach_are_refused(library, given, words):
    with pytest.raises(RefusedError, match=words):
        lessons(library, model(library, library.layers.Dense(3)), given)


def test_answers_that_are_no_floats_teach_nothing():
    import keras

    entry = keras.Input((4,), name="x")
    with pytest.raises(RefusedError, match=r"no output of the model is a float \(int64\)|\(int32\)"):
        lessons(keras, keras.Model(entry, keras.ops.argmax(entry, -1)), samples())
