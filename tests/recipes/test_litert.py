"""Every post-training recipe for LiteRT, by the TensorFlow converter and by ai-edge-quantizer: types, answers, refusals."""

import numpy as np
import pytest

from studylib.errors import RefusedError
from studylib.models.zoo import Samples
from studylib.recipes.convert.to_litert import ToLiteRT
from studylib.recipes.quantize import litert, litert_quantizer
from studylib.recipes.quantize.calibration_check import litert_inputs, saved_model_inputs
from studylib.runtimes import Options
from studylib.runtimes.litert import LiteRT


def given(n: int = 16, seed: int = 0) -> Samples:
    return Samples({"image": np.random.default_rng(seed).normal(size=(n, 8, 8, 3)).astype(np.float32)}, None)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A small convolutional model by format: SavedModel and LiteRT."""
    import keras

    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3), name="image")
    hidden = keras.layers.Conv2D(48, 3, activation="relu")(image)
    hidden = keras.layers.DepthwiseConv2D(3, activation="relu")(hidden)
    hidden = keras.layers.GlobalAveragePooling2D()(hidden)
    folder = tmp_path_factory.mktemp("sources")
    keras.Model(image, keras.layers.Dense(8)(hidden)).export(folder / "saved_model", verbose=False)
    path, _ = ToLiteRT().write(folder / "saved_model", folder, None)
    return {"saved_model": folder / "saved_model", "tflite": path}


@pytest.fixture(scope="module")
def weightless(tmp_path_factory):
    import keras

    image = keras.Input((8, 8, 3), name="image")
    folder = tmp_path_factory.mktemp("weightless")
    keras.Model(image, keras.layers.ReLU()(keras.layers.Add()([image, image]))).export(folder / "saved_model", verbose=False)
    path, _ = ToLiteRT().write(folder / "saved_model", folder, None)
    return {"saved_model": folder / "saved_model", "tflite": path}


def answers(path) -> np.ndarray:
    session = LiteRT().load(path, Options(threads=1))
    queries = given(24, seed=1)
    return np.concatenate([next(iter(session.run(queries.batch(index, 1)).values())) for index in range(len(queries))])


def tensor_types(path) -> set[str]:
    from ai_edge_litert.interpreter import Interpreter

    return {np.dtype(tensor["dtype"]).name for tensor in Interpreter(str(path)).get_tensor_details()}


RECIPES = [
    (litert.Float16(), "fp16", 60),
    (litert.DynamicRange(), "dynamic_wi8_afp32", 30),
    (litert.StaticInt8(), "static_wi8_ai8", 25),
    (litert.StaticInt8(int8_io=False), "static_wi8_ai8_float_io", 25),
    (litert.StaticInt16(), "static_wi8_ai16", 32),
    (litert_quantizer.Float16(), "fp16", 60),
    (litert_quantizer.DynamicRange(), "dynamic_wi8_afp32", 30),
    (litert_quantizer.WeightOnly8(), "weight_only_wi8_afp32", 35),
    (litert_quantizer.WeightOnly4(), "weight_only_wi4_afp32", 8),
    (litert_quantizer.Static(), "static_wi8_ai8", 25),
    (litert_quantizer.Static(activation_bits=16), "static_wi8_ai16", 32),
]


@pytest.mark.parametrize(("recipe", "name", "least"), RECIPES, ids=lambda one: getattr(one, "__module__", None))
def test_it_runs_and_stays_near(sources, tmp_path, recipe, name, least):
    assert recipe.name == name
    path, _ = recipe.write(sources[recipe.source_format], tmp_path, given() if recipe.learns_from else None)
    found, wanted = answers(path), answers(sources["tflite"])
    assert least < 10 * np.log10((wanted**2).sum() / ((found - wanted) ** 2).sum()) < 120


def test_inputs_and_outputs_are_as_the_name_says(sources, tmp_path):
    from ai_edge_litert.interpreter import Interpreter

    def ends(recipe) -> set:
        path, _ = recipe.write(sources[recipe.source_format], tmp_path, given())
        interpreter = Interpreter(str(path))
        return {one["dtype"] for one in (*interpreter.get_input_details(), *interpreter.get_output_details())}

    assert ends(litert.StaticInt8()) == ends(litert_quantizer.Static()) == {np.int8}
    assert ends(litert.StaticInt8(int8_io=False)) == ends(litert.StaticInt16()) == {np.float32}


def test_weights_alone_are_counted_by_their_bits(sources, tmp_path):
    """Two of three can have 4 bits; the interpreter shows 4-bit tensors as int8."""
    path, notes = litert_quantizer.WeightOnly4().write(sources["tflite"], tmp_path, None)
    assert notes == {"weights": "2 int4, 1 int8"}
    eight, notes = litert_quantizer.WeightOnly8().write(sources["tflite"], tmp_path / "..", None)
    assert notes == {"weights": "3 int8"}
    assert path.stat().st_size < eight.stat().st_size
    assert tensor_types(eight) >= {"float32", "int8"}


def test_a_converter_that_changes_nothing_is_refused(tmp_path):
    """TensorFlow's dynamic range leaves small weights in float, without a word: the file would be fp32 by another name."""
    import keras

    values = keras.Input((4,), name="values")
    keras.Model(values, keras.layers.Dense(8)(values)).export(tmp_path / "small", verbose=False)
    with pytest.raises(RefusedError, match=r"quantized none of the \d weights of small: it leaves those of less than 1024 values in float"):
        litert.DynamicRange().write(tmp_path / "small", tmp_path, None)


def test_sixteen_bit_activations_are_in_the_file(sources, tmp_path):
    path, _ = litert.StaticInt16().write(sources["saved_model"], tmp_path, given())
    assert {"int16", "int8"} <= tensor_types(path)


@pytest.mark.parametrize("recipe", [litert.StaticInt8(), litert.StaticInt16(), litert_quantizer.Static()])
def test_samples_that_do_not_fit_are_told(sources, tmp_path, recipe):
    source = sources[recipe.source_format]
    with pytest.raises(RefusedError, match="the input 'image' has the shape 1×3×8×8 a query; the model takes any×8×8×3"):
        recipe.write(source, tmp_path, Samples({"image": np.ones((2, 3, 8, 8), np.float32)}, None))
    with pytest.raises(RefusedError, match=r"calibration data never varies \('image' is always 1\)"):
        recipe.write(source, tmp_path, Samples({"image": np.ones((2, 8, 8, 3), np.float32)}, None))
    with pytest.raises(RefusedError, match="calibration data is empty"):
        recipe.write(source, tmp_path, Samples({"image": np.ones((0, 8, 8, 3), np.float32)}, None))


def test_shapes_are_read_from_the_sources(sources):
    assert saved_model_inputs(sources["saved_model"], "serving_default") == {"image": [None, 8, 8, 3]}
    assert litert_inputs(sources["tflite"]) == {"image": [None, 8, 8, 3]}


FROM_A_FILE = [recipe for recipe, _, _ in RECIPES if recipe.source_format == "tflite"]


@pytest.mark.parametrize("recipe", FROM_A_FILE, ids=lambda one: one.name)
def test_a_quantized_file_is_refused(sources, tmp_path, recipe):
    path, _ = litert_quantizer.DynamicRange().write(sources["tflite"], tmp_path, None)
    with pytest.raises(RefusedError, match=r"model.tflite is already quantized \(tensors: 3 int8\); start from its float version"):
        recipe.write(path, tmp_path, given())


@pytest.mark.parametrize("recipe", [one for one, name, _ in RECIPES if name != "fp16"], ids=lambda one: one.name)
def test_a_model_without_weights_is_told_what_it_has(weightless, tmp_path, recipe):
    with pytest.raises(RefusedError, match=r"no operator of .* that integers can be used for \(CONV_2D, .*\); found 1 ADD"):
        recipe.write(weightless[recipe.source_format], tmp_path, given())
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def recurrent(tmp_path_factory):
    """A SavedModel by whether its recurrent layer is unrolled."""
    import keras

    folder = tmp_path_factory.mktemp("recurrent")
    for unroll in (False, True):
        frames = keras.Input((3, 4), name="frames", batch_size=1)
        keras.Model(frames, keras.layers.LSTM(16, unroll=unroll)(frames)).export(folder / str(unroll), verbose=False)
    return {unroll: folder / str(unroll) for unroll in (False, True)}


@pytest.mark.parametrize("recipe", [litert.StaticInt8(), litert.StaticInt16()], ids=lambda one: one.name)
def test_a_loop_is_refused_before_the_converter_dies_of_it(recurrent, tmp_path, recipe):
    frames = Samples({"frames": np.random.default_rng(0).normal(size=(4, 3, 4)).astype(np.float32)}, None)
    with pytest.raises(
        RefusedError, match=r"the model loops \(1 × While, the first is .*while.*Build the recurrent layer with unroll=True"
    ):
        recipe.write(recurrent[False], tmp_path, frames)


@pytest.mark.slow
def test_what_the_refusal_advises_works(recurrent, tmp_path):
    frames = Samples({"frames": np.random.default_rng(0).normal(size=(4, 3, 4)).astype(np.float32)}, None)
    for recipe, unrolled in ((litert.StaticInt8(), True), (litert.DynamicRange(), False)):
        path, _ = recipe.write(recurrent[unrolled], tmp_path, frames)
        assert next(iter(LiteRT().load(path, Options(threads=1)).run(frames.batch(0, 1)).values())).shape == (1, 16)
