"""A photograph's way through the service, stage by stage and timed: decode, resize, normalise, infer, name."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from studylib.cases.base import Took
from studylib.cases.image import album
from studylib.cases.image.pictures import best, decode, squared
from studylib.models.zoo import MODELS
from studylib.runtimes import RUNTIMES, Options

STAGES = ("decode", "resize", "normalise", "infer", "name")
# A picture whose queue is not full yet is decoded while others are asked.
_AHEAD = 4


class Pipeline:
    """``setup``: ``artifact``, ``runtime``, ``settings``, ``threads``; ``small``: as in `decode`; ``batch``: how many are asked together;
    ``ahead``: whether the next pictures are decoded while one is computed.

    ``told``: ``paths`` of artifacts, ``pictures`` (a file of `album.save`), ``model``, its ``input``, and ``parts``: into how many parts
    the pictures are divided, of which each round takes one.
    """

    def __init__(self, setup: dict, told: dict):
        self._files, self._parts = album.load(told["pictures"]), told["parts"]
        self._model, self._input = MODELS[told["model"]], told["input"]
        runtime = RUNTIMES[setup["runtime"]]
        self._session = runtime.load(Path(told["paths"][setup["artifact"]]), Options("cpu", setup["threads"], setup["settings"]))
        self._small, self._batch, self._ahead = setup["small"], setup["batch"], setup["ahead"]

    def __call__(self, number: int) -> Took:
        """Every picture of a round; of round -1 the first few."""
        places = range(len(self._files))[: 2 * self._batch] if number < 0 else range(number % self._parts, len(self._files), self._parts)
        stages: dict[str, list[int]] = {name: [] for name in STAGES}
        begun = time.perf_counter_ns()
        values, answers = [], []
        for group in self._groups(places):
            began = [one[1] for one in group]
            taken, scores = self._asked(np.stack([one[2] for one in group]))
            before = time.perf_counter_ns()
            answers += [[place, best(one)] for (place, *_), one in zip(group, scores, strict=True)]
            ended = time.perf_counter_ns()
            values += [ended - one for one in began]
            for name, ns in (taken | {"name": ended - before}).items():
                stages[name] += [round(ns / len(group))] * len(group)
            for *_, read in group:
                for name, ns in read.items():
                    stages[name].append(ns)
        return Took(values, time.perf_counter_ns() - begun, stages, answers)

    def _groups(self, places: range) -> Iterator[list]:
        """Pictures read, as many together as are asked together."""
        group = []
        for one in self._read_ahead(places) if self._ahead else map(self._read, places):
            group.append(one)
            if len(group) == self._batch:
                yield group
                group = []
        if group:
            yield group

    def _read_ahead(self, places: range) -> Iterator[tuple]:
        with ThreadPoolExecutor(1, thread_name_prefix="decode") as pool:
            waiting = []
            for place in places:
                waiting.append(pool.submit(self._read, place))
                if len(waiting) > _AHEAD:
                    yield waiting.pop(0).result()
            for one in waiting:
                yield one.result()

    def _read(self, place: int) -> tuple[int, int, np.ndarray, dict[str, int]]:
        """(which, when it began, its pixels, ns by stage)"""
        began = time.perf_counter_ns()
        image = decode(self._files[place], self._small)
        decoded = time.perf_counter_ns()
        pixels = squared(image)
        return place, began, pixels, {"decode": decoded - began, "resize": time.perf_counter_ns() - decoded}

    def _asked(self, pixels: np.ndarray) -> tuple[dict[str, int], np.ndarray]:
        """ns by stage, and the scores, shape (pictures, classes)."""
        began = time.perf_counter_ns()
        query = {self._input: self._model.preprocess(pixels)}
        ready = time.perf_counter_ns()
        scores = next(iter(self._session.run(query).values()))
        return {"normalise": ready - began, "infer": time.perf_counter_ns() - ready}, scores


def opened(setup: dict, told: dict) -> Callable[[int], Took]:
    """One way, ready."""
    return Pipeline(setup, told)
