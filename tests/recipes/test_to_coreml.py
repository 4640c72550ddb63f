"""Core ML packages, as far as they can be looked at without a Mac: they are written whole and describe the model's own names."""

import importlib.util

import pytest

from studylib.errors import RefusedError
from studylib.recipes.convert.to_coreml import ToCoreML


@pytest.fixture
def exported(tmp_path):
    """Function that exports a Keras model as a SavedModel."""

    def export(inputs, outputs):
        import keras

        keras.Model(inputs, outputs).export(tmp_path / "source", verbose=False)
        return tmp_path / "source"

    return export


@pytest.mark.skipif(importlib.util.find_spec("coremltools") is not None, reason="coremltools is installed")
def test_without_the_package_the_recipe_says_what_to_install(tmp_path):
    reason = "the package coremltools is not installed (pip install coremltools)"
    assert ToCoreML().missing() == reason
    with pytest.raises(RefusedError) as refusal:
        ToCoreML().write(tmp_path, tmp_path, None)
    assert str(refusal.value) == reason


def test_names_and_a_range_of_batches_are_written(exported, tmp_path):
    coremltools = pytest.importorskip("coremltools")
    import keras

    image, scale = keras.Input((8, 8, 1), name="image"), keras.Input((3,), name="scale")
    x = keras.layers.Flatten()(keras.layers.Conv2D(4, 3, activation="gelu")(image))
    source = exported([image, scale], {"scores": keras.layers.Dense(3)(x) * scale, "again": keras.layers.Dense(2, activation="softmax")(x)})
    path, notes = ToCoreML(largest_batch=8).write(source, tmp_path, None)
    assert notes == {"batch": "1 to 8", "parity": "can be measured on macOS only"}
    spec = coremltools.models.MLModel(str(path), skip_model_load=True).get_spec()
    ranges = {
        value.name: [(size.lowerBound, size.upperBound) for size in value.type.multiArrayType.shapeRange.sizeRanges]
        for value in spec.description.input
    }
    assert ranges == {"image": [(1, 8), (8, 8), (8, 8), (1, 1)], "scale": [(1, 8), (3, 3)]}
    assert {value.name for value in spec.description.output} == {"scores", "again"}
    (block,) = spec.mlProgram.functions["main"].block_specializations.values()
    made = {value.name: value.type.tensorType.dimensions for step in block.operations for value in step.outputs}
    assert {name: made[name][-1].constant.size for name in block.outputs} == {"scores": 3, "again": 2}
    assert (path / "Data" / "com.apple.CoreML" / "weights" / "weight.bin").stat().st_size > 144 * 5 * 4


def test_a_loop_is_refused_with_a_way_out(exported, tmp_path):
    pytest.importorskip("coremltools")
    import keras

    frames = keras.Input((6, 3), name="frames")
    source = exported(frames, keras.layers.LSTM(4)(frames))
    with pytest.raises(
        RefusedError, match=r"coremltools .* does not convert this model .*Loops \(LSTM, GRU, SimpleRNN\) are among.*unroll=True"
    ):
        ToCoreML().write(source, tmp_path, None)


def test_other_dynamic_axes_are_refused(exported, tmp_path):
    pytest.importorskip("coremltools")
    import keras

    frames = keras.Input((None, 3), name="frames")
    with pytest.raises(RefusedError, match="the input frames has dynamic axes besides the batch"):
        ToCoreML().write(exported(frames, keras.layers.Dense(2)(frames)), tmp_path, None)
