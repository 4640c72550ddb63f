"""Queries in short blocks, one whenever somebody asks for it: so processes take turns, and all see the machine at the same moments.

This is the side of the process that is asked; `studylib.measure.cohorts` asks.
"""

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from studylib.models.zoo import Samples
from studylib.runtimes import Session
from studylib.scenarios.base import Driven, Facts, Load, RunLength, ring
from studylib.scenarios.loop import issue_queries

# How long a block lasts, or one query where that takes longer. The speed of a shared machine wanders within a tenth of a second.
BLOCK_S = 0.005
# What is said to a process, and the name of what it answers.
ASK, END = "block", "end"
SAID = "values, median_ns"


@dataclass(frozen=True)
class Block:
    """``round``: its number. ``began_ns``: when, by `time.perf_counter_ns`, which all processes share. ``n``: how many values it gave."""

    round: int
    began_ns: int
    n: int


def drive(session: Session, samples: Samples, load: Load, asked: Iterable[str]) -> tuple[Driven, list[Block]]:
    """Run one block for each line of ``asked`` that says so, and print what it was. The first query of each is not timed.

    Caches have been filled by whoever ran before: that query fills them again.
    """
    size = load.batch_size
    batches = [samples.batch(start * size, size) for start in range(ring(samples, size))]
    length = RunLength(1, BLOCK_S, load.length.max_duration_s)
    values, blocks, count = [], [], 0
    _say(0, 0)
    for number in _rounds(asked):
        turned = batches[count % len(batches) :] + batches[: count % len(batches)]
        began_ns = time.perf_counter_ns()
        session.run(turned[-1])
        found = issue_queries(session, turned, length)
        values.append(found)
        blocks.append(Block(number, began_ns, len(found)))
        count += len(found)
        _say(count, int(np.median(found)))
    every = np.concatenate(values) if values else np.zeros(0, np.int64)
    per_second = 1e9 * size * len(every) / float(every.sum()) if len(every) else None
    return Driven(every, Facts("loop", size, completed_samples_per_s=per_second)), blocks


def _rounds(asked: Iterable[str]) -> Iterator[int]:
    """The numbers of the rounds that are asked for, until it ends."""
    for line in asked:
        word, _, number = line.strip().partition(" ")
        if word == END:
            return
        yield int(number)


def _say(values: int, median_ns: int) -> None:
    """How many values there are by now, and the median of the last block's."""
    print(json.dumps({SAID: [values, median_ns]}), flush=True)
