"""The ONNX path on real models: same numbers, the graph tf2onnx itself would write, and words for what cannot be converted."""

import logging

import numpy as np
import onnx
import pytest

from studylib.errors import RefusedError
from studylib.recipes.convert import lean_tf2onnx, to_onnx
from studylib.recipes.convert.to_onnx import ToOnnx, convert, convert_plainly


def _saved(tmp_path, build):
    import keras

    keras.utils.set_random_seed(7)
    model = build(keras)
    model.export(tmp_path / "saved", verbose=False)
    return tmp_path / "saved"


def _sqnr_db(saved, file, batch=3) -> float:
    """The worst output of ONNX Runtime against the SavedModel on seeded inputs, free axes being 9 long."""
    import onnxruntime
    import tensorflow as tf

    serving, rng, feed = tf.saved_model.load(str(saved)).signatures["serving_default"], np.random.default_rng(1), {}
    for name, spec in serving.structured_input_signature[1].items():
        shape = [batch if axis == 0 and size is None else size or 9 for axis, size in enumerate(spec.shape)]
        values = rng.integers(0, 5, shape) if spec.dtype.is_integer else rng.normal(size=shape)
        feed[name] = np.asarray(values, spec.dtype.as_numpy_dtype)
    wanted = {name: value.numpy() for name, value in serving(**{name: tf.constant(value) for name, value in feed.items()}).items()}
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    found = dict(zip([output.name for output in session.get_outputs()], session.run(None, feed), strict=True))
    assert found.keys() == wanted.keys()
    assert all(found[name].shape == value.shape and found[name].dtype == value.dtype for name, value in wanted.items())
    noise = [(np.sum(np.square(value)), np.sum(np.square(value - found[name]))) for name, value in wanted.items()]
    return min(10 * np.log10(signal / max(error, 1e-30)) for signal, error in noise)


def _types(file) -> list[str]:
    return sorted(node.op_type for node in onnx.load(file).graph.node)


def _gelu(keras):
    ids = keras.Input((12,), dtype="int32", name="ids")
    hidden = keras.layers.Embedding(200, 128)(ids)
    hidden = hidden + keras.layers.MultiHeadAttention(4, 32)(hidden, hidden)
    hidden = keras.layers.Dense(256, activation="gelu", name="wide")(keras.layers.LayerNormalization()(hidden))
    return keras.Model(ids, keras.layers.Dense(2)(hidden))


def _convolutions(keras):
    image = keras.Input((None, None, 3), name="image")
    hidden = keras.layers.Conv2D(32, 3, activation="relu")(image)
    hidden = keras.layers.Conv2D(64, 3, use_bias=False)(hidden)
    hidden = keras.layers.BatchNormalization(moving_mean_initializer="normal", moving_variance_initializer="ones")(hidden)
    hidden = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(hidden))
    return keras.Model(image, keras.layers.Dense(300)(hidden))


def _recurrent(keras):
    frames = keras.Input((None, 40), name="frames")
    hidden = keras.layers.LSTM(128, return_sequences=True)(keras.layers.Dense(128)(frames))
    return keras.Model(frames, keras.layers.Dense(29)(hidden))


def _grouped(keras):
    image = keras.Input((8, 8, 4), name="image")
    return keras.Model(image, keras.layers.Conv2DTranspose(2, 3, strides=2, output_padding=1)(keras.layers.Conv2D(8, 3, groups=2)(image)))


def _normalized(keras):
    values = keras.Input((6,), name="values")
    return keras.Model(values, keras.layers.Normalization(mean=1.0, variance=2.0)(values))


def _several(keras):
    values, ids = keras.Input((4,), name="values"), keras.Input((5,), dtype="int64", name="ids")
    flat = keras.layers.Flatten()(keras.layers.Embedding(9, 2)(ids))
    both = keras.layers.Concatenate()([values, flat])
    return keras.Model(
        {"values": values, "ids": ids}, {"zeta": keras.layers.Dense(3)(both), "alpha": keras.layers.Dense(2)(both), "copy": values}
    )


KINDS = {"gelu": _gelu, "convolutions": _convolutions, "recurrent": _recurrent, "several": _several}


@pytest.mark.parametrize("kind", KINDS)
def test_it_has_the_numbers_of_the_saved_model_and_the_graph_of_the_plain_call(kind, tmp_path):
    saved = _saved(tmp_path, KINDS[kind])
    notes = convert(saved, tmp_path, 18)
    assert (notes["file"], notes["opset"], notes["external_data"], notes["optimizer"]) == ("model.onnx", 18, False, "lean")
    assert all(seconds >= 0 for seconds in notes["seconds"].values())
    assert notes["seconds"].keys() >= {"load", "freeze", "map", "optimize", "check"}
    assert _sqnr_db(saved, tmp_path / "model.onnx") > 90
    (tmp_path / "plain").mkdir()
    plain = _types(convert_plainly(saved, tmp_path / "plain", 18))
    repaired = [name for one in plain for name in (["Erf", "Sub"] if one == "Erfc" else [one])]
    assert _types(tmp_path / "model.onnx") == sorted(repaired)
    assert notes["rewrites"] == ({"Erfc": 1} if kind == "gelu" else {})


@pytest.mark.parametrize("build", [_grouped, _normalized])
def test_what_the_plain_call_cannot_convert_or_repeats_is_right_as_well(build, tmp_path):
    """Functions marked for XLA, negative padding, and constants that the SavedModel captures."""
    saved = _saved(tmp_path, build)
    notes = convert(saved, tmp_path, 18)
    assert _sqnr_db(saved, tmp_path / "model.onnx") > 90
    assert notes["rewrites"] == ({"output_padding": 1} if build is _grouped else {})
    assert len(onnx.load(tmp_path / "model.onnx").graph.input) == 1


@pytest.mark.parametrize("activation", ["celu", "gelu"])
def test_activations_that_tf2onnx_leaves_in_tensorflow_s_words_are_repaired(activation, tmp_path):
    saved = _saved(tmp_path, lambda keras: keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, activation=activation)]))
    assert convert(saved, tmp_path, 18)["rewrites"] == {{"celu": "Expm1", "gelu": "Erfc"}[activation]: 1}
    assert _sqnr_db(saved, tmp_path / "model.onnx") > 90


def test_weights_are_folded_as_tf2onnx_folds_them(tmp_path):
    convert(_saved(tmp_path, _convolutions), tmp_path, 18)
    types = _types(tmp_path / "model.onnx")
    assert types.count("Conv") == 2
    assert not {"BatchNormalization", "Mul"} & set(types)


def test_a_keras_lstm_becomes_one_lstm(tmp_path):
    convert(_saved(tmp_path, _recurrent), tmp_path, 18)
    types = _types(tmp_path / "model.onnx")
    assert types.count("LSTM") == 1
    assert not {"Loop", "Scan"} & set(types)


def test_inputs_outputs_and_dynamic_axes_have_names(tmp_path):
    convert(_saved(tmp_path, _several), tmp_path, 18)
    graph = onnx.load(tmp_path / "model.onnx").graph
    assert {value.name for value in graph.input} == {"values", "ids"}
    assert [value.name for value in graph.output] == ["alpha", "copy", "zeta"]
    assert {value.type.tensor_type.shape.dim[0].dim_param for value in (*graph.input, *graph.output)} == {"batch"}
    (tmp_path / "images").mkdir()
    convert(_saved(tmp_path / "images", _convolutions), tmp_path / "images", 18)
    (image,) = onnx.load(tmp_path / "images" / "model.onnx").graph.input
    assert [axis.dim_param or axis.dim_value for axis in image.type.tensor_type.shape.dim] == ["batch", "image_axis1", "image_axis2", 3]


def _signature(tmp_path, function, *specs):
    """A SavedModel of a plain function, as people make them who do not use Keras."""
    import tensorflow as tf

    module = tf.Module()
    module.weight = tf.Variable(np.random.default_rng(3).normal(size=(300, 300)).astype(np.float32))
    module.serve = tf.function(
        lambda *inputs: function(tf, module.weight, *inputs), input_signature=[tf.TensorSpec(*spec) for spec in specs]
    )
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures={"serving_default": module.serve})
    return tmp_path / "saved"


def test_scalars_need_no_batch_axis(tmp_path):
    specs = ([], np.float32, "scale"), ([300], np.float32, "vector")
    saved = _signature(tmp_path, lambda tf, weight, scale, vector: {"y": scale * tf.linalg.matvec(weight, vector), "s": scale * 2}, *specs)
    convert(saved, tmp_path, 18)
    assert _sqnr_db(saved, tmp_path / "model.onnx") > 90
    shapes = {value.name: len(value.type.tensor_type.shape.dim) for value in onnx.load(tmp_path / "model.onnx").graph.input}
    assert shapes == {"scale": 0, "vector": 1}


@pytest.mark.parametrize("use", ["matmul transposed", "gathered and multiplied", "also returned", "reshaped"])
def test_a_large_weight_comes_back_whatever_reads_it(use, tmp_path):
    uses = {
        "matmul transposed": lambda tf, w, x: {"y": tf.matmul(x, w, transpose_b=True)},
        "gathered and multiplied": lambda tf, w, x: {"y": tf.gather(w, tf.argmax(x, 1)) + x @ w},
        "also returned": lambda tf, w, x: {"y": x @ w, "w": tf.identity(w)},
        "reshaped": lambda tf, w, x: {"y": x @ tf.reshape(w, [300, 300])},
    }
    saved = _signature(tmp_path, uses[use], ([None, 300], np.float32, "x"))
    convert(saved, tmp_path, 18)
    assert _sqnr_db(saved, tmp_path / "model.onnx") > 90


def test_a_lost_weight_would_be_seen(tmp_path, monkeypatch):
    """The check of the tests above is worth something: zeros in place of one weight fail it."""
    put_back = lean_tf2onnx._put_back
    monkeypatch.setattr(lean_tf2onnx, "_put_back", lambda *a: {name: bytes(len(content)) for name, content in put_back(*a).items()})
    saved = _signature(tmp_path, lambda tf, w, x: {"y": x @ w + x}, ([None, 300], np.float32, "x"))
    convert(saved, tmp_path, 18)
    assert _sqnr_db(saved, tmp_path / "model.onnx") < 10


def test_above_the_limit_the_weights_lie_beside_the_graph(tmp_path):
    saved = _saved(tmp_path, _gelu)
    notes = convert(saved, tmp_path, 18, limit_bytes=10_000)
    assert (notes["file"], notes["external_data"]) == ("model", True)
    assert {path.name for path in (tmp_path / "model").iterdir()} == {"model.onnx", "model.onnx.data"}
    assert (tmp_path / "model" / "model.onnx.data").stat().st_size > 10 * (tmp_path / "model" / "model.onnx").stat().st_size
    assert not (tmp_path / "model.onnx").exists()
    assert _sqnr_db(saved, tmp_path / "model" / "model.onnx") > 90


def test_an_optimizer_that_fails_leaves_the_graph_to_the_careful_call(tmp_path, monkeypatch):
    from tf2onnx import optimizer

    class Broken:
        graph_been_opt = False

        def _optimize(self, graph):
            raise KeyError("planted")

        optimize = _optimize

    monkeypatch.setitem(optimizer._optimizers, "optimize_transpose", Broken)
    saved = _saved(tmp_path, _gelu)
    notes = convert(saved, tmp_path, 18)
    assert notes["optimizer"] == "tf2onnx, after KeyError: 'planted'"
    assert notes["rewrites"] == {"Erfc": 1}
    assert _sqnr_db(saved, tmp_path / "model.onnx") > 90


def test_an_operator_without_counterpart_is_named_with_its_layer(tmp_path, caplog):
    specs = ([None, 4], np.float32, "x")
    saved = _signature(tmp_path, lambda tf, w, x: {"y": _scoped(tf, x)}, specs)
    with pytest.raises(RefusedError) as refused:
        convert(saved, tmp_path, 18)
    words = str(refused.value)
    assert "no counterpart of operator Lgamma of layer net/odd_layer" in words
    assert "Replace the layer" in words
    assert "newer opset" not in words
    with pytest.raises(RefusedError, match=r"newer opset \(tf2onnx writes up to 18\)"):
        convert(saved, tmp_path, 15)
    assert not (tmp_path / "model.onnx").exists()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def _scoped(tf, x):
    with tf.name_scope("net"), tf.name_scope("odd_layer"):
        return tf.math.lgamma(x)


def test_an_opset_that_tf2onnx_cannot_write_is_refused(tmp_path):
    with pytest.raises(RefusedError, match=r"opset 99 .* 9 to 18"):
        convert(tmp_path / "nothing is read", tmp_path, 99)


def test_one_name_for_an_input_and_an_output_is_refused(tmp_path):
    saved = _signature(tmp_path, lambda tf, w, x: {"x": x * 2}, ([None, 4], np.float32, "x"))
    with pytest.raises(RefusedError, match="'x' names an input and an output"):
        convert(saved, tmp_path, 18)


def test_a_folder_that_is_no_saved_model_or_serves_nothing_is_refused(tmp_path):
    import tensorflow as tf

    with pytest.raises(RefusedError, match=r"tf2onnx stops at this SavedModel: .* does not exist .*Is it whole"):
        convert(tmp_path, tmp_path, 18)
    tf.saved_model.save(tf.Module(), str(tmp_path / "mute"))
    with pytest.raises(RefusedError, match=r"no signature 'serving_default' \(found: none\)"):
        convert(tmp_path / "mute", tmp_path, 18)


def test_a_file_that_onnx_runtime_does_not_open_is_refused(tmp_path):
    from onnx import helper

    value = [helper.make_tensor_value_info(name, onnx.TensorProto.DOUBLE, [2]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Erf", ["x"], ["y"])], "g", value[:1], value[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), tmp_path / "double.onnx")
    with pytest.raises(RefusedError, match=r"ONNX Runtime .* has no kernel for the operator Erf \(opset 13\)"):
        to_onnx._open(tmp_path / "double.onnx")
    graph.node[0].input[:] = ["nowhere"]
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), tmp_path / "broken.onnx")
    with pytest.raises(RefusedError, match="checker"):
        to_onnx._open(tmp_path / "broken.onnx")


def test_the_recipe_writes_the_file_and_gives_its_notes(tmp_path):
    path, notes = ToOnnx(opset=17).write(_saved(tmp_path, _gelu), tmp_path, None)
    assert path == tmp_path / "model.onnx"
    assert notes["rewrites"] == {"Erfc": 1}
    assert [entry.version for entry in onnx.load(path).opset_import if entry.domain == ""] == [17]


def test_a_faster_way_that_is_not_is_said(tmp_path, monkeypatch):
    from studylib.bench import conversion_cost

    given = {"plain": conversion_cost.Cost(30.0, 3 * 10**9), "ours": conversion_cost.Cost(11.0, 10**9)}
    monkeypatch.setattr(conversion_cost, "measure", lambda way, saved: given[way])
    lines = []
    conversion_cost.run(tmp_path, lines.append)
    assert "plain: 30.0 s, peak memory 3.00 GB" in lines
    assert lines[-1].endswith("DOES NOT HOLD")
    given["ours"] = conversion_cost.Cost(9.0, 10**9)
    conversion_cost.run(tmp_path, lines.append)
    assert lines[-1].endswith(": holds")


@pytest.mark.slow
def test_both_ways_are_measured_in_processes_of_their_own(tmp_path):
    from studylib.bench import conversion_cost
    from studylib.errors import TrialError

    costs = conversion_cost.run(_saved(tmp_path, _gelu), lambda line: None)
    assert all(1 < cost.seconds < 300 and 10**8 < cost.peak_bytes < 10**11 for cost in costs.values())
    with pytest.raises(TrialError, match=r"The plain conversion of .* ended with 1"):
        conversion_cost.measure("plain", tmp_path / "missing")
