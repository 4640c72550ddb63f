"""SavedModels for the search: the serving signature with its variables frozen, pruned to the tensor that is read."""

from pathlib import Path

import numpy as np

from studylib.errors import ArtifactError
from studylib.quality.divergence.opened import Opened, Tensor, arrange, paths


def opened(path: Path, inputs: dict[str, np.ndarray]) -> Opened:
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    loaded = tf.saved_model.load(str(path))  # owns the variables, so it must outlive the freezing
    serving = loaded.signatures.get("serving_default")
    if serving is None:
        raise ArtifactError(f"{path} has no signature `serving_default`; export the model with `model.export`")
    frozen = convert_variables_to_constants_v2(serving)
    names = [tensor.name.split(":")[0] for tensor in frozen.inputs]
    values = [tf.constant(value) for value in arrange(inputs, names)]
    tensors = _tensors(frozen.graph, set(names), len(values[0]))

    def read(name: str) -> np.ndarray:
        result = frozen.prune(frozen.inputs, frozen.graph.get_tensor_by_name(f"{name}:0"))(*values)
        return np.asarray(result)

    return Opened("saved_model", tensors, [_behind_identities(tensor).op.name for tensor in frozen.outputs], read)


def _tensors(graph, fed: set[str], batch: int) -> list[Tensor]:
    known, found = set(fed), []
    for operation in graph.get_operations():
        reads = tuple(tensor.op.name for tensor in operation.inputs if tensor.op.name in known)
        if not reads or (operation.type == "Identity" and not paths(operation.name)):
            known.update({operation.name} if reads else ())
            continue
        known.add(operation.name)
        found.append(Tensor(operation.name, _shape(operation, batch), paths(operation.name), reads))
    return found


def _shape(operation, batch: int) -> tuple[int, ...]:
    """The shape of the first result, empty where it is unknown or no float."""
    result = operation.outputs[0] if operation.outputs else None
    if result is None or not result.dtype.is_floating or result.shape.rank is None:
        return ()
    shape = tuple(batch if axis == 0 and size is None else size for axis, size in enumerate(result.shape))
    return () if None in shape else shape


def _behind_identities(tensor):
    while tensor.op.type == "Identity":
        tensor = tensor.op.inputs[0]
    return tensor
