"""What is inside a file, against graphs that were counted by hand, in every format."""

import json

import numpy as np
import pytest

from studylib.errors import ArtifactError, UnknownNameError
from studylib.formats import inside
from studylib.formats.inside import counting, islands
from tests.outputs import path_of

# Conv 3x3x3 to 8 at 12x12, depthwise 3x3, pointwise 8 to 4, transposed 2x2 with stride 2 from 4 to 2, dense 24*24*2 to 5.
MACS = 12 * 12 * 8 * 27 + 12 * 12 * 8 * 9 + 12 * 12 * 4 * 8 + 12 * 12 * 4 * (2 * 2 * 2) + 24 * 24 * 2 * 5
WEIGHTS = (27 * 8 + 8) + (9 * 8 + 8) + (8 * 4 + 4) + (2 * 2 * 4 * 2 + 2) + (24 * 24 * 2 * 5 + 5)


def _net():
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    image = keras.Input((12, 12, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(image)
    x = layers.Conv2D(4, 1)(layers.DepthwiseConv2D(3, padding="same")(x))
    x = layers.Flatten()(layers.Conv2DTranspose(2, 2, strides=2)(x))
    model = keras.Model(image, layers.Dense(5, activation="softmax", name="probabilities")(x))
    rng = np.random.default_rng(0)  # converters leave out biases that are all zero
    model.set_weights([rng.normal(size=values.shape) for values in model.get_weights()])
    return model


def _recurrent(kind):
    import keras
    from keras import layers

    frames = keras.Input((7, 4), name="frames")
    return keras.Model(frames, layers.Dense(2)(getattr(layers, kind)(5)(frames)))


def _written(model, folder, formats=("saved_model", "onnx", "tflite", "openvino")):
    """The model in the wished formats and in Keras' two, by the recipes of the study and by OpenVINO: {format: path}."""
    from studylib.recipes.convert.to_litert import ToLiteRT
    from studylib.recipes.convert.to_onnx import ToOnnx
    from studylib.recipes.convert.to_saved_model import ToSavedModel

    found = {"keras": folder / "model.keras", "h5": folder / "model.h5"}
    for path in found.values():
        model.save(path)
    found["saved_model"] = path_of(ToSavedModel().write(found["keras"], folder, None))
    if "onnx" in formats:
        found["onnx"] = path_of(ToOnnx().write(found["saved_model"], folder, None))
    if "tflite" in formats:
        found["tflite"] = path_of(ToLiteRT().write(found["saved_model"], folder, None))
    if "openvino" in formats:
        found["openvino"] = _ir(found["onnx"])
    return found


def _ir(onnx_path):
    openvino = pytest.importorskip("openvino")
    openvino.save_model(openvino.convert_model(str(onnx_path)), onnx_path.with_suffix(".xml"), compress_to_fp16=False)
    return onnx_path.with_suffix(".xml")


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    return _written(_net(), tmp_path_factory.mktemp("net"))


@pytest.fixture(scope="module")
def calibration():
    from studylib.models.zoo import Samples

    return Samples({"image": np.random.default_rng(0).normal(size=(8, 12, 12, 3)).astype(np.float32)}, np.zeros(8, np.int64))


def _onnx(path, nodes, inputs, outputs, constants=(), opset=18, domains=()):
    """An ONNX file of the given nodes; inputs and outputs are {name: shape}, constants {name: array}."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    ends = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in side.items()] for side in (inputs, outputs)]
    weights = [numpy_helper.from_array(values, name) for name, values in dict(constants).items()]
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", *ends, weights), opset_imports=imports, ir_version=10), path)
    return path


def _ones(*shape):
    return np.ones(shape, np.float32)


@pytest.mark.parametrize("format", ["keras", "h5", "saved_model", "onnx", "tflite", "openvino"])
def test_the_same_network_counts_the_same_in_every_format(net, format):
    found = inside.look(net[format], format.replace("h5", "keras"))
    assert (found["macs"], found["macs_why"]) == (MACS, None)
    assert found["parameters"] == WEIGHTS
    assert found["weight_bytes"] == {"float32": 4 * WEIGHTS}
    assert [(tensor["name"], tensor["shape"], tensor["dtype"]) for tensor in found["inputs"]] == [("image", [None, 12, 12, 3], "float32")]
    assert [tensor["shape"] for tensor in found["outputs"]] == [[None, 5]]
    assert (found["custom_operators"], found["select_tf_operators"], found["float_islands"]) == ([], [], None)
    assert json.loads(json.dumps(found)) == found


def test_operators_and_versions_are_the_formats_own(net):
    found = {format: inside.look(net[format], format) for format in ("keras", "saved_model", "onnx", "tflite", "openvino")}
    expected = {"keras": "Conv2DTranspose", "saved_model": "Conv2DBackpropInput", "onnx": "ConvTranspose"}
    expected |= {"tflite": "TRANSPOSE_CONV", "openvino": "ConvolutionBackpropData"}
    assert {format: found[format]["operators"][name] for format, name in expected.items()} == dict.fromkeys(expected, 1)
    assert found["onnx"]["opset"] == {"ai.onnx": 18}
    assert found["tflite"]["opset"]["schema"] == 3 and found["tflite"]["opset"]["min_runtime"]
    assert found["saved_model"]["opset"]["tensorflow"].startswith("2.")
    assert found["openvino"]["opset"]["ir"] >= 11
    assert found["keras"]["opset"]["keras"].startswith("3.")


@pytest.mark.parametrize(("kind", "gates"), [("LSTM", 4), ("GRU", 3)])
def test_recurrent_layers_are_counted_over_the_whole_sequence(tmp_path, kind, gates):
    files = _written(_recurrent(kind), tmp_path, formats=("onnx",) if kind == "LSTM" else ())
    by_hand = 7 * gates * 5 * (4 + 5) + 5 * 2
    assert {format: inside.look(path, format.replace("h5", "keras"))["macs"] for format, path in files.items()} == dict.fromkeys(
        files, by_hand
    )


def test_select_tf_operators_are_named_with_what_follows(tmp_path):
    import tensorflow as tf

    saved = _written(_recurrent("GRU"), tmp_path, formats=())["saved_model"]
    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    (tmp_path / "flex.tflite").write_bytes(converter.convert())
    found = inside.look(tmp_path / "flex.tflite", "tflite")
    assert "FlexTensorListReserve" in found["select_tf_operators"] and found["custom_operators"] == []
    assert "FlexTensorListReserve" in found["consequences"][0]
    assert "needs the Select TF runtime, which no Python interpreter of LiteRT carries" in found["consequences"][0]
    assert found["macs"] is None and "inside a loop of unknown length" in found["macs_why"]


def test_dynamic_axes_need_shapes(tmp_path):
    from onnx import helper

    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("Einsum", ["y", "y"], ["z"], equation="bij,bkj->bik")]
    path = _onnx(tmp_path / "m.onnx", nodes, {"x": ["batch", "tokens", 6]}, {"z": ["batch", "tokens", "tokens"]}, {"w": _ones(6, 4)})
    found = inside.look(path, "onnx")
    assert found["macs"] is None and "give shapes= for the dynamic inputs" in found["macs_why"]
    assert inside.look(path, "onnx", {"x": (1, 10, 6)})["macs"] == 10 * 6 * 4 + 10 * 10 * 4
    assert inside.look(path, "onnx", {"x": (2, 10, 6)})["macs"] == 2 * (10 * 6 * 4 + 10 * 10 * 4)
    with pytest.raises(ArtifactError, match="shapes names the input 'y'; the file's inputs are x"):
        inside.look(path, "onnx", {"y": (1, 10, 6)})


def test_shapes_reach_every_format(net):
    for format in ("tflite", "openvino", "onnx", "saved_model", "keras"):
        assert inside.look(net[format], format, {"image": (2, 12, 12, 3)})["macs"] == 2 * MACS, format


def test_grouped_transposed_and_gemm_nodes_by_hand(tmp_path):
    from onnx import helper

    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], group=2, pads=[1, 1, 1, 1]),
        helper.make_node("ConvTranspose", ["a", "v"], ["b"], strides=[2, 2]),
        helper.make_node("Flatten", ["b"], ["c"]),
        helper.make_node("Gemm", ["c", "u", "bias"], ["y"], transB=1),
    ]
    constants = {"w": _ones(6, 2, 3, 3), "v": _ones(6, 3, 2, 2), "u": _ones(7, 3 * 100), "bias": _ones(7)}
    path = _onnx(tmp_path / "m.onnx", nodes, {"x": [1, 4, 5, 5]}, {"y": [1, 7]}, constants)
    found = inside.look(path, "onnx")
    assert found["macs"] == 25 * 6 * 2 * 9 + 25 * 6 * 3 * 4 + 300 * 7
    assert found["parameters"] == 6 * 2 * 9 + 6 * 3 * 4 + 7 * 300 + 7
    assert inside.look(_ir(path), "openvino")["macs"] == found["macs"]


@pytest.mark.parametrize(("name", "macs", "parameters"), [("resnet50", 4_089_184_256, 25_557_032), ("vgg19", 19_632_062_464, 143_667_240)])
def test_networks_that_others_published(name, macs, parameters):
    from pathlib import Path

    import onnx

    light = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light" / f"light_{name}.onnx"
    found = inside.look(light, "onnx")
    assert (found["macs"], round(found["parameters"] / parameters, 2)) == (macs, 1)


def test_loops_and_branches_say_what_cannot_be_told(tmp_path):
    from onnx import TensorProto, helper, numpy_helper

    def branch(name, node, width):
        out = helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, width])
        return helper.make_graph([node], name, [], [out])

    yes, no = (helper.make_node("MatMul", ["x", weights], [name]) for name, weights in (("yes", "w"), ("no", "v")))
    nodes = [
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.array(True))),
        helper.make_node("If", ["c"], ["y"], name="choice", then_branch=branch("yes", yes, 3), else_branch=branch("no", no, 3)),
    ]
    constants = {"w": _ones(4, 3), "v": _ones(4, 3)}
    path = _onnx(tmp_path / "even.onnx", nodes, {"x": [1, 4]}, {"y": [1, 3]}, constants)
    assert inside.look(path, "onnx")["macs"] == 12
    nodes[1].attribute[1].g.node[0].op_type = "Add"  # no matrix product in this branch
    path = _onnx(tmp_path / "uneven.onnx", nodes, {"x": [1, 4]}, {"y": None}, constants | {"v": _ones(1, 4)})
    assert "the branches of If 'choice' cost 0 or 12" in inside.look(path, "onnx")["macs_why"]


def test_operators_that_onnx_does_not_have_are_named(tmp_path):
    from onnx import helper

    nodes = [
        helper.make_node("Erfc", ["x"], ["a"]),
        helper.make_node("FastGelu", ["a"], ["b"], domain="com.microsoft"),
        helper.make_node("Mine", ["b"], ["y"], domain="my.own"),
    ]
    path = _onnx(tmp_path / "m.onnx", nodes, {"x": [1, 4]}, {"y": [1, 4]}, domains=("com.microsoft", "my.own"))
    found = inside.look(path, "onnx")
    assert found["custom_operators"] == ["Erfc", "com.microsoft.FastGelu", "my.own.Mine"]
    assert "Erfc is not an ONNX operator (opset 18)" in found["consequences"][0]
    assert "is an operator of ONNX Runtime: other runtimes refuse this file" in found["consequences"][1]
    assert "is a custom operator" in found["consequences"][2]
    assert found["macs"] is None and "Mine" in found["macs_why"]


def _quantized(recipe, source, folder, calibration):
    folder.mkdir()
    return path_of(recipe.write(source, folder, calibration))


@pytest.mark.parametrize("format", ["onnx", "tflite"])
@pytest.mark.parametrize("precision", ["fp16", "dynamic_wi8_afp32", "static_wi8_ai8"])
def test_quantization_changes_bytes_and_not_macs(net, calibration, tmp_path, format, precision):
    from studylib.recipes import RECIPES

    path = _quantized(
        RECIPES[precision][format][0], net["onnx" if format == "onnx" else "saved_model"], tmp_path / "quantized", calibration
    )
    found = inside.look(path, format)
    assert found["macs"] == MACS
    assert (found["float_islands"] is None) == (precision == "fp16")
    share = found["weight_bytes"]["float16" if precision == "fp16" else "int8"] / sum(found["weight_bytes"].values())
    assert share > (0.99 if precision == "fp16" else 0.75)


def test_a_float_island_in_a_quantized_onnx_graph_is_found(net, calibration, tmp_path):
    import onnx
    from onnx import helper

    from studylib.recipes.quantize.onnx import Static

    path = _quantized(Static(), net["onnx"], tmp_path / "quantized", calibration)
    assert not [o for o in inside.look(path, "onnx")["float_islands"]["operators"] if o["where"] == "between"]
    model = onnx.load(path)
    place, pair = [(i, node) for i, node in enumerate(model.graph.node) if node.op_type == "QuantizeLinear"][3]
    before, pair.input[0] = pair.input[0], "planted_output"
    middle = ["planted_q", "planted_dq"]
    model.graph.node.insert(place, helper.make_node("Exp", [middle[1]], ["planted_exp"], name="planted"))
    model.graph.node.insert(place + 1, helper.make_node("Sin", ["planted_exp"], ["planted_output"]))
    model.graph.node.insert(place, helper.make_node("DequantizeLinear", [middle[0], *pair.input[1:]], [middle[1]]))
    model.graph.node.insert(place, helper.make_node("QuantizeLinear", [before, *pair.input[1:]], [middle[0]]))
    onnx.save(model, path)
    found = inside.look(path, "onnx")["float_islands"]
    assert [(o["type"], o["where"]) for o in found["operators"] if o["where"] == "between"] == [("Exp", "between"), ("Sin", "between")]
    assert found["quantize"] == found["dequantize"] >= 5


def test_islands_are_told_apart_by_where_they_lie():
    kinds = ["float", "quantize", "integer", "dequantize", "float", "quantize", "integer", "dequantize", "float"]
    steps = [islands.Operation(f"op{i}", "", kind, (str(i),), (str(i + 1),)) for i, kind in enumerate(kinds)]
    found = islands.find([*steps, islands.Operation("lonely", "", "float", ("a",), ("b",))])
    assert [entry["where"] for entry in found["operators"]] == ["before", "between", "after", "apart"]
    course = [("float", 1), ("quantize", 1), ("integer", 1), ("dequantize", 1), ("island", 1), ("quantize", 1), ("integer", 1)]
    assert found["course"] == [*course, ("dequantize", 1), ("float", 2)]
    assert (found["count"], found["quantize"], found["dequantize"]) == (4, 2, 2)
    assert islands.find(steps[:2]) is None


def test_arithmetic_says_why_it_cannot_tell():
    assert counting.einsum("e", "b...i,b...ji->b...j", [(2, 3, 4), (2, 3, 5, 4)]) == 2 * 3 * 4 * 5
    assert counting.einsum("e", "ij,jk,kl->il", [(1, 2)] * 3) == "e has 3 operands; only two are counted"
    assert counting.loop("While", [10], 7) == 70
    assert counting.loop("While", [10], None) == "While holds multiply-accumulates inside a loop of unknown length"
    assert counting.loop("While", [0, 0], None) == 0
    assert counting.add_up([1, "a", "b", "a"]) == (None, "a (and 1 more)")
    assert counting.convolution("c", (1, None, 3), (2, 2), 2) == "a shape of c is not known; give shapes= for the dynamic inputs"


def test_code_in_a_keras_file_is_not_run(tmp_path):
    import keras
    from keras import layers

    x = keras.Input((4,))
    keras.Model(x, layers.Lambda(lambda value: value * 2)(layers.Dense(3)(x))).save(tmp_path / "m.keras")
    found = inside.look(tmp_path / "m.keras", "keras")
    assert found["operators"] == {"Dense": 1, "Lambda": 1} and found["parameters"] == 15
    assert found["macs"] is None and "whose code is not run" in found["macs_why"]
    assert "only with TRUST=1" in found["consequences"][0]


@pytest.mark.parametrize("format", ["keras", "h5", "saved_model", "onnx", "tflite", "openvino"])
@pytest.mark.parametrize("keep", [0, 0.5, 0.9])
def test_truncated_files_are_refused_in_words(net, tmp_path, format, keep):
    source, target = net[format], tmp_path / f"broken{net[format].suffix}"
    content = (source / "saved_model.pb" if format == "saved_model" else source).read_bytes()
    if format == "saved_model":
        target.mkdir()
    (target / "saved_model.pb" if format == "saved_model" else target).write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(ArtifactError, match=f"{target.name}"):
        inside.look(target, format.replace("h5", "keras"))


def test_what_is_no_model_is_refused_in_words(net, tmp_path):
    with pytest.raises(ArtifactError, match="does not exist; a onnx model is an ONNX model file"):
        inside.look(tmp_path / "none.onnx", "onnx")
    with pytest.raises(ArtifactError, match=r"is no SavedModel: it has no `saved_model.pb`"):
        inside.look(tmp_path, "saved_model")
    with pytest.raises(ArtifactError, match=r"its magic is .* not b'TFL3'"):
        inside.look(net["onnx"], "tflite")
    with pytest.raises(ArtifactError, match="neither a zip archive nor HDF5"):
        inside.look(net["onnx"], "keras")
    with pytest.raises(ArtifactError, match="cannot be read as onnx"):
        inside.look(net["tflite"], "onnx")
    with pytest.raises(
        UnknownNameError, match=r"Unknown format 'pickle'. Known: keras, keras_h5, onnx, openvino, saved_model, tflite, torch"
    ):
        inside.look(net["onnx"], "pickle")
