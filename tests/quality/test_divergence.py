"""The search for the first diverging layer names what was planted, in every format, and finds nothing in honest conversions."""

from itertools import product

import numpy as np
import pytest

from studylib.errors import ArtifactError, UnknownNameError
from studylib.quality.divergence import first_divergence
from tests.outputs import path_of

LIMIT_DB = 60
WEIGHTED = ("stem", "depthwise", "pointwise", "side", "probabilities")


def _randomised(model):
    """Batch normalisation with random statistics: at their initial values it would change nothing."""
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if type(layer).__name__ == "BatchNormalization":
            sizes = layer.get_weights()[0].shape
            layer.set_weights([rng.uniform(0.5, 1.5, sizes), *rng.normal(0, 0.3, (2, *sizes)), rng.uniform(0.5, 1.5, sizes)])
    return model


def _branching():
    import keras
    from keras import layers

    keras.utils.set_random_seed(1)
    image = keras.Input((12, 12, 3), name="image")
    stem = layers.ReLU(name="stem_relu")(layers.BatchNormalization(name="stem_bn")(layers.Conv2D(8, 3, padding="same", name="stem")(image)))
    one = layers.Conv2D(8, 1, name="pointwise")(layers.DepthwiseConv2D(3, padding="same", name="depthwise")(stem))
    one = layers.BatchNormalization(name="pointwise_bn")(one)
    two = layers.ReLU(name="side_relu")(layers.Conv2D(8, 3, padding="same", name="side")(stem))
    x = layers.Flatten(name="flat")(layers.MaxPooling2D(name="pool")(layers.Add(name="add")([one, two])))
    return keras.Model(image, layers.Dense(5, activation="softmax", name="probabilities")(x), name="branching")


def _written(model, folder):
    """The model in four formats, by the recipes of the study: {format: path}."""
    from studylib.recipes.convert.to_litert import ToLiteRT
    from studylib.recipes.convert.to_onnx import ToOnnx
    from studylib.recipes.convert.to_saved_model import ToSavedModel

    model.save(folder / "model.keras")
    saved = path_of(ToSavedModel().write(folder / "model.keras", folder, None))
    return {
        "keras": folder / "model.keras",
        "saved_model": saved,
        "onnx": path_of(ToOnnx().write(saved, folder, None)),
        "tflite": path_of(ToLiteRT().write(saved, folder, None)),
    }


@pytest.fixture(scope="module")
def branching(tmp_path_factory):
    return _written(_randomised(_branching()), tmp_path_factory.mktemp("branching"))


@pytest.fixture(scope="module")
def mnist(tmp_path_factory):
    import keras

    from studylib.models.zoo.mnist_cnn import _architecture

    keras.utils.clear_session()  # layers that other tests made count in the names of these
    keras.utils.set_random_seed(1)
    return _written(_randomised(_architecture()), tmp_path_factory.mktemp("mnist"))


@pytest.fixture(scope="module")
def images():
    return {"image": np.random.default_rng(2).normal(size=(2, 12, 12, 3)).astype(np.float32)}


@pytest.fixture(scope="module")
def digits():
    return {"image": np.random.default_rng(2).uniform(size=(2, 28, 28, 1)).astype(np.float32)}


def _changed_onnx(source, target, change):
    import onnx

    model = onnx.load(source)
    change(model.graph)
    onnx.save(model, target)
    return target, "onnx"


def _changed_tflite(source, target, change):
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(source.read_bytes())
    change(model)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    target.write_bytes(builder.Output())
    return target, "tflite"


def _one_wrong_weight(layer):
    """Function that makes one weight in the kernel of ``layer`` wrong in an ONNX graph."""

    def change(graph):
        from onnx import numpy_helper

        kernels = {tensor.name: tensor for tensor in graph.initializer if len(tensor.dims) >= 2}
        node = next(
            node
            for node in graph.node
            if node.op_type in ("Conv", "MatMul") and any(f"/{layer}_1/" in name for name in (node.name, *node.input))
        )
        tensor = kernels[node.input[1]]
        values = numpy_helper.to_array(tensor).copy()
        values.flat[0] += 30
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))

    return change


def _one_wrong_weight_tflite(layer):
    def change(model):
        graph = model.subgraphs[0]
        kernels = [
            graph.tensors[operator.inputs[1]]
            for operator in graph.operators
            if len(operator.inputs) == 3 and f"/{layer}_1/" in graph.tensors[operator.outputs[0]].name.decode()
        ]
        values = np.frombuffer(bytes(model.buffers[kernels[0].buffer].data), np.float32).copy()
        values[0] += 30
        model.buffers[kernels[0].buffer].data = np.frombuffer(values.tobytes(), np.uint8)

    return change


def _rerouted(tensor, node_type, **attributes):
    """Function that puts a node behind a tensor of an ONNX graph; all readers get what it makes."""

    def change(graph):
        from onnx import helper, numpy_helper

        index, maker = next((i, node) for i, node in enumerate(graph.node) if any(tensor in name for name in node.output))
        name = maker.output[0]
        maker.output[0] = name + "_untouched"
        inputs = [maker.output[0]]
        if node_type == "Mul":
            graph.initializer.append(numpy_helper.from_array(np.float32(0), "zero"))
            inputs.append("zero")
        graph.node.insert(index + 1, helper.make_node(node_type, inputs, [name], name="planted", **attributes))

    return change


@pytest.mark.parametrize(("first", "second"), list(product(("keras", "saved_model", "onnx", "tflite"), repeat=2)))
def test_honest_conversions_agree_in_every_pair(branching, images, first, second):
    assert first_divergence((branching[first], first), (branching[second], second), images, LIMIT_DB) is None


@pytest.mark.parametrize("second", ["saved_model", "onnx", "tflite"])
def test_every_matched_layer_agrees_not_only_the_output(mnist, digits, second):
    from studylib.quality.divergence import _opened
    from studylib.quality.divergence.matching import match, sqnr_db

    reference, suspect = _opened(mnist["keras"], "keras", digits), _opened(mnist[second], second, digits)
    pairs = match(reference, suspect)
    assert len(pairs) >= {"saved_model": 20, "onnx": 15, "tflite": 9}[second]
    assert min(sqnr_db(reference.read(pair.reference.name), suspect.read(pair.suspect.name)) for pair in pairs) > 90


@pytest.mark.parametrize("layer", WEIGHTED)
def test_a_wrong_weight_in_the_onnx_file_is_found(branching, images, tmp_path, layer):
    wrong = _changed_onnx(branching["onnx"], tmp_path / "wrong.onnx", _one_wrong_weight(layer))
    found = first_divergence((branching["keras"], "keras"), wrong, images, LIMIT_DB)
    assert layer in (*found.between, found.layer) and len(found.between) <= 1
    assert layer in found.text and found.sqnr_db < LIMIT_DB


@pytest.mark.parametrize("layer", ["stem", "depthwise", "pointwise", "side"])
def test_a_wrong_weight_in_the_tflite_file_is_found(branching, images, tmp_path, layer):
    wrong = _changed_tflite(branching["tflite"], tmp_path / "wrong.tflite", _one_wrong_weight_tflite(layer))
    found = first_divergence((branching["keras"], "keras"), wrong, images, LIMIT_DB)
    assert layer in (*found.between, found.layer) and len(found.between) <= 2


@pytest.mark.parametrize("reference", ["onnx", "tflite", "saved_model"])
def test_the_reference_may_have_any_format(branching, images, tmp_path, reference):
    wrong = _changed_onnx(branching["onnx"], tmp_path / "wrong.onnx", _one_wrong_weight("side"))
    found = first_divergence((branching[reference], reference), wrong, images, LIMIT_DB)
    assert "/side" in found.layer and "stem" in found.before


def test_bisection_reads_few_layers_and_names_the_last_that_agrees(mnist, digits, tmp_path):
    wrong = _changed_onnx(mnist["onnx"], tmp_path / "wrong.onnx", _rerouted("re_lu_5_1/", "Mul"))
    found = first_divergence((mnist["keras"], "keras"), wrong, digits, LIMIT_DB)
    assert (found.layer, found.before, found.between) == ("re_lu_5", "batch_normalization_5", ())
    assert found.probes < found.matched / 2
    assert found.before_sqnr_db > LIMIT_DB > found.sqnr_db


def test_a_swapped_axis_is_found(branching, images, tmp_path):
    wrong = _changed_onnx(branching["onnx"], tmp_path / "wrong.onnx", _rerouted("stem_relu", "Transpose", perm=[0, 1, 3, 2]))
    found = first_divergence((branching["keras"], "keras"), wrong, images, LIMIT_DB)
    assert found.layer == "stem_relu"
    assert "The models diverge in stem_relu" in found.text and "below 60 dB, after stem_bn" in found.text


def test_a_zeroed_output_is_found(branching, images, tmp_path):
    wrong = _changed_onnx(branching["onnx"], tmp_path / "wrong.onnx", _rerouted("output_0", "Mul"))
    found = first_divergence((branching["keras"], "keras"), wrong, images, LIMIT_DB)
    assert (found.layer, found.before, found.sqnr_db) == ("probabilities", "flat", 0)


def test_not_a_number_counts_as_diverging(branching, images, tmp_path):
    def change(graph):
        _one_wrong_weight("pointwise")(graph)
        for tensor in graph.initializer:
            if "pointwise_1" in tensor.name and len(tensor.dims) == 4:
                tensor.raw_data = np.full(tuple(tensor.dims), np.nan, np.float32).tobytes()

    wrong = _changed_onnx(branching["onnx"], tmp_path / "wrong.onnx", change)
    found = first_divergence((branching["keras"], "keras"), wrong, images, LIMIT_DB)
    assert "pointwise" in found.text and np.isnan(found.sqnr_db)


def test_quantized_tensors_are_dequantized_before_they_are_compared(branching, images, tmp_path):
    from studylib.models.zoo import Samples
    from studylib.recipes.quantize.litert import StaticInt8

    calibration = Samples({"image": np.repeat(images["image"], 4, axis=0)}, np.zeros(8, np.int64))
    small = path_of(StaticInt8().write(branching["saved_model"], tmp_path, calibration))
    assert first_divergence((branching["keras"], "keras"), (small, "tflite"), images, 15) is None
    found = first_divergence((branching["keras"], "keras"), (small, "tflite"), images, LIMIT_DB)
    assert 15 < found.sqnr_db < LIMIT_DB and found.before is None and found.layer == "stem_relu"


def test_nothing_to_compare_is_said_in_words(branching, digits, mnist, tmp_path):
    import onnx
    from onnx import TensorProto, helper

    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 28, 28, 1]) for name in ("image", "other")]
    graph = helper.make_graph([helper.make_node("Relu", ["image"], ["other"])], "g", value[:1], value[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), tmp_path / "other.onnx")
    with pytest.raises(ArtifactError, match=r"share no layer names .* give two conversions of the same model"):
        first_divergence((mnist["keras"], "keras"), (tmp_path / "other.onnx", "onnx"), digits, LIMIT_DB)


def test_models_and_inputs_that_cannot_be_run_are_refused_in_words(branching, images, digits, tmp_path):
    keras = (branching["keras"], "keras")
    with pytest.raises(ArtifactError, match=r"cannot be run as keras with inputs .*28, 28, 1"):
        first_divergence(keras, (branching["onnx"], "onnx"), digits, LIMIT_DB)
    with pytest.raises(ArtifactError, match=r"cannot be run as tflite with inputs .*28, 28, 1"):
        first_divergence((branching["tflite"], "tflite"), keras, digits, LIMIT_DB)
    with pytest.raises(ArtifactError, match="does not exist; give a tflite model"):
        first_divergence(keras, (tmp_path / "none.tflite", "tflite"), images, LIMIT_DB)
    with pytest.raises(UnknownNameError, match=r"Known: keras, keras_h5, onnx, saved_model, tflite"):
        first_divergence(keras, (branching["onnx"], "openvino"), images, LIMIT_DB)
    with pytest.raises(ArtifactError, match=r"has the inputs \['image'\], and \['a', 'b'\] were given"):
        first_divergence(keras, keras, {"a": images["image"], "b": images["image"]}, LIMIT_DB)
