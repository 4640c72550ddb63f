"""Small changes of an assignment, for a search around the best one found."""

import numpy as np

from studylib.adaptive.layers import FLOAT, STATIC
from studylib.adaptive.profits import Table

_LARGEST_WINDOW = 8


def propose(
    current: dict[str, str], order: list[str], useful: dict[str, list[str]], value: Table, rng: np.random.Generator
) -> tuple[str, dict]:
    """(words, a changed assignment). ``order``: layers as computed. ``useful``: their precisions that may save time.

    ``value``: time saved per noise. Four moves: quantize what looks most worth it; the same in exchange for the worst
    one; one precision for a window of neighbours, since every change between neighbours costs a conversion; a window
    back to float.
    """
    idle = [name for name in order if useful[name] and current.get(name, FLOAT) == FLOAT]
    busy = [name for name in order if current.get(name, FLOAT) != FLOAT]
    move = rng.choice(["quantize", "exchange", "window", "float"])
    if move in ("quantize", "exchange") and idle:
        return _quantized(current, idle, busy if move == "exchange" else [], useful, value, rng)
    start, size = int(rng.integers(len(order))), int(rng.integers(1, min(_LARGEST_WINDOW, len(order)) + 1))
    window = order[start : start + size]
    if move == "float" and busy:
        changed = {name: precision for name, precision in current.items() if name not in window}
        return f"{len(window)} layers from {window[0]} on back to float", changed
    chosen = [precision for name in window for precision in useful[name]]
    if not chosen:
        return "", current
    precision = str(rng.choice(chosen))
    changed = current | {name: precision for name in window if precision in useful[name]}
    return f"{len(window)} layers from {window[0]} on {precision}", changed


def _quantized(current: dict, idle: list, busy: list, useful: dict, value: Table, rng: np.random.Generator) -> tuple[str, dict]:
    options = sorted(((value[name][precision], name, precision) for name in idle for precision in useful[name]), reverse=True)
    _, name, precision = options[min(int(rng.geometric(0.35)) - 1, len(options) - 1)]
    if not busy:
        return f"{name} {precision}", current | {name: precision}
    worst = sorted(busy, key=lambda one: value[one].get(current[one], 0.0))
    given_up = worst[min(int(rng.geometric(0.35)) - 1, len(worst) - 1)]
    return f"{name} {precision} in exchange for {given_up}", {k: v for k, v in current.items() if k != given_up} | {name: precision}


def best_chain(order: list[str], gains: Table, noise: Table, weight: float, switch: float) -> dict[str, str]:
    """The assignment with the largest sum of gains, less ``weight`` times the noise and ``switch`` wherever integers begin or end.

    Found by going along the layers once (Viterbi); the graph is taken for a chain in ``order``.
    """
    best: dict[str, tuple[float, dict[str, str]]] = {FLOAT: (0.0, {})}
    for name in order:
        states = {}
        for precision in (FLOAT, *noise.get(name, {})):
            own = gains[name][precision] - weight * noise[name][precision] if precision != FLOAT else 0.0
            ways = [(value - switch * ((before == STATIC) != (precision == STATIC)), before) for before, (value, _) in best.items()]
            value, before = max(ways)
            states[precision] = (value + own, best[before][1] | ({name: precision} if precision != FLOAT else {}))
        best = states
    return max(best.values(), key=lambda state: state[0])[1]


def predicted_noise(assignment: dict[str, str], noise: Table) -> float:
    """The noise of an assignment as if that of its layers added up."""
    return sum(noise[name].get(precision, 0.0) for name, precision in assignment.items() if name in noise)
