"""The search for the fastest assignment of precisions to layers that keeps within a budget."""

import hashlib
import json
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from studylib.adaptive.assignment import Assignment
from studylib.adaptive.budget import Budget, Judge, check_apart, limit
from studylib.adaptive.candidates import Candidates
from studylib.adaptive.course import Course
from studylib.adaptive.formats import surgeon_of
from studylib.adaptive.task import SearchTask
from studylib.adaptive.trace import Trace
from studylib.artifacts.store import package_version
from studylib.machine.hardware import probe


@dataclass(frozen=True)
class SearchResult:
    """``assignment``; whether it is ``within_budget`` and ``faster`` than fp32; ``why``, in words; all ``steps`` as plain JSON.

    A step has ``what``, ``digest`` and ``quantized`` (number of layers), ``sqnr_db``, ``loss``, ``seconds`` and, where it
    was timed, ``ratio`` (fp32's latency by its own) with ``ratio_low``, ``ratio_high`` and ``rounds``.
    ``stopped_by``: time limit, nothing to gain, no better one found, nothing meets the budget.
    """

    assignment: Assignment
    within_budget: bool
    faster: bool
    why: str
    steps: list[dict]
    stopped_by: str


def search(task: SearchTask, budget: Budget, time_limit_s: float, threads: int, trace: Path, seed: int) -> SearchResult:
    """Search for about ``time_limit_s`` seconds of steps, an interrupted search's included, and say what was found.

    ``trace``: a file of JSON lines to which every step is added at once; a search with the same inputs and options goes on from there.
    The uniform assignments are always candidates.
    Raises `RefusedError` for a model without layers to quantize, and samples that are empty or calibrate as well.
    """
    surgeon, judge = surgeon_of(task.format), Judge(task.held_back, task.reference, task.kind, seed)
    allowed = limit(budget, task.held_back.labels, task.kind)
    check_apart(task.calibration, task.held_back)
    options = {"format": task.format, "task": task.kind, "budget": asdict(budget), "threads": threads, "seed": seed}
    header = options | {"inputs": _hash(task)}
    header |= {"packages": {name: package_version(name) for name in surgeon.packages}}
    with tempfile.TemporaryDirectory(dir=task.scratch, prefix="search-") as folder:
        begun = time.perf_counter()
        model = task.model or surgeon.calibrated(task.path, task.calibration, Path(folder))
        candidates = Candidates(surgeon, model, judge, allowed, Trace(trace, header), threads, seed, Path(folder), task.on_step)
        candidates.spent_s = time.perf_counter() - begun
        course = Course(candidates, time_limit_s)
        ended = course.run()
    facts = _plain(asdict(ended)) | {"reached": _plain(asdict(ended.judgement)), "budget": _plain(asdict(budget))}
    facts = {name: value for name, value in facts.items() if name not in ("layers", "judgement")}
    facts |= {"budget_words": allowed.words(ended.judgement.answers), "steps": len(candidates.trace.steps), "seconds": candidates.spent_s}
    facts |= {"held_back": len(course.candidates.judge.samples), "calibration": len(task.calibration), "threads": threads, "seed": seed}
    facts |= {"host": probe().describe(), "packages": header["packages"]}
    found = Assignment(task.format, ended.layers, facts)
    return SearchResult(found, ended.within_budget, ended.faster, ended.why, candidates.trace.steps, ended.stopped_by)


def _hash(task: SearchTask) -> str:
    found, path, held_back = hashlib.sha256(), task.path, task.held_back
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        found.update(file.read_bytes() if file.is_file() else b"")
    labels = {} if held_back.labels is None else {"labels": held_back.labels}
    for table in (task.calibration.inputs, held_back.inputs, labels, task.reference):
        for name, values in table.items():
            found.update(json.dumps([name, str(values.dtype), list(values.shape)]).encode())
            found.update(np.ascontiguousarray(values).tobytes())
    return found.hexdigest()


def _plain(values: dict) -> dict:
    """JSON has no infinity."""
    return {name: str(value) if isinstance(value, float) and not np.isfinite(value) else value for name, value in values.items()}
