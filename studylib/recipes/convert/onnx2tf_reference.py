"""What the source answers, in ONNX Runtime, and whether a translation answers the same: for `onnx2tf_process`, without studylib."""

import itertools
import re

import numpy as np

# Tried one after the other for every dynamic axis but the batch.
SIZES = (32, 1, 224, 1024, 16384)
# Not the size of anything, so that a batch that was taken for another axis shows.
BATCH = 3
# Of the largest value of an output. What is nearer is left to the parity gate of the study.
NEAR = 1e-2
ADVICE = "Keep this model in ONNX, or convert the model it was made from"


class Refusal(Exception):
    """Why there is no translation, in words for a row."""


class Reference:
    """The source in ONNX Runtime: ``inputs`` and ``outputs`` by name with their declared shapes, None where an axis is open."""

    def __init__(self, source):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        try:
            self.session = onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            version = onnxruntime.__version__
            raise Refusal(f"ONNX Runtime {version} of onnx2tf's environment does not open the file: {line_of(error)}. {ADVICE}") from None
        self.inputs = {
            one.name: [size if isinstance(size, int) and size > 0 else None for size in one.shape] for one in self.session.get_inputs()
        }
        self.types = {one.name: _dtype(one.type) for one in self.session.get_inputs()}
        self.outputs = [one.name for one in self.session.get_outputs()]
        odd = [one.name for one in (*self.session.get_inputs(), *self.session.get_outputs()) if _dtype(one.type) is None]
        if odd:
            raise Refusal(f"'{odd[0]}' holds no numbers in a tensor, which TensorFlow and onnx2tf have no counterpart for. {ADVICE}")
        self._size = None

    @property
    def dynamic(self):
        """Whether a first axis is open, as the batch is."""
        return any(shape and shape[0] is None for shape in self.inputs.values())

    def asked(self, batch):
        """(inputs, outputs) by name of one query with invented values. Raises `Refusal` when no size of open axes runs."""
        reason = ""
        for size in SIZES if self._size is None else (self._size,):
            rng = np.random.default_rng(batch)
            given = {name: _invented(rng, shape, self.types[name], batch, size) for name, shape in self.inputs.items()}
            try:
                answered = dict(zip(self.outputs, self.session.run(self.outputs, given), strict=True))
            except Exception as error:
                reason = reason or line_of(error)
                continue
            self._size = size
            return given, answered
        raise Refusal(f"ONNX Runtime answers no query of invented values, so the result could not be held against it: {reason}")


def _dtype(name):
    names = {"float": "float32", "double": "float64"}
    inner = re.fullmatch(r"tensor\((\w+)\)", name)
    try:
        return np.dtype(names.get(inner[1], inner[1])) if inner and inner[1] != "string" else None
    except TypeError:
        return None


def _invented(rng, shape, dtype, batch, size):
    """Values of an input: whole numbers are 0 or 1, which every table has."""
    lengths = [(batch if axis == 0 else size) if length is None else length for axis, length in enumerate(shape)]
    if dtype.kind == "f":
        return np.asarray(rng.random(lengths), dtype)
    return np.asarray(rng.integers(0, 2, lengths), dtype)


def same(keras_model, reference, batch):
    given, wanted = reference.asked(batch)
    try:
        answers = listed(keras_model([given[name] for name in reference.inputs] if len(given) > 1 else next(iter(given.values()))))
    except Exception as error:
        raise Refusal(f"what onnx2tf made does not run: {line_of(error)}") from None
    if len(answers) != len(wanted):
        raise Refusal(f"onnx2tf made {len(answers)} of {len(wanted)} outputs")
    return [_transposition(name, np.asarray(made), wanted[name]) for name, made in zip(reference.outputs, answers, strict=True)]


def listed(values):
    return list(values) if isinstance(values, (list, tuple)) else [values]


def _transposition(name, made, wanted):
    """The order of axes that makes ``made`` what ONNX Runtime answered; the likely ones are tried first."""
    wanted = np.asarray(wanted)
    rank, scale = wanted.ndim, float(np.max(np.abs(np.nan_to_num(wanted.astype(np.float64))), initial=0.0))
    orders = [tuple(range(rank)), (0, rank - 1, *range(1, rank - 1)), (0, *range(2, rank), 1)] if rank > 2 else [tuple(range(rank))]
    nearest = float("inf")
    for order in dict.fromkeys([*orders, *itertools.permutations(range(rank))]) if made.ndim == rank and rank <= 5 else ():
        if made.transpose(order).shape == wanted.shape:
            there = np.abs(made.transpose(order).astype(np.float64) - wanted.astype(np.float64))
            nearest = min(nearest, float(np.max(there, initial=0.0)))
            if np.max(there, initial=0.0) <= NEAR * scale + 1e-6:
                return order
    if nearest == float("inf"):
        raise Refusal(f"what onnx2tf made gives '{name}' the shape {list(made.shape)}; ONNX Runtime gives {list(wanted.shape)}")
    raise Refusal(f"what onnx2tf made gives another '{name}' than ONNX Runtime: {nearest:.3g} apart, and its values go up to {scale:.3g}")


def line_of(error):
    return f"{type(error).__name__}: {' '.join(str(error).split())[:250]}"
