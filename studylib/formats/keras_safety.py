"""What a Keras file would run or import while it is loaded, read from its configuration before anything loads it."""

import builtins
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

_TRUST = "which runs Python code from the file; if you trust its author, set TRUST=1"
_GIVE = "give a SavedModel instead, exported by model.export(folder) where that code is known"
# Layers of Keras 2 that stand for one TensorFlow function, by its public name. Only arithmetic is let through:
# tf.io.write_file or tf.load_op_library are public names too.
_FUNCTION_LAYERS = {"TFOpLambda", "SlicingOpLambda"}
_ARITHMETIC = {"math", "nn", "linalg", "image", "signal", "bitwise", "strings", "random", "__operators__"}
_SHAPING = {
    "abs", "add", "argmax", "argmin", "argsort", "batch_to_space", "boolean_mask", "broadcast_to", "cast", "clip_by_norm",
    "clip_by_value", "concat", "convert_to_tensor", "cos", "cumsum", "divide", "einsum", "equal", "exp", "expand_dims", "eye", "fill",
    "floor", "gather", "gather_nd", "greater", "greater_equal", "identity", "less", "less_equal", "logical_and", "logical_not",
    "logical_or", "matmul", "maximum", "meshgrid", "minimum", "multiply", "negative", "norm", "not_equal", "one_hot", "ones",
    "ones_like", "pad", "pow", "range", "rank", "reduce_all", "reduce_any", "reduce_max", "reduce_mean", "reduce_min", "reduce_prod",
    "reduce_sum", "repeat", "reshape", "reverse", "roll", "round", "scatter_nd", "shape", "sigmoid", "sign", "sin", "size", "slice",
    "sort", "space_to_batch", "split", "sqrt", "square", "squeeze", "stack", "stop_gradient", "subtract", "tan", "tanh", "tensordot",
    "tile", "transpose", "truediv", "unstack", "where", "zeros", "zeros_like",
}  # fmt: skip
_METHOD_LAYERS = {"ClassMethod", "InstanceMethod"}
# Layers of Keras 3 that unpickle, or run another framework's functions or another model.
_FOREIGN_LAYERS = {"TorchModuleWrapper", "TFSMLayer", "JaxLayer", "FlaxLayer"}
_FILE_OPERATORS = re.compile(r"File|Save|Restore|PyFunc|Library|Checkpoint")
# The parts of Keras that a model is made of, by public name and by that of Keras 2 (``keras.src.engine``); and what in them would
# fetch, read and write instead of computing.
_COMPUTING_MODULES = {
    "layers", "engine", "models", "initializers", "regularizers", "constraints", "activations", "ops", "backend", "random",
    "quantizers", "dtype_policies", "mixed_precision", "losses", "metrics", "optimizers", "experimental", "api", "legacy",
}  # fmt: skip
_ACTING_MODULES = {"utils", "saving", "export", "datasets", "trainers", "callbacks"}
_ACTING_NAMES = re.compile(r"load_|save_|get_file|model_from_|_from_directory|serialize|enable_|clear_session")
_BUILTIN_VALUES = {"function", "tuple", "slice", "NoneType", "int", "float", "str", "bool"}


def why_unsafe(path: Path) -> str | None:
    """Why loading the ``.keras``, ``.h5`` or ``.hdf5`` file would run code or fail for want of a class, or None.

    Reads JSON and nothing else. The training configuration is left out: a model is loaded without it.
    """
    try:
        configuration = read_configuration(Path(path))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, RecursionError) as error:
        return f"{Path(path).name} is damaged or no Keras model: {str(error)[:200]}"
    if configuration is None:
        return f"{Path(path).name} holds weights only, no architecture; save the whole model with model.save(path)"
    return next(filter(None, map(_complaint, objects(configuration))), None)


def read_configuration(path: Path) -> dict | None:
    """The architecture as the loaders will read it, by the same rule: ``.keras`` is a zip, all else HDF5. None: weights only."""
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            text = archive.read("config.json")
    else:
        text = h5_attributes(path).get("model_config")
    configuration = None if text is None else json.loads(text)
    if configuration is not None and not isinstance(configuration, dict):
        raise ValueError("its configuration is no JSON object")
    return configuration and {key: value for key, value in configuration.items() if key != "compile_config"}


def h5_attributes(path: Path) -> dict[str, str]:
    """The attributes of an HDF5 file (``model_config``, ``keras_version`` …) as text. Raises OSError when it is none."""
    import h5py

    with h5py.File(path, "r") as file:
        return {name: value.decode() if isinstance(value, bytes) else value for name, value in file.attrs.items()}


def objects(value) -> Iterator[dict]:
    """Every described object, however deep: nested models, wrapped layers, functions given as arguments."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def _complaint(described: dict) -> str | None:
    kind = described.get("class_name")
    if not isinstance(kind, str):
        return None
    inner = described.get("config") if isinstance(described.get("config"), dict) else {}
    name = described.get("name") or inner.get("name") or kind
    # A name like "Custom>Lambda" or "keras.layers>Lambda" means the same class to some loaders.
    if kind.split(">")[-1] == "Lambda":
        return f"the file holds a Lambda layer '{name}', {_TRUST}"
    if kind == "__lambda__":
        return f"the file holds a Python function inside its configuration, {_TRUST}"
    return _function_complaint(kind, name, inner) or _class_complaint(kind, described)


def _function_complaint(kind: str, name: str, inner: dict) -> str | None:
    """Layers that stand for a function, method, operator or module, which they find by its name."""
    acts = None
    if kind in _FOREIGN_LAYERS:
        acts = "runs what is no part of Keras"
    elif kind in _METHOD_LAYERS:
        acts = "calls a method by its name"
    elif kind in _FUNCTION_LAYERS and not _is_arithmetic(str(inner.get("function"))):
        acts = f"calls tf.{inner.get('function')}"
    elif kind == "TensorFlowOpLayer" and _FILE_OPERATORS.search(str(inner.get("node_def"))):
        acts = "reads or writes files"
    return acts and f"the file holds a {kind} layer '{name}', which {acts}; if you trust its author, set TRUST=1"


def _is_arithmetic(function: str) -> bool:
    first, _, rest = function.removeprefix("compat.v1.").partition(".")
    return first in _ARITHMETIC if rest else first in _SHAPING


def _class_complaint(kind: str, described: dict) -> str | None:
    """A class or function that is not Keras' own: nothing of the file's is imported."""
    module, registered = described.get("module"), described.get("registered_name")
    if isinstance(registered, str) and ">" in registered and not registered.startswith(("keras>", "tf_keras>")):
        return f"the model needs the class '{kind}', registered as '{registered}', which is not part of Keras: {_GIVE}"
    if "module" in described and module is None and isinstance(registered, str):
        return f"the model needs the class '{kind}', which is not part of Keras: {_GIVE}"
    if not isinstance(module, str):
        return None
    parts = [part for part in module.split(".") if part != "src"]
    called = described["config"] if kind == "function" and isinstance(described.get("config"), str) else kind
    # Functions of Keras are called builtin; tf_keras would look for others in Python's own.
    if parts[0] == "builtins" and kind in _BUILTIN_VALUES and not (kind == "function" and hasattr(builtins, called)):
        return None
    foreign = parts[0] not in ("keras", "tf_keras") or (len(parts) > 1 and parts[1] not in _COMPUTING_MODULES)
    # With a dot it is something that another name of the module leads to: tf_keras would follow it out of Keras.
    if foreign or _ACTING_MODULES & set(parts) or _ACTING_NAMES.search(called) or "." in called:
        return f"the model needs '{called}' from the module '{module}', which is no layer of Keras: {_GIVE}"
    return None
