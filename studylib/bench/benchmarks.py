"""The benchmarks of ``make bench`` by name: each prints what it measured, and whether that holds."""

from collections.abc import Callable
from dataclasses import dataclass

from studylib.bench import (
    blocks_or_alone,
    compression_cost,
    conversion_cost,
    drivers,
    entry_points,
    halving_cost,
    overhead,
    peers,
    recording_cost,
    serving_cost,
    serving_stress,
    verdict_rates,
    winner_rates,
)


@dataclass(frozen=True)
class Wishes:
    """What the user asked for. ``rounds``: of the overhead and of recording; ``models`` (None: all): of the long ones; ``effort``: of
    these and of the verdicts; ``seconds``: of stress.
    """

    rounds: int
    models: tuple[str, ...] | None
    effort: str
    seconds: float = serving_stress.SECONDS


BENCHMARKS: dict[str, Callable[[Wishes], object]] = {
    "overhead": lambda wishes: overhead.run(rounds=wishes.rounds),
    "recording": lambda wishes: recording_cost.run(rounds=wishes.rounds),
    "drivers": lambda wishes: drivers.run(),
    "entry_points": lambda wishes: entry_points.run(),
    "blocks": lambda wishes: blocks_or_alone.run(wishes.models),
    "verdicts": lambda wishes: verdict_rates.run(wishes.effort),
    "winners": lambda wishes: winner_rates.run(wishes.models or winner_rates.MODELS, wishes.effort),
    "peers": lambda wishes: peers.run(wishes.models or peers.MODELS, wishes.effort),
    "serving": lambda wishes: serving_cost.run(wishes.rounds),
    "stress": lambda wishes: serving_stress.run(wishes.seconds),
    "conversion": lambda wishes: conversion_cost.run_on_zoo(),
    "compression": lambda wishes: compression_cost.run(wishes.models or compression_cost.MODELS, wishes.effort),
    "search": lambda wishes: halving_cost.run(wishes.models or halving_cost.MODELS, wishes.effort),
}
# The others take an hour each.
USUAL = ("overhead", "recording", "drivers", "entry_points", "blocks", "verdicts", "conversion")
