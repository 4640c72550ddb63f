"""Outputs whose shape depends on the input, such as the boxes that a detector keeps: one array a sample, and no fidelity over all.

Such an output is a numpy array of objects, shape (samples,), each the array of one sample with its batch axis of 1. What cannot be
compared is said, with what would bring a comparison; sample by sample, answers of one shape still can.
"""

from collections.abc import Sequence

import numpy as np

from studylib import stats
from studylib.quality.metrics import Outputs, tolerance

# What brings a comparison.
REMEDY = (
    "to judge one, export the model up to where the number of answers is decided (a detector without its non-maximum suppression), "
    "which has outputs of one shape"
)
# Rounding moves a score across a threshold now and then, never for most samples.
_SHARE_ALIKE = 0.5


def gathered(found: Sequence[Outputs]) -> Outputs:
    """Answers to one sample each as arrays (samples, …); an array of arrays where a shape differs from sample to sample."""
    return {name: _together([np.asarray(outputs[name]) for outputs in found]) for name in found[0]}


def is_varying(values: np.ndarray) -> bool:
    return values.dtype == object


def varies(outputs: Outputs) -> list[str]:
    """The names of outputs that cannot be compared over all samples: of another shape for another sample, or empty for every one."""
    return [name for name, values in outputs.items() if is_varying(values) or values.size == 0]


def why_not_comparable(outputs: Outputs, reference: Outputs) -> str:
    """Why no fidelity can be told of ``outputs`` against the ``reference``, with what would help; empty where it can.

    An output that varies here and not in the source model is another matter: its shape is wrong, and that is compared.
    """
    named = varies(reference)
    if not named or len(outputs) != len(reference):
        return ""
    name, values = named[0], reference[named[0]]
    if not is_varying(values):
        what = f"the source model's output '{name}' is empty for every sample here (shape {_text(values.shape[1:])})"
        return f"not comparable: {what}; give DATA in which it finds something, and {REMEDY}"
    shapes = sorted({one.shape for one in values}, key=lambda shape: (np.prod(shape), shape))
    what = f"the number of answers depends on the input (output '{name}': {_text(shapes[0])} to {_text(shapes[-1])})"
    return f"not comparable: {what}; {REMEDY}"


def by_sample(outputs: Outputs, reference: Outputs) -> tuple[int, int, float]:
    """(samples that have all the shapes of the source model's answers, all samples, SQNR in dB of those over the worst output)."""
    theirs = list(outputs.values()) if set(outputs) != set(reference) else [outputs[name] for name in reference]
    pairs = list(zip(theirs, reference.values(), strict=True))
    count = len(pairs[0][1])
    alike = [index for index in range(count) if all(np.shape(mine[index]) == np.shape(wanted[index]) for mine, wanted in pairs)]
    worst = np.inf
    for mine, wanted in pairs:
        found = [np.ravel(np.asarray(mine[index], float)) for index in alike]
        right = [np.ravel(np.asarray(wanted[index], float)) for index in alike]
        if found and sum(map(len, found)):
            worst = min(worst, _sqnr(np.concatenate(right), np.concatenate(found)))
    return len(alike), count, worst


def why_not_same(outputs: Outputs, reference: Outputs, precision: str) -> str | None:
    """Why a float conversion is another model as far as sample by sample can tell, or None.

    A quantized one may rightly find another number of things: it is not judged, and its evaluation says so.
    """
    limit = tolerance(precision)
    alike, count, sqnr = by_sample(outputs, reference)
    if precision not in ("fp32", "fp16"):
        return None
    if alike < _SHARE_ALIKE * count:
        return f"parity: only {alike} of {count} samples have as many answers as the source model gives; {precision} may differ in a few"
    if not sqnr >= limit.sqnr_db:
        return f"parity: SQNR {sqnr:.1f} dB in the {alike} of {count} samples with as many answers; {precision} needs {limit.sqnr_db:g} dB"
    return None


def told(outputs: Outputs, reference: Outputs) -> str:
    """What sample by sample tells instead of a fidelity, in words."""
    alike, count, sqnr = by_sample(outputs, reference)
    values = "equal" if np.isposinf(sqnr) else "alike but for rounding" if sqnr >= tolerance("fp32").sqnr_db else "not quite the same"
    return f"{alike} of {count} samples have as many answers as the source model gives{f', with {values} values' if alike else ''}"


def _together(values: list[np.ndarray]) -> np.ndarray:
    if len({one.shape for one in values}) == 1:
        return np.stack(values)
    found = np.empty(len(values), object)
    found[:] = values
    return found


def _sqnr(wanted: np.ndarray, found: np.ndarray) -> float:
    return stats.sqnr_db(wanted, found) if np.isfinite(found).all() else -np.inf


def _text(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape)) or "a single value"
