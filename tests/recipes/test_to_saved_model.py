"""HDF5 files of Keras 2 and 3 become SavedModels that answer as their models do; their code runs only for who trusts it."""

import numpy as np
import pytest

from studylib.errors import RefusedError
from studylib.recipes.convert.to_saved_model import LegacyKerasToSavedModel

VALUES = {"left": np.float32([[1, -2], [3, 4], [0, 1]]), "right": np.float32([[5, 6, 1], [-7, 8, 1], [1, 1, 0]])}


@pytest.fixture(params=["keras", "tf_keras"])
def library(request):
    return pytest.importorskip(request.param)


def served(folder, inputs):
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder))
    outputs = loaded.signatures["serving_default"](**{name: tf.constant(values) for name, values in inputs.items()})
    return {name: values.numpy() for name, values in outputs.items()}


@pytest.mark.filterwarnings("ignore")
def test_several_inputs_and_outputs_keep_their_names_and_values(library, tmp_path):
    layers = library.layers
    inputs = [library.Input((2,), name="left"), library.Input((3,), name="right")]
    both = layers.Concatenate()(inputs)
    model = library.Model(inputs, [layers.Dense(4)(both), layers.Dense(2, activation="softmax")(both)])
    model.save(tmp_path / "model.h5")
    folder, notes = LegacyKerasToSavedModel().write(tmp_path / "model.h5", tmp_path, None)
    assert notes == {"written by": f"Keras {library.__version__}", "read by": f"{library.__name__} {library.__version__}"}
    for size in (1, 3):
        batch = {name: values[:size] for name, values in VALUES.items()}
        outputs = served(folder, batch)
        assert set(outputs) == {"output_0", "output_1"}
        for name, wanted in zip(("output_0", "output_1"), model(list(batch.values())), strict=True):
            np.testing.assert_allclose(outputs[name], wanted, rtol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_code_in_a_file_runs_only_for_who_trusts_it(library, tmp_path):
    marker = tmp_path / "the-planted-code-ran"
    inputs = library.Input((2,), name="values")
    evil = eval(f"lambda x: (__import__('pathlib').Path({str(marker)!r}).touch(), x)[1]")
    library.Model(inputs, library.layers.Lambda(evil, name="evil")(inputs)).save(tmp_path / "model.h5")
    marker.unlink()
    with pytest.raises(RefusedError, match=r"the file holds a Lambda layer 'evil', which runs Python code from the file.*set TRUST=1"):
        LegacyKerasToSavedModel().write(tmp_path / "model.h5", tmp_path, None)
    assert not marker.exists()
    folder, _ = LegacyKerasToSavedModel(trust=True).write(tmp_path / "model.h5", tmp_path, None)
    assert marker.exists()
    np.testing.assert_array_equal(served(folder, {"values": VALUES["left"]})["output_0"], VALUES["left"])


def test_weights_alone_are_refused(tmp_path):
    import keras

    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save_weights(tmp_path / "model.weights.h5")
    with pytest.raises(RefusedError, match=r"model.weights.h5 holds weights only, no architecture; save the whole model with model.save"):
        LegacyKerasToSavedModel().write(tmp_path / "model.weights.h5", tmp_path, None)


@pytest.mark.filterwarnings("ignore")
def test_a_layer_that_nobody_knows_is_named_with_both_versions(tmp_path):
    import tf_keras

    class Mine(tf_keras.layers.Layer):
        pass

    tf_keras.Sequential([tf_keras.Input((2,)), Mine()]).save(tmp_path / "model.h5")
    with pytest.raises(RefusedError, match=r"model.h5, written by Keras 2.*, cannot be read by tf_keras 2.*: Unknown layer: '?Mine"):
        LegacyKerasToSavedModel().write(tmp_path / "model.h5", tmp_path, None)
