"""What each layer would win in time and cost in noise, per precision: where a search begins.

A first model only: times of operators do not simply add up, and noise of several layers adds nearly, not quite.
"""

import math

from studylib.adaptive.candidates import Candidates
from studylib.adaptive.layers import DYNAMIC, FLOAT, STATIC, Layer, uniform
from studylib.stats import Verdict

Table = dict[str, dict[str, float]]
_QUERIES = 4


def gains(candidates: Candidates, uniforms: dict[str, dict]) -> Table:
    """Layer to precision to the share of fp32's latency that it saves (below zero: costs); ``uniforms``: their steps.

    From the runtime's profile where there is one; otherwise what all layers of an operator save together, with
    all others and alone, shared out by work, and what the heaviest of them saves alone.
    """
    layers = candidates.model.layers
    times = candidates.profiled({FLOAT: {}, **{precision: uniform(layers, precision) for precision in (DYNAMIC, STATIC)}})
    if times:
        return _from_times(layers, times)
    work = candidates.surgeon.work(candidates.model)
    found: Table = {layer.name: {} for layer in layers}
    for precision in (DYNAMIC, STATIC):
        able = [layer for layer in layers if precision in layer.precisions]
        kinds = sorted({layer.operator for layer in able})
        if able:
            _share(found, able, precision, work, uniforms[precision])
        for kind in kinds if len(kinds) > 1 else ():
            own = [layer for layer in able if layer.operator == kind]
            _share(found, own, precision, work, candidates.raced(f"only {kind} {precision}", uniform(own, precision)))
            heaviest = max(own, key=lambda layer: work[layer.name])
            if len(own) > 1:
                _share(
                    found, [heaviest], precision, work, candidates.raced(f"only {heaviest.name} {precision}", {heaviest.name: precision})
                )
    return found


def _from_times(layers: tuple[Layer, ...], times: dict[str, dict[str, float]]) -> Table:
    whole = sum(times[FLOAT].values())
    return {
        layer.name: {
            precision: (times[FLOAT][layer.name] - times[precision][layer.name]) / whole
            for precision in layer.precisions
            if precision != FLOAT and layer.name in times[FLOAT] and layer.name in times.get(precision, {})
        }
        for layer in layers
    }


def _share(found: Table, layers: list[Layer], precision: str, work: dict[str, float], step: dict) -> None:
    # Only what is beyond doubt promises anything: a gain that is noise would be followed by a search for nothing.
    sure = step["ratio"] if step["verdict"] != Verdict.CANNOT_TELL else min(1.0, step["ratio"])
    saved, whole = 1 - 1 / sure, sum(work[layer.name] for layer in layers)
    for layer in layers:
        share = saved * work[layer.name] / whole
        found[layer.name][precision] = max(share, found[layer.name].get(precision, -math.inf))


def noises(candidates: Candidates, wanted: list[tuple[str, str]], seconds: float) -> Table:
    """Layer to precision to the noise power it adds, relative to the signal, each of ``wanted`` quantized alone.

    Where one after the other would take longer than ``seconds``, neighbours are judged together and share their noise.
    """
    found: Table = {}
    for precision in dict.fromkeys(precision for _, precision in wanted):
        names = [name for name, own in wanted if own == precision]
        budget = seconds * len(names) / len(wanted)
        position, size = 0, 1
        while position < len(names):
            group = names[position : position + size]
            alone = f"only {group[0]}" if len(group) == 1 else f"only the {len(group)} layers from {group[0]} on, for lack of time together"
            step = candidates.judged(f"{alone} {precision}", dict.fromkeys(group, precision))
            for name in group:
                found.setdefault(name, {})[precision] = noise_power(step["sqnr_db"]) / len(group)
            position, budget = position + len(group), budget - step["seconds"]
            left = len(names) - position
            size = max(1, math.ceil(left * step["seconds"] / budget)) if budget > 0 else max(1, left)
    return found


def noise_power(sqnr_db: float) -> float:
    """Noise relative to the signal; an output that is not finite counts as much more than the signal."""
    return 1e6 if math.isnan(sqnr_db) or sqnr_db == -math.inf else 10 ** (-sqnr_db / 10)
