"""The search for the fastest assignment of precisions to layers that keeps within a budget."""

import hashlib
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from studylib.adaptive.assignment import Assignment
from studylib.adaptive.budget import Budget, Judge, check_apart, limit
from studylib.adaptive.candidates import Candidates
from studylib.adaptive.course import Course
from studylib.adaptive.formats import surgeon_of
from studylib.adaptive.layers import Calibrated
from studylib.adaptive.trace import Trace
from studylib.artifacts.store import package_version
from studylib.machine.hardware import probe
from studylib.models.zoo import Samples

_PACKAGES = {"onnx": ("onnxruntime",), "tflite": ("ai-edge-quantizer", "ai-edge-litert")}


@dataclass(frozen=True)
class Found:
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


def search(
    path: Path,
    format: str,
    calibration: Samples,
    held_back: Samples,
    reference: dict[str, np.ndarray],
    task: str,
    budget: Budget,
    time_limit_s: float,
    threads: int,
    trace: Path,
    seed: int,
    scratch: Path,
    on_step: Callable[[dict], None] | None = None,
    model: Calibrated | None = None,
) -> Found:
    """Search for about ``time_limit_s`` seconds of steps, an interrupted search's included, and say what was found.

    ``path``: the fp32 file. ``reference``: the source model's outputs on ``held_back``, arrays (n, …) as
    `studylib.build.sources.answer` gives them. ``trace``: a file of JSON lines to which every step is added at once; a search
    with the same inputs and options goes on from there. ``model``: what the format's surgeon made of ``path`` with the
    ``calibration`` samples, where that is done already; its seconds do not count here. The uniform assignments are always candidates.
    Raises `RefusedError` for a model without layers to quantize, and samples that are empty or calibrate as well.
    """
    surgeon, judge = surgeon_of(format), Judge(held_back, reference, task, seed)
    allowed = limit(budget, held_back.labels, task)
    check_apart(calibration, held_back)
    options = {"format": format, "task": task, "budget": asdict(budget), "threads": threads, "seed": seed}
    header = options | {"inputs": _hash(Path(path), calibration, held_back, reference)}
    header |= {"packages": {name: package_version(name) for name in _PACKAGES[format]}}
    with tempfile.TemporaryDirectory(dir=scratch, prefix="search-") as folder:
        begun = time.perf_counter()
        model = model or surgeon.calibrated(Path(path), calibration, Path(folder))
        candidates = Candidates(surgeon, model, judge, allowed, Trace(trace, header), threads, seed, Path(folder), on_step)
        candidates.spent_s = time.perf_counter() - begun
        course = Course(candidates, time_limit_s)
        ended = course.run()
    facts = _plain(asdict(ended)) | {"reached": _plain(asdict(ended.judgement)), "budget": _plain(asdict(budget))}
    facts = {name: value for name, value in facts.items() if name not in ("layers", "judgement")}
    facts |= {"budget_words": allowed.words(ended.judgement.answers), "steps": len(candidates.trace.steps), "seconds": candidates.spent_s}
    facts |= {"held_back": len(course.candidates.judge.samples), "calibration": len(calibration), "threads": threads, "seed": seed}
    facts |= {"host": probe().describe(), "packages": header["packages"]}
    found = Assignment(format, ended.layers, facts)
    return Found(found, ended.within_budget, ended.faster, ended.why, candidates.trace.steps, ended.stopped_by)


def _hash(path: Path, calibration: Samples, held_back: Samples, reference: dict[str, np.ndarray]) -> str:
    found = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        found.update(file.read_bytes() if file.is_file() else b"")
    labels = {} if held_back.labels is None else {"labels": held_back.labels}
    for table in (calibration.inputs, held_back.inputs, labels, reference):
        for name, values in table.items():
            found.update(json.dumps([name, str(values.dtype), list(values.shape)]).encode())
            found.update(np.ascontiguousarray(values).tobytes())
    return found.hexdigest()


def _plain(values: dict) -> dict:
    """JSON has no infinity."""
    return {name: str(value) if isinstance(value, float) and not np.isfinite(value) else value for name, value in values.items()}
