"""Chooses what to remove: always what costs least for each multiply-accumulate it saves, until the budget is met."""

from dataclasses import dataclass

import numpy as np

from studylib.errors import RefusedError
from studylib.training import kinds
from studylib.training.blocks import Block
from studylib.training.channels import Channels
from studylib.training.costs import Costs

# Groups of at least twice this many channels keep a multiple of it: what kernels compute at once.
_STEP = 8
_LEAST_SHARE = 0.1


@dataclass(frozen=True)
class KeptUnits:
    """``kept``: whether each unit stays, shape (units,). ``without``: blocks left out. MACs are those of known layers, one sample."""

    kept: np.ndarray
    without: tuple[Block, ...]
    macs_before: int
    macs_after: int


@dataclass(frozen=True)
class _Removal:
    """One step: ``count`` units of group ``group``, or a ``block``; ``cost``: what the loss grows by."""

    cost: float
    group: int = 0
    count: int = 0
    block: Block | None = None


def choose(
    channels: Channels, costs: Costs, importance: np.ndarray, blocks: dict[Block, float], share: float, step: int = _STEP
) -> KeptUnits:
    """What to remove so that at most ``share`` of the multiply-accumulates stay.

    ``importance``: growth of the loss by unit; ``blocks``: by block. ``step``: channels are removed by so many at once
    from wide groups. Raises `RefusedError` when not enough may be removed.
    """
    whole = float(costs.macs(costs.full))
    ranked = [group[np.argsort(importance[group], kind="stable")] for group in costs.groups]
    sizes, without, done = costs.full, frozenset(), []
    while (macs := float(costs.macs(sizes, without))) > share * whole:
        options = _channel_removals(costs, ranked, importance, sizes, step)
        options += [_Removal(cost, block=block) for block, cost in blocks.items() if not block.inside <= without]
        saved = [macs - float(costs.macs(*_after(sizes, without, option))) for option in options]
        needed = macs - share * whole  # what is saved beyond it counts for nothing
        rates = [max(option.cost, 0) / min(gain, needed) if gain > 0 else np.inf for option, gain in zip(options, saved, strict=True)]
        if not rates or min(rates) == np.inf:
            raise RefusedError(_too_little(channels, macs / whole, share))
        done.append(options[int(np.argmin(rates))])
        sizes, without = _after(sizes, without, done[-1])
    for removal in sorted(done, key=lambda removal: -removal.cost):  # what the last step removed too much, the dearest first
        fewer = [other for other in done if other is not removal]
        if float(costs.macs(*_all(costs, fewer))) <= share * whole:
            done = fewer
    sizes, without = _all(costs, done)
    kept = np.ones(channels.count, bool)
    for group, size in zip(ranked, sizes, strict=True):
        kept[group[: len(group) - int(size)]] = False
    removed = tuple(removal.block for removal in done if removal.block)
    return KeptUnits(kept, removed, round(whole), round(float(costs.macs(sizes, without))))


def narrowed(channels: Channels, costs: Costs, width: float) -> KeptUnits:
    """Every group narrowed to ``width`` of its channels, by number alone: the first ones stay."""
    kept = np.ones(channels.count, bool)
    sizes = [max(1, round(len(group) * width)) for group in costs.groups]
    for group, size in zip(costs.groups, sizes, strict=True):
        kept[group[size:]] = False
    macs = [round(float(costs.macs(np.array(size, float)))) for size in (costs.full, sizes)]
    return KeptUnits(kept, (), *macs)


def evidence(model, smaller, channels: Channels, choice: KeptUnits) -> dict:
    """Notes on what became smaller: MACs of one sample, parameters, and by layer [channels before, after] where they differ."""
    gone = {name for block in choice.without for name in block.inside}
    computing = [call.name for call in channels.graph.calls if kinds.kind_of(call.operation) in kinds.MIXING and call.name not in gone]
    widths = {name: [len(channels.outputs[name]), int(choice.kept[channels.outputs[name]].sum())] for name in computing}
    return {
        "macs_before": choice.macs_before,
        "macs_after": choice.macs_after,
        "parameters_before": model.count_params(),
        "parameters_after": smaller.count_params(),
        "layers": {name: width for name, width in widths.items() if width[0] != width[1]},
        "untouched": channels.reasons,
    }


def _channel_removals(costs: Costs, ranked: list, importance: np.ndarray, sizes: np.ndarray, step: int) -> list[_Removal]:
    found = []
    for index, (group, size) in enumerate(zip(ranked, sizes.astype(int), strict=True)):
        count = (size % step or step) if len(group) >= 2 * step else 1
        if size - count >= max(min(step, len(group) // 2), _LEAST_SHARE * len(group), 1):
            gone = len(group) - size
            found.append(_Removal(float(importance[group[gone : gone + count]].sum()), index, count))
    return found


def _after(sizes: np.ndarray, without: frozenset, removal: _Removal) -> tuple[np.ndarray, frozenset]:
    if removal.block:
        return sizes, without | removal.block.inside
    sizes = sizes.copy()
    sizes[removal.group] -= removal.count
    return sizes, without


def _all(costs: Costs, removals: list[_Removal]) -> tuple[np.ndarray, frozenset]:
    state = costs.full, frozenset()
    for removal in removals:
        state = _after(*state, removal)
    return state


def _too_little(channels: Channels, reached: float, share: float) -> str:
    because = "; ".join(channels.reasons[:3])
    return (
        f"removing every channel that may go still leaves {reached:.0%} of the multiply-accumulates, not {share:.0%}: {because}. "
        "Ask for a larger share, or leave this model whole"
    )
