"""The folder that TensorFlow Serving loads, and the requests it warms up with, read back as the server reads them."""

import numpy as np
import pytest

from studylib.artifacts.store import content_hash
from studylib.errors import RefusedError
from studylib.models.zoo import Samples
from studylib.recipes.convert.serving import WARMUP, ToServing

RNG = np.random.default_rng(0)
SAMPLES = Samples({"left": RNG.normal(size=(6, 2)).astype(np.float32), "right": RNG.integers(0, 9, (6, 3), np.int32)}, None)


@pytest.fixture
def source(tmp_path):
    import keras

    left, right = keras.Input((2,), name="left"), keras.Input((3,), name="right", dtype="int32")
    looked_up = keras.layers.Flatten()(keras.layers.Embedding(9, 2)(right))
    keras.Model([left, right], keras.layers.Dense(2)(keras.layers.Concatenate()([left, looked_up]))).export(
        tmp_path / "source", verbose=False
    )
    return tmp_path / "source"


def warmup(folder):
    """The requests of a warm-up file."""
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    records = tf.data.TFRecordDataset(str(folder / WARMUP)).as_numpy_iterator()
    return [prediction_log_pb2.PredictionLog.FromString(record).predict_log.request for record in records]


def test_the_layout_is_the_server_s_and_the_model_is_unchanged(source, tmp_path):
    folder = ToServing(model="digits", version=3).write(source, tmp_path, SAMPLES)
    assert folder == tmp_path / "digits"
    assert [version.name for version in folder.iterdir()] == ["3"]
    for name in ("saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"):
        assert content_hash(folder / "3" / name) == content_hash(source / name)


def test_every_request_names_model_and_signature_and_gets_a_finite_answer(source, tmp_path):
    import tensorflow as tf

    folder = ToServing().write(source, tmp_path, SAMPLES) / "1"
    requests = warmup(folder)
    assert len(requests) == 4
    serve = tf.saved_model.load(str(folder)).signatures["serving_default"]
    for index, request in enumerate(requests):
        assert (request.model_spec.name, request.model_spec.signature_name) == ("model", "serving_default")
        inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        assert {name: values.dtype for name, values in inputs.items()} == {"left": np.float32, "right": np.int32}
        np.testing.assert_array_equal(inputs["left"], SAMPLES.inputs["left"][index : index + 1])
        outputs = serve(**{name: tf.constant(values) for name, values in inputs.items()})
        assert all(np.isfinite(values).all() for values in outputs.values())


def test_fewer_samples_make_fewer_requests(source, tmp_path):
    few = Samples({name: values[:2] for name, values in SAMPLES.inputs.items()}, None)
    assert len(warmup(ToServing().write(source, tmp_path, few) / "1")) == 2


@pytest.mark.parametrize(
    "inputs",
    [{"left": SAMPLES.inputs["left"]}, SAMPLES.inputs | {"right": SAMPLES.inputs["right"].astype(np.int64)}],
    ids=["a name is missing", "another type"],
)
def test_samples_that_do_not_fit_are_refused(source, tmp_path, inputs):
    with pytest.raises(RefusedError, match=r"takes \{'left': 'float32', 'right': 'int32'\}, and the warm-up samples are "):
        ToServing().write(source, tmp_path, Samples(inputs, None))
