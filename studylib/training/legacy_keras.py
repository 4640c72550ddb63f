"""Translates a Keras 3 model into the same model of legacy Keras (`tf_keras`), and its weights back.

tensorflow-model-optimization works on legacy Keras only. Layers keep their names; models inside the model are laid open.
Operations that are no layers (``x + y``, ``keras.ops``) and layers without weights that legacy Keras lacks are carried over
as they are: Keras 3 computes with TensorFlow in the same process.
"""

import inspect
from dataclasses import dataclass, field

import numpy as np

from studylib.errors import RefusedError
from studylib.training.lessons import answers_of, one_or_all

# Largest difference that two builds of one network may show, in units of the largest answer (of 1 at least).
TOLERANCE = 1e-5
_RENAMED = {"LeakyReLU": {"negative_slope": "alpha"}}
# What a legacy layer's configuration must say and a Keras 3 configuration does not: here, that shapes are found when called.
_EXTRA = {"MultiHeadAttention": dict.fromkeys(("query_shape", "key_shape", "value_shape"))}
_REFUSALS = (TypeError, ValueError, KeyError, AttributeError, NotImplementedError)


@dataclass
class Twin:
    """``source`` (Keras 3) and ``model`` (tf_keras), which has tuples for several inputs and outputs.

    ``layers``: the source's layers by the names that their counterparts have. ``carried``: names of what stays Keras 3.
    """

    source: object
    model: object = None
    layers: dict[str, object] = field(default_factory=dict)
    carried: list[str] = field(default_factory=list)

    def take_back(self, trained) -> None:
        """Set the source's weights to those that layers of the same names have in ``trained`` (tf_keras)."""
        for name, layer in self.layers.items():
            if layer.weights:
                layer.set_weights(trained.get_layer(name).get_weights())


def translate(source, inputs: list[np.ndarray]) -> Twin:
    """The twin of ``source``, a functional or sequential Keras 3 model; ``inputs``: a few samples on which both must agree.

    Raises `RefusedError` with the name of the layer that legacy Keras lacks or that answers differently.
    """
    import keras
    import tf_keras

    # Randomness as variables, which `resuming` can set; must be chosen before the first layer exists.
    tf_keras.backend.experimental.enable_tf_random_generator()
    if not getattr(source, "inputs", None):
        raise RefusedError(f"the model '{source.name}' is neither functional nor sequential; build it with keras.Model(inputs, outputs)")
    flat = keras.Model(one_or_all(source.inputs), one_or_all(source.outputs))
    entries = [
        tf_keras.Input(batch_shape=tuple(tensor.shape), dtype=tensor.dtype, name=tensor.name.split(":")[0]) for tensor in flat.inputs
    ]
    twin = Twin(source)
    twin.model = tf_keras.Model(one_or_all(entries), _Builder(twin)(flat, one_or_all(entries)))
    for name, layer in twin.layers.items():
        _give_weights(layer, twin.model.get_layer(name))
    _check(twin, flat, inputs)
    return twin


class _Builder:
    """Calls the legacy counterpart of every operation in the order of the source's graph."""

    def __init__(self, twin: Twin):
        self.twin, self.made = twin, {}

    def __call__(self, functional, inputs):
        return functional._run_through_graph(inputs, self.counterpart)

    def counterpart(self, operation):
        import keras

        if isinstance(operation, keras.Sequential):
            operation = keras.Model(one_or_all(operation.inputs), one_or_all(operation.outputs))
        if isinstance(operation, keras.Model) and hasattr(operation, "_run_through_graph"):
            return lambda *inputs, **_: self(operation, inputs)
        if id(operation) not in self.made:
            self.made[id(operation)] = self._new(operation)
        return self.made[id(operation)]

    def _new(self, operation):
        import tf_keras

        name = self._free_name(operation.name)
        kind = getattr(tf_keras.layers, type(operation).__name__, None)
        if _is_keras_layer(operation) and kind is not None:
            self.twin.layers[name] = operation
            return _layer(kind, operation, name)
        if getattr(operation, "weights", []):
            raise RefusedError(
                f"layer {operation.name} ({type(operation).__name__}) has no counterpart in legacy Keras, "
                "on which tensorflow-model-optimization works; compress this model after training instead"
            )
        return lambda *args, **kwargs: self._carried(operation, args, kwargs)

    def _carried(self, operation, args: tuple, kwargs: dict):
        name = self._free_name(operation.name)
        self.twin.carried.append(name)
        return _carry(operation, name, args, kwargs)

    def _free_name(self, name: str) -> str:
        taken = {*self.twin.layers, *self.twin.carried}
        return next(free for free in (name, *(f"{name}_{index}" for index in range(1, len(taken) + 2))) if free not in taken)


def _is_keras_layer(operation) -> bool:
    """Whether it is a layer of Keras' own; an operation of `keras.ops` or a custom layer may have the same name."""
    import keras

    return isinstance(operation, keras.Layer) and getattr(keras.layers, type(operation).__name__, None) is type(operation)


def _layer(kind, source, name: str):
    """A new layer of the legacy class ``kind`` with the configuration of ``source``."""
    try:
        return kind.from_config(_configuration(kind, source.get_config()) | _EXTRA.get(kind.__name__, {}) | {"name": name})
    except _REFUSALS as error:
        raise RefusedError(f"layer {source.name} ({kind.__name__}) cannot be built in legacy Keras: {error}") from None


def _configuration(kind, config: dict) -> dict:
    """What ``kind`` takes of a Keras 3 configuration, in its words. What it does not take shows in the answers, if it matters."""
    renamed = _RENAMED.get(kind.__name__, {})
    config = {renamed.get(key, key): _value(key, value) for key, value in config.items() if not key.endswith("_initializer")}
    return {key: value for key, value in config.items() if key in _parameters(kind)}


def _parameters(kind) -> set[str]:
    """Names that the constructors of a legacy layer class and its bases take."""
    found = {"name", "trainable", "dtype"}
    for base in kind.__mro__:
        if "__init__" in vars(base):
            found |= {one.name for one in inspect.signature(base.__init__).parameters.values() if one.kind is not one.VAR_KEYWORD}
    return found - {"self", "args"}


def _value(key: str, value):
    import keras
    import tf_keras

    if isinstance(value, str) and key.endswith("activation"):
        try:
            return tf_keras.activations.get(value) and value
        except ValueError:
            return keras.activations.get(value)
    if not isinstance(value, dict) or "class_name" not in value:
        return value
    name, inner = value["class_name"], value.get("config")
    if name == "DTypePolicy":
        return inner["name"]
    if name == "function":
        return inner
    kind = getattr(tf_keras.layers, name, None) if str(value.get("module", "")).startswith("keras.layers") else None
    return {"class_name": name, "config": _configuration(kind, inner) if kind else inner}


def _carry(operation, name: str, args: tuple, kwargs: dict):
    """What ``operation`` of Keras 3, which has no weights, makes of legacy tensors: one legacy layer for one call."""
    import keras
    import tf_keras

    leaves, symbolic = keras.tree.flatten((args, kwargs)), type(tf_keras.Input(()))
    tensors = [leaf for leaf in leaves if isinstance(leaf, symbolic)]

    class Carried(tf_keras.layers.Layer):
        def call(self, tensors):
            given = iter(tensors)
            filled = [next(given) if isinstance(leaf, symbolic) else leaf for leaf in leaves]
            args_now, kwargs_now = keras.tree.pack_sequence_as((args, kwargs), filled)
            return operation.call(*args_now, **kwargs_now)

    return Carried(name=name)(tensors)


def _give_weights(source, layer) -> None:
    values = source.get_weights()
    wanted = [tuple(weight.shape) for weight in layer.weights]
    if [value.shape for value in values] != wanted:
        raise RefusedError(
            f"layer {source.name} ({type(source).__name__}) has weights of shapes {[value.shape for value in values]}, "
            f"its counterpart in legacy Keras {wanted}; compress this model after training instead"
        )
    layer.set_weights(values)


def _check(twin: Twin, flat, inputs: list[np.ndarray]) -> None:
    """Raise `RefusedError` unless both models answer alike; the first layer that does not is named."""
    import keras
    import tf_keras

    off = _difference(answers_of(keras, flat, inputs), answers_of(tf_keras, twin.model, inputs))
    if off <= TOLERANCE:
        return
    # Layers of models inside the model, and those used twice, have no single output in this graph.
    for name, layer in twin.layers.items():
        if layer not in flat.layers or len(layer._inbound_nodes) != 1:
            continue
        ours = keras.Model(one_or_all(flat.inputs), layer.output)
        theirs = tf_keras.Model(twin.model.inputs, twin.model.get_layer(name).output)
        if _difference(answers_of(keras, ours, inputs), answers_of(tf_keras, theirs, inputs)) > TOLERANCE:
            raise RefusedError(
                f"layer {layer.name} ({type(layer).__name__}) answers differently in legacy Keras, on which "
                f"tensorflow-model-optimization works: by {off:.2g} in the end; compress this model after training instead"
            )
    raise RefusedError(f"the model answers differently in legacy Keras, by {off:.2g}; compress it after training instead")


def _difference(ours: list[np.ndarray], theirs: list[np.ndarray]) -> float:
    pairs = [(np.asarray(a, np.float64), np.asarray(b, np.float64)) for a, b in zip(ours, theirs, strict=True)]
    return max(float(np.abs(a - b).max() / max(1.0, np.abs(a).max())) for a, b in pairs)
