"""Keras models drawn at random: layers, wiring, version of Keras and form of the file."""

from pathlib import Path

import numpy as np

from tests.fuzz.drawn import Drawn, chance, one_of

_ACTIVATIONS = ("relu", "sigmoid", "tanh", "swish", "gelu", "elu", "softplus", "hard_sigmoid", "leaky_relu", "relu6", "linear", "selu")
_FORMS = (".keras", ".keras", ".h5", "export", "saved_model")


def draw(rng: np.random.Generator, folder: Path) -> Drawn:
    """A model of one to nine layers, saved in ``folder``."""
    legacy = chance(rng, 0.15)
    model, words = build(rng, legacy)
    form = one_of(rng, (".keras", ".h5") if legacy else _FORMS)
    path = folder / f"model{form if form.startswith('.') else ''}"
    save(model, path, form)
    return Drawn(path, "keras", f"{'tf_keras' if legacy else 'keras'} {form}: {words}")


def save(model, path: Path, form: str) -> None:
    if form == "export":
        model.export(path, verbose=False)
    elif form == "saved_model":
        import tensorflow as tf

        signature = [tf.TensorSpec(tensor.shape, tensor.dtype, name=f"input_{number}") for number, tensor in enumerate(model.inputs)]
        serve = tf.function(lambda *given: _named(model(list(given) if len(given) > 1 else given[0])), input_signature=signature)
        tf.saved_model.save(model, path, signatures=serve.get_concrete_function())
    else:
        model.save(path)


def _named(outputs) -> dict:
    import tensorflow as tf

    return outputs if isinstance(outputs, dict) else {f"output_{number}": one for number, one in enumerate(tf.nest.flatten(outputs))}


def build(rng: np.random.Generator, legacy: bool = False):
    """(model, words): a Sequential, or a functional model with one or two inputs and outputs."""
    if legacy:
        import tf_keras as library
    else:
        import keras as library
    library.utils.set_random_seed(int(rng.integers(2**31)))
    layers, spoken = library.layers, []
    if chance(rng, 0.35):
        shape, dtype = _start(rng)
        model = library.Sequential([library.Input(shape, dtype=dtype), *_chain(rng, layers, shape, dtype, spoken)])
    else:
        ends = [_branch(rng, library, number, spoken) for number in range(1 + chance(rng, 0.2))]
        inputs, joined = [a for a, _ in ends], ends[0][1]
        if len(ends) > 1:
            flat = [layers.Dense(6)(_flat(layers, x)) for _, x in ends]
            joined = one_of(rng, (layers.Concatenate, layers.Add, layers.Multiply))()(flat)
            spoken.append("joined")
        model = library.Model(inputs if len(inputs) > 1 else inputs[0], _outputs(rng, layers, joined, spoken))
    _stir(rng, model)
    return model, " ".join(spoken)


def _branch(rng, library, number: int, spoken: list):
    shape, dtype = _start(rng)
    a = library.Input(shape, dtype=dtype, name=f"given_{number}")
    x = a
    for layer in _chain(rng, library.layers, shape, dtype, spoken):
        x = layer(x)
        if chance(rng, 0.15) and len(x.shape) > 1 and x.shape[-1] and x.dtype != "int32":
            # A gate, as squeeze and excitation has one, or a way around.
            gate = library.layers.Dense(int(x.shape[-1]), activation="sigmoid")(x)
            x = one_of(rng, (library.layers.Multiply, library.layers.Add, library.layers.Average))()([x, gate])
            spoken.append("around")
    return a, x


def _outputs(rng, layers, x, spoken: list):
    if not chance(rng, 0.2):
        return x
    spoken.append("two outputs")
    two = [layers.Dense(3, name="left")(_flat(layers, x)), layers.Dense(2, activation="softmax", name="right")(_flat(layers, x))]
    return two if chance(rng, 0.5) else {"left": two[0], "right": two[1]}


def _flat(layers, x):
    return x if len(x.shape) == 2 else layers.Flatten()(x)


def _start(rng) -> tuple[tuple, str]:
    kind = one_of(rng, ("vector", "picture", "picture", "sequence", "tokens"))
    if kind == "vector":
        return (int(rng.integers(1, 40)),), "float32"
    if kind == "picture":
        return (int(rng.integers(7, 20)), int(rng.integers(7, 20)), one_of(rng, (1, 3, 4, 8))), "float32"
    if kind == "sequence":
        return (int(rng.integers(4, 16)), int(rng.integers(1, 12))), "float32"
    return (int(rng.integers(3, 12)),), "int32"


def _chain(rng, layers, shape: tuple, dtype: str, spoken: list) -> list:
    """Layers that follow each other from an input of ``shape``."""
    made = []
    if dtype == "int32":
        width = int(rng.integers(2, 9))
        made.append(layers.Embedding(5, width))
        spoken.append("Embedding")
        shape = (*shape, width)
    for _ in range(int(rng.integers(1, 7))):
        table = {1: _VECTOR, 2: _SEQUENCE, 3: _PICTURE}[len(shape)]
        name = one_of(rng, sorted(table))
        found = table[name](rng, layers, shape)
        if found is None:
            continue
        layer, shape = found
        made.append(layer)
        spoken.append(name)
    if chance(rng, 0.7) and len(shape) > 1:
        made.append(layers.GlobalAveragePooling2D() if len(shape) == 3 else layers.GlobalAveragePooling1D())
        shape = shape[-1:]
        spoken.append("pooled")
    if chance(rng, 0.7) or not made:
        made.append(layers.Dense(int(rng.integers(1, 12)), activation=one_of(rng, ("softmax", "sigmoid", None))))
        spoken.append("Dense")
    return made


def _conv2d(rng, layers, shape):
    h, w, c = shape
    k, groups = int(rng.integers(1, 4)), one_of(rng, [g for g in (1, 1, 1, 2, 4) if c % g == 0])
    stride, dilation = one_of(rng, ((1, 1), (1, 1), (2, 1), (1, 2)))
    filters, padding = groups * int(rng.integers(1, 6)), one_of(rng, ("same", "valid"))
    reach = dilation * (k - 1) + 1
    if padding == "valid" and min(h, w) < reach:
        return None
    layer = layers.Conv2D(
        filters, k, strides=stride, padding=padding, dilation_rate=dilation, groups=groups, activation=_activation(rng),
        use_bias=chance(rng, 0.8),
    )  # fmt: skip
    size = [-(-n // stride) if padding == "same" else (n - reach) // stride + 1 for n in (h, w)]
    return layer, (*size, filters)


def _activation(rng) -> str:
    return one_of(rng, _ACTIVATIONS[:6])


def _depthwise(rng, layers, shape):
    h, w, c = shape
    times = int(rng.integers(1, 3))
    return layers.DepthwiseConv2D(3, padding="same", depth_multiplier=times), (h, w, c * times)


def _transposed(rng, layers, shape):
    h, w, _ = shape
    filters, stride = int(rng.integers(1, 5)), int(rng.integers(1, 3))
    return layers.Conv2DTranspose(filters, 3, strides=stride, padding="same"), (h * stride, w * stride, filters)


def _pool2d(rng, layers, shape):
    h, w, c = shape
    if min(h, w) < 2:
        return None
    return one_of(rng, (layers.MaxPooling2D, layers.AveragePooling2D))(2), (h // 2, w // 2, c)


def _same(make):
    """A layer that keeps the shape."""
    return lambda rng, layers, shape: (make(rng, layers, shape), shape)


def _lstm(rng, layers, shape):
    units, kind = int(rng.integers(1, 9)), one_of(rng, (layers.LSTM, layers.GRU, layers.SimpleRNN))
    whole = chance(rng, 0.5)
    both = chance(rng, 0.3)
    layer = kind(units, return_sequences=whole)
    units = units * 2 if both else units
    return layers.Bidirectional(layer) if both else layer, (shape[0], units) if whole else (units,)


def _conv1d(rng, layers, shape):
    filters = int(rng.integers(1, 7))
    padding = one_of(rng, ("same", "causal"))
    return layers.Conv1D(filters, int(rng.integers(1, 4)), padding=padding, activation=_activation(rng)), (shape[0], filters)


def _dense(rng, layers, shape):
    units = int(rng.integers(1, 17))
    return layers.Dense(units, activation=_activation(rng), use_bias=chance(rng, 0.8)), (*shape[:-1], units)


def _upsampled(rng, layers, shape):
    h, w, c = shape
    return layers.UpSampling2D(2, interpolation=one_of(rng, ("nearest", "bilinear"))), (2 * h, 2 * w, c)


def _padded(rng, layers, shape):
    h, w, c = shape
    return layers.ZeroPadding2D(((1, 2), (0, 1))), (h + 3, w + 1, c)


def _cropped(rng, layers, shape):
    h, w, c = shape
    return (layers.Cropping2D(1), (h - 2, w - 2, c)) if min(h, w) > 3 else None


def _permuted(rng, layers, shape):
    return layers.Permute((2, 1, 3)), (shape[1], shape[0], shape[2])


def _reshaped(rng, layers, shape):
    h, w, c = shape
    return layers.Reshape((h * w, c)), (h * w, c)


def _repeated(rng, layers, shape):
    times = int(rng.integers(2, 5))
    return layers.RepeatVector(times), (times, shape[0])


def _time_distributed(rng, layers, shape):
    units = int(rng.integers(1, 6))
    return layers.TimeDistributed(layers.Dense(units)), (shape[0], units)


_ANY = {
    "BatchNormalization": _same(lambda rng, layers, shape: layers.BatchNormalization()),
    "LayerNormalization": _same(lambda rng, layers, shape: layers.LayerNormalization()),
    "Activation": _same(lambda rng, layers, shape: layers.Activation(_activation(rng))),
    "Dropout": _same(lambda rng, layers, shape: layers.Dropout(0.3)),
    "PReLU": _same(lambda rng, layers, shape: layers.PReLU()),
    "LeakyReLU": _same(lambda rng, layers, shape: layers.LeakyReLU()),
    "GaussianNoise": _same(lambda rng, layers, shape: layers.GaussianNoise(0.1)),
    "Rescaling": _same(lambda rng, layers, shape: layers.Rescaling(0.5, offset=0.1)),
    "Dense": _dense,
}
_VECTOR = _ANY | {"RepeatVector": _repeated}
_SEQUENCE = _ANY | {"recurrent": _lstm, "Conv1D": _conv1d, "TimeDistributed": _time_distributed}
_PICTURE = _ANY | {
    "Conv2D": _conv2d, "DepthwiseConv2D": _depthwise, "Conv2DTranspose": _transposed, "pooling": _pool2d, "UpSampling2D": _upsampled,
    "ZeroPadding2D": _padded, "Cropping2D": _cropped, "Permute": _permuted, "Reshape": _reshaped,
}  # fmt: skip


def _stir(rng, model) -> None:
    """Weights as training leaves them: biases are not 0, moving means and variances not 0 and 1."""
    for variable in model.weights:
        values = np.asarray(variable.numpy() if hasattr(variable, "numpy") else variable)
        if values.dtype.kind == "f" and values.ndim == 1:
            fresh = rng.uniform(0.5, 1.5, values.shape) if values.min(initial=1) > 0 else rng.normal(0, 0.2, values.shape)
            variable.assign(fresh.astype(values.dtype))
