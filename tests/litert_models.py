"""Small LiteRT files as several makers write them: with one signature, several or none, quantized, old, with operators of their own."""

import functools
import tempfile
from pathlib import Path

import numpy as np


def saved(model: bytes, folder: Path, name: str) -> Path:
    path = Path(folder) / f"{name}.tflite"
    path.write_bytes(model)
    return path


@functools.cache
def signed() -> bytes:
    """An image of 8 × 8 × 3 to 32 numbers: a convolution, a pooling, a dense layer. Large enough for every quantizer."""
    return _converted(_network())


@functools.cache
def quantized(ends: str = "uint8") -> bytes:
    """`signed` in whole numbers; ``ends``: what its inputs and outputs are: uint8, int8 or float32."""
    import tensorflow as tf

    def configure(converter) -> None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image[None]] for image in images(50))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = getattr(tf, ends)

    return _converted(_network(), configure)


@functools.cache
def stored_in(kind: str) -> bytes:
    """`signed` with its weights in float16, or in int8 that are multiplied by while activations stay float (``dynamic``)."""
    import tensorflow as tf

    def configure(converter) -> None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16] if kind == "float16" else []

    return _converted(_network(), configure)


def images(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, 8, 8, 3)).astype(np.float32)


@functools.cache
def unsigned() -> bytes:
    """`signed` as files before 2021 and MediaPipe's are."""
    return changed(signed(), lambda model: setattr(model, "signatureDefs", None))


@functools.cache
def old() -> bytes:
    """`unsigned` with operators numbered as before 2020, in the narrow field alone."""

    def narrow(model) -> None:
        for code in model.operatorCodes:
            code.builtinCode = 0

    return changed(unsigned(), narrow)


def with_operator(name: str) -> bytes:
    """`signed` with its first operator replaced by one of somebody's own."""

    def replace(model) -> None:
        code = model.operatorCodes[0]
        code.builtinCode = code.deprecatedBuiltinCode = 32
        code.customCode = name
        for operator in model.subgraphs[0].operators:
            if operator.opcodeIndex == 0:
                operator.builtinOptions, operator.builtinOptionsType = None, 0

    return changed(signed(), replace)


def changed(content: bytes, change) -> bytes:
    """The file after ``change(model)``."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content)
    change(model)
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@functools.cache
def several(*names: str) -> bytes:
    """A file with the signatures ``names``, each a graph of its own, of ``encode``, ``infer``, ``train`` and ``loop``."""
    import tensorflow as tf

    rng = np.random.default_rng(3)

    class Several(tf.Module):
        def __init__(self):
            super().__init__()
            self.scores = tf.Variable(rng.normal(size=(8, 3)).astype(np.float32))
            self.codes = tf.Variable(rng.normal(size=(8, 5)).astype(np.float32))

        @tf.function(input_signature=[tf.TensorSpec([1, 8], tf.float32)])
        def infer(self, x):
            return {"scores": tf.nn.softmax(tf.matmul(x, self.scores))}

        @tf.function(input_signature=[tf.TensorSpec([1, 8], tf.float32)])
        def encode(self, z):
            return {"code": tf.nn.relu(tf.matmul(z, self.codes))}

        @tf.function(input_signature=[tf.TensorSpec([1, 8], tf.float32)])
        def loop(self, x):
            _, last = tf.while_loop(lambda i, v: i < 3, lambda i, v: (i + 1, tf.tanh(v) * 1.5), [tf.constant(0), x])
            return {"last": last}

        @tf.function(input_signature=[tf.TensorSpec([1, 8], tf.float32), tf.TensorSpec([1, 3], tf.float32)])
        def train(self, x, y):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(tf.nn.softmax(tf.matmul(x, self.scores)) - y))
            self.scores.assign_sub(0.1 * tape.gradient(loss, [self.scores])[0])
            return {"loss": loss}

    return _of_signatures(Several(), names)


@functools.cache
def remembering() -> bytes:
    """Half of what it answered before, and the input: a file that keeps a state."""
    import tensorflow as tf

    class Remembering(tf.Module):
        def __init__(self):
            super().__init__()
            self.state = tf.Variable(np.zeros((1, 4), np.float32))

        @tf.function(input_signature=[tf.TensorSpec([1, 4], tf.float32)])
        def serving_default(self, x):
            self.state.assign(0.5 * self.state + x)
            return {"y": self.state + 1.0}

    return _of_signatures(Remembering(), ("serving_default",))


def _of_signatures(module, names) -> bytes:
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={name: getattr(module, name).get_concrete_function() for name in names})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(names))
        converter.experimental_enable_resource_variables = True
        return bytes(converter.convert())


@functools.cache
def _network():
    import keras

    keras.utils.set_random_seed(3)
    image = keras.Input((8, 8, 3), name="image")
    layer = keras.layers.Conv2D(64, 3, activation="relu")(image)
    layer = keras.layers.GlobalAveragePooling2D()(layer)
    return keras.Model(image, keras.layers.Dense(32)(layer))


def _converted(model, configure=lambda converter: None) -> bytes:
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        model.export(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        configure(converter)
        return bytes(converter.convert())
