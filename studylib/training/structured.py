"""Structured pruning: channels and blocks removed by measured importance, shapes smaller, then taught again."""

import json
from pathlib import Path

import numpy as np

from studylib.artifacts.store import output_error, write_text
from studylib.errors import RefusedError
from studylib.models.zoo import Samples
from studylib.training import importance
from studylib.training.blocks import Block, find_blocks
from studylib.training.channels import Channels, find_channels
from studylib.training.choice import choose, evidence
from studylib.training.costs import find_costs
from studylib.training.evidence import sparsity
from studylib.training.graph import find_graph
from studylib.training.job import Job, say
from studylib.training.lessons import Lessons, lessons
from studylib.training.surgery import cut
from studylib.training.teaching import shapes_of, source_model, taught

# Lessons that importance is measured on: beyond these the order of channels hardly changes.
_MEASURED = 256
_MEASURED_BLOCKS = 64


def run(job: Job) -> dict:
    """Write ``model.keras`` with at most ``options["share"]`` of the multiply-accumulates; notes on what was removed.

    Options: ``share``, ``blocks`` (whether whole residual blocks may go too), ``epochs``, ``batch``, ``learning_rate``.
    Raises `RefusedError` when there is nothing to remove or not enough.
    """
    import keras

    options = job.options
    if not 0 < options["share"] < 1:
        raise RefusedError(f"share is {options['share']}; give the part of the multiply-accumulates that stays, between 0 and 1")
    model, samples = source_model(job.source), Samples.load(job.samples)
    lesson = lessons(keras, model, samples)
    kept = job.unfinished / "pruned"
    if not (kept / "notes.json").exists():
        smaller, notes = prune(model, lesson, shapes_of(samples), options["share"], options["blocks"], job.seed)
        _keep(smaller, notes, kept)
    smaller, notes = source_model(kept / "model.keras"), json.loads((kept / "notes.json").read_text(encoding="utf-8"))
    losses = taught(smaller, lesson, job, "fine-tuning")
    smaller.save(job.target / "model.keras")
    kernels = {variable.path: variable.numpy() for variable in smaller.weights if len(variable.shape) > 1}
    return notes | {"taught": lesson.taught, "loss_by_epoch": losses, "sparsity": round(sparsity(kernels), 4)}


def prune(model, lesson: Lessons, shapes: dict, share: float, blocks: bool, seed: int) -> tuple:
    """The smaller model with the weights that stay, and notes. ``shapes``: of one sample by input."""
    graph = find_graph(model, shapes)
    channels = find_channels(graph)
    costs = find_costs(channels)
    _require_something(model, channels, blocks, graph)
    measured = min(_MEASURED, len(lesson))
    say(f"measuring the importance of {int(channels.free.sum())} groups of channels on {measured} samples")
    found = importance.fisher(model, channels, lesson, measured, seed)
    prices = _block_prices(model, channels, lesson, find_blocks(graph)) if blocks else {}
    choice = choose(channels, costs, found, prices, share)
    smaller = cut(model, channels, choice.kept, choice.without)
    notes = {
        "importance": f"Fisher information (activation x gradient, squared) on {measured} samples, by multiply-accumulate saved",
        **evidence(model, smaller, channels, choice),
        "blocks_removed": [block.name for block in choice.without],
    }
    return smaller, notes


def _require_something(model, channels: Channels, blocks: bool, graph) -> None:
    """Raise `RefusedError` in words when nothing may be removed."""
    if blocks and not find_blocks(graph):
        raise RefusedError(
            f"{model.name} has no residual block: no Add of some x and a branch computed from that x alone; use pruned_channels50"
        )
    if not channels.free.any():
        raise RefusedError(f"{model.name} has no channel that may be removed: {'; '.join(channels.reasons[:3])}")


def _block_prices(model, channels: Channels, lesson: Lessons, blocks: list[Block]) -> dict[Block, float]:
    """The measured growth of the loss when each block alone is left out."""
    measured = min(_MEASURED_BLOCKS, len(lesson))
    whole, everything = importance.loss_of(model, lesson, measured), np.ones(channels.count, bool)
    prices = {}
    for index, block in enumerate(blocks, 1):
        prices[block] = importance.loss_of(cut(model, channels, everything, [block]), lesson, measured) - whole
        say(f"block {index} of {len(blocks)}, {block.name}: the loss grows by {prices[block]:.3g} without it")
    # Less than rounding makes of nothing is nothing: importance of channels, a square, is exact there.
    least = np.finfo(np.float32).eps * max(map(abs, prices.values()), default=0.0)
    return {block: price if abs(price) > least else 0.0 for block, price in prices.items()}


def _keep(model, notes: dict, folder: Path) -> None:
    """What was measured and cut, for a training that is killed; the notes come last and say that it is whole."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        model.save(folder / "model.keras")
    except OSError as error:
        raise output_error(folder, error) from None
    write_text(folder / "notes.json", json.dumps(notes))
