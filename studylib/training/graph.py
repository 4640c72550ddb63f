"""A Keras model as the list of calls it is made of."""

from collections.abc import Callable
from dataclasses import dataclass

from studylib.errors import RefusedError


@dataclass(frozen=True)
class Call:
    """One use of a layer or operation: a copy of it, untrained. Tensors are numbers; shapes have the batch axis (None) first.

    ``plain``: whether every argument that is no tensor is a single number, text or nothing.
    """

    operation: object
    sources: tuple[int, ...]
    results: tuple[int, ...]
    input_shapes: tuple[tuple, ...]
    output_shape: tuple
    plain: bool

    @property
    def name(self) -> str:
        return self.operation.name


@dataclass(frozen=True)
class Graph:
    """``calls`` in the order of computation. ``begins``: the model's inputs, tensor to shape. ``ends``: its outputs."""

    calls: tuple[Call, ...]
    begins: dict[int, tuple]
    ends: tuple[int, ...]

    def users(self, tensor: int) -> list[Call]:
        """The calls that read ``tensor``."""
        return [call for call in self.calls if tensor in call.sources]


def functional(model):
    """The model as a functional one, its layers shared. Raises `RefusedError` for a model that only has code."""
    import keras

    if isinstance(model, keras.Sequential) and model.built:
        return keras.Model(model.inputs, model.outputs, name=model.name)
    # A subclass may hold a graph and still run code of its own around it.
    if type(model).__name__ != "Functional" or not type(model).__module__.startswith("keras."):
        raise RefusedError(
            f"the model '{model.name}' is a {type(model).__name__} with code of its own, not a graph of layers; "
            "build it as a functional model"
        )
    return model


def find_graph(model, shapes: dict[str, tuple] | None = None) -> Graph:
    """The graph of a functional model. ``shapes``: of one sample by input name, for axes that the model leaves open."""
    import keras

    calls: list[Call] = []
    tensors: list = []  # held, so that no two of them ever have the same identity
    numbers: dict[int, int] = {}

    def number(tensor) -> int:
        if id(tensor) not in numbers:
            tensors.append(tensor)
            numbers[id(tensor)] = len(numbers)
        return numbers[id(tensor)]

    def record(operation, *args, **kwargs):
        result = operation(*args, **kwargs)
        given, made = keras.tree.flatten((args, kwargs)), keras.tree.flatten(result)
        read = [value for value in given if keras.backend.is_keras_tensor(value)]
        others = [value for value in given if not keras.backend.is_keras_tensor(value)]
        plain = all(value is None or isinstance(value, bool | int | float | str) for value in others)
        sources, results = tuple(map(number, read)), tuple(map(number, made))
        calls.append(Call(operation, sources, results, tuple(tuple(t.shape) for t in read), tuple(made[0].shape), plain))
        return result

    def sized(tensor):
        shape = (tensor.shape[0], *(shapes or {}).get(tensor.name, tensor.shape[1:]))
        return keras.Input(batch_shape=shape, dtype=tensor.dtype, name=tensor.name)

    begins = keras.tree.map_structure(sized, functional(model).input)
    copy = rebuilt(model, record, begins)
    shapes_of_inputs = {number(tensor): tuple(tensor.shape) for tensor in keras.tree.flatten(begins)}
    return Graph(tuple(calls), shapes_of_inputs, tuple(number(tensor) for tensor in copy.outputs))


def rebuilt(model, call: Callable, inputs=None, configure: Callable = lambda operation, config: config):
    """A copy of a functional model with untrained weights, names and structure kept.

    ``call(operation, *arguments)`` computes each result; ``configure(operation, config)`` gives each copy its configuration.
    """
    import keras

    def copied(operation):
        return type(operation).from_config(configure(operation, operation.get_config()))

    return keras.models.clone_model(functional(model), input_tensors=inputs, clone_function=copied, call_function=call)


def weights_by_name(model) -> dict[str, list]:
    """The weights of every layer that has some, as arrays."""
    return {layer.name: layer.get_weights() for layer in model.layers if layer.weights}
