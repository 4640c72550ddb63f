"""Answers that lie on a grid of whole numbers: compared in one unit, real numbers, and in steps of the grid.

Two computations of one quantized file differ by rounding: a kernel in whole numbers rounds its product once, one in float rounds
between operators, and what one step begins grows from layer to layer. docs/decisions/0029 tells what was seen.
"""

import numpy as np

from studylib.formats.inside.grids import Grid

# Of all values, how many must lie within one step; and how far all of them may lean to one side, in steps.
LEAST_WITHIN = 0.5
MOST_BIAS = 0.25


def real(outputs: dict[str, np.ndarray], grids: dict[str, dict], reference: list[str]) -> dict[str, np.ndarray]:
    """``outputs`` in real numbers, those that are whole numbers of a grid too.

    ``grids``: of the source's outputs, by name; ``reference``: the names of the source's outputs in order, by which renamed ones are found.
    """
    if not grids:
        return outputs
    renamed = dict(zip(outputs, reference, strict=False)) if set(outputs) != set(reference) else {name: name for name in outputs}
    found = {name: grids.get(renamed.get(name, "")) for name in outputs}
    return {name: Grid(**grid).real(np.asarray(outputs[name])) if (grid := found[name]) else outputs[name] for name in outputs}


def steps(pairs: list[tuple[str, np.ndarray, np.ndarray]], grids: dict[str, dict]) -> dict[str, dict]:
    """By output on a grid: the shares of values that are ``equal`` and ``within`` one step, the ``largest`` distance in steps, and
    ``bias``, the mean of all distances with its standard error. ``pairs``: name, found and wanted, in real numbers."""
    return {name: _steps(found, wanted, grids[name]["scale"]) for name, found, wanted in pairs if name in grids}


def _steps(found: np.ndarray, wanted: np.ndarray, scale: float) -> dict:
    apart = np.rint((np.asarray(found, np.float64) - np.asarray(wanted, np.float64)) / scale)
    error = float(apart.std() / np.sqrt(apart.size))
    far = np.abs(apart)
    return {
        "equal": float(np.mean(far == 0)),
        "within": float(np.mean(far <= 1)),
        "largest": float(far.max(initial=0)),
        "bias": float(apart.mean()),
        "bias_error": error,
    }


def told(found: dict[str, dict]) -> str:
    """``96.5 % of whole numbers equal, all within 1 step``, of the output that is farthest; empty where there is no grid."""
    if not found:
        return ""
    worst = min(found.values(), key=lambda one: (one["within"], one["equal"]))
    most = f"all within {worst['largest']:.0f} step{'s' * (worst['largest'] != 1)}" if worst["largest"] else ""
    return f"{_percent(worst['equal'])} % of whole numbers equal" + (f", {most}" if most else "")


def why_not_same(found: dict[str, dict]) -> str | None:
    """Why answers on a grid are another model's, or None."""
    for name, one in found.items():
        if one["within"] < LEAST_WITHIN:
            return (
                f"parity: {_percent(one['within'])} % of the whole numbers of output '{name}' lie within one step of the source model's, "
                f"the farthest {one['largest']:.0f} steps away; at least {100 * LEAST_WITHIN:.0f} % must"
            )
        if abs(one["bias"]) > MOST_BIAS + 3 * one["bias_error"]:
            return (
                f"parity: the whole numbers of output '{name}' lie {one['bias']:+.2f} steps beside the source model's in the mean; "
                f"rounding alone stays within {MOST_BIAS:g}"
            )
    return None


def _percent(share: float) -> str:
    """99.99 % is not 100."""
    return f"{100 * share:.1f}" if share in (0.0, 1.0) or 0.0005 <= share < 0.9995 else f"{100 * share:.4g}"
