"""The inputs and outputs of a Keras model as the SavedModel made of it names them, however the model is built.

`keras.Sequential` has no names of outputs, dictionaries may be nested, and names of Keras may be none for a SavedModel. What asks
a Keras model and what exports it must agree on all of that, so both read it here.
"""

import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from studylib.errors import RefusedError

# Arguments that TensorFlow keeps for itself when it calls a signature.
_TAKEN = ("self",)


@dataclass(frozen=True)
class Tensor:
    """``shape``: None for an axis of any length; the first axis is the batch. ``dtype``: by its name in numpy, or ``string``."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True)
class Signature:
    """``inputs`` in the order of ``model.inputs``, ``outputs`` in the order of the model's answers.

    ``renamed``: names in the signature by names in Keras, of inputs and of outputs, where a SavedModel cannot have those.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    renamed: tuple[dict[str, str], dict[str, str]] = ({}, {})

    def ordered(self, given: dict) -> list:
        """The values of ``given`` in the order of the inputs; those of a model with one input may have any name."""
        names = [tensor.name for tensor in self.inputs]
        return [given[name] for name in names] if set(names) == set(given) else list(given.values())

    def labelled(self, answers) -> dict:
        """The tensors that the model answered, by the outputs' names."""
        return {self.renamed[1].get(name, name): leaf for name, leaf in _leaves(answers)}

    @property
    def notes(self) -> dict:
        """What a SavedModel calls otherwise than Keras, for the lineage."""
        return {"renamed": self.renamed[0] | self.renamed[1]} if any(self.renamed) else {}


def signature_of(model) -> Signature:
    """The signature of a loaded model of Keras 3 or `tf_keras`. Raises `RefusedError` for one that knows no input."""
    tensors = getattr(model, "inputs", None)
    if not tensors:
        raise RefusedError(_why_no_inputs(model))
    own = [tensor.name.split(":")[0] for tensor in tensors]
    names = _unique([_allowed(name) for name in own])
    free = _has_free_batch(model)
    inputs = [_described(tensor, name, free) for tensor, name in zip(tensors, names, strict=True)]
    structure = _structure(model)
    outputs = dict(_leaves(structure))
    # ONNX forbids one name for an input and an output, and dictionaries of Keras may well have both.
    clashing = {name: f"{name}_output" for name in outputs if name in names} if isinstance(structure, dict) else {}
    described = [_described(tensor, clashing.get(name, name), free) for name, tensor in outputs.items()]
    changed = {before: after for before, after in zip(own, names, strict=True) if before != after}
    return Signature(tuple(inputs), tuple(described), (changed, clashing))


def serving(model, signature: Signature):
    """The model as a ``tf.function`` from values in the order of its inputs to answers by name.

    Called as Keras' own export calls it, without ``training``: ``predict`` would switch off what was built with ``training=True``,
    so that a model that samples would seem not to, and answer otherwise once it is exported.
    """
    import tensorflow as tf

    def serve(*values):
        answers = signature.labelled(model(packed(model, list(values))))
        # Two outputs may be one tensor, or an input: each gets a name of its own.
        return {name: tf.identity(tensor) for name, tensor in answers.items()}

    return tf.function(serve, input_signature=_specs(signature), autograph=False)


def export(model, signature: Signature, folder: Path) -> None:
    """Write the model as a SavedModel with this signature as ``serving_default``. Source: ``export.ExportArchive`` of both Keras."""
    library = library_of(model)
    archive = library.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", serving(model, signature).python_function, input_signature=_specs(signature))
    archive.write_out(str(folder), **({"verbose": False} if library.__name__ == "keras" else {}))


def _specs(signature: Signature) -> list:
    import tensorflow as tf

    return [tf.TensorSpec(tensor.shape, tensor.dtype, tensor.name) for tensor in signature.inputs]


def library_of(model):
    """The module ``keras`` or ``tf_keras`` that the model is made of."""
    return importlib.import_module("tf_keras" if _is_legacy(model) else "keras")


def packed(model, values: list):
    """``values``, in the order of ``model.inputs``, in the structure that the model takes: alone, a list, a dictionary."""
    if _is_legacy(model):
        return values[0] if len(values) == 1 else values
    import keras

    inner = functional(model)
    return keras.tree.pack_sequence_as(inner.input, values) if hasattr(inner, "_inputs_struct") else values


def functional(model):
    """A `keras.Sequential` as the functional model of the same layers; any other as it is."""
    import keras

    return keras.Model(model.inputs, model.outputs, name=model.name) if isinstance(model, keras.Sequential) else model


def named(outputs) -> dict[str, np.ndarray]:
    """Outputs by the names that a SavedModel of the same model has: its own, or ``output_0`` and so on."""
    return {name: np.asarray(values) for name, values in _leaves(outputs)}


def _leaves(outputs) -> Iterator[tuple[str, object]]:
    """(name, tensor) of every output: paths through dictionaries, numbers where no dictionary stands around."""
    found = list(_walked(outputs, ()))
    if isinstance(outputs, dict):
        yield from zip(_unique(["_".join(path) for path, _ in found]), [leaf for _, leaf in found], strict=True)
    else:
        yield from ((f"output_{index}", leaf) for index, (_, leaf) in enumerate(found))


def _walked(value, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], object]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _walked(inner, (*path, str(key)))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _walked(inner, (*path, str(index)))
    else:
        yield path, value


def _allowed(name: str) -> str:
    """A name that TensorFlow takes for an argument: it would change some of these itself, and stumble over others."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return f"arg_{name}" if not name[:1].isalpha() or name in _TAKEN else name


def _unique(names: list[str]) -> list[str]:
    found: list[str] = []
    for name in names:
        number, free = 1, name
        while free in found:
            number += 1
            free = f"{name}_{number}"
        found.append(free)
    return found


def _described(tensor, name: str, free_batch: bool) -> Tensor:
    import tensorflow as tf

    shape = tuple(None if size is None else int(size) for size in tensor.shape)
    return Tensor(name, (None, *shape[1:]) if free_batch and shape else shape, tf.as_dtype(tensor.dtype).name)


def _structure(model):
    """The outputs as the model gives them: one tensor, a list, a dictionary."""
    return model.output if _is_legacy(model) else functional(model).output


def _has_free_batch(model) -> bool:
    """Whether a batch of any size is answered although one size was declared: Keras itself only notes that size.

    A layer that keeps a state has one for each sample of a batch, and an operation may have been given the size as a number.
    """
    declared = [tensor.shape[0] for tensor in model.inputs if len(tensor.shape)]
    if all(size is None for size in declared):
        return True
    if any(getattr(layer, "stateful", False) for layer in model.layers):
        return False
    if any(None in tuple(tensor.shape[1:]) or not _is_number(tensor) for tensor in model.inputs):
        return True
    size = max(size or 0 for size in declared) + 1
    values = [np.zeros((size, *tensor.shape[1:]), _described(tensor, "", False).dtype) for tensor in model.inputs]
    try:
        answers = model(packed(model, values), training=False)
    except Exception:  # TensorFlow and Keras raise what they like at a shape; whatever it is, this batch is not answered
        return False
    return all(len(np.shape(values)) and len(values) == size for _, values in _leaves(answers))


def _is_number(tensor) -> bool:
    import tensorflow as tf

    dtype = tf.as_dtype(tensor.dtype)
    return dtype.is_floating or dtype.is_integer or dtype.is_bool


def _is_legacy(model) -> bool:
    return any(kind.__module__.startswith("tf_keras.") for kind in type(model).__mro__)


def _why_no_inputs(model) -> str:
    if type(model).__name__ == "Sequential":
        return (
            f"the model '{model.name}' was saved before it was ever called, so nothing says what shape its input has; "
            "begin it with keras.Input(shape), or call it once on a batch, and save it again"
        )
    return (
        f"the model '{model.name}' is a subclass with code of its own and knows no inputs; "
        "give a SavedModel instead, exported by model.export(folder) after it was called once"
    )
