"""The search for an adaptive recipe as an artifact: the ranking of layers, every step, the assignment, the file it makes."""

import json
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from studylib.adaptive import FORMATS, Assignment, Budget, search, sensitivity
from studylib.artifact import Artifact, Store
from studylib.errors import RefusedError
from studylib.sources import Sources, answer
from studylib.training.job import say
from studylib.zoo import Samples

# Held-back samples beyond this change no decision; large models look at fewer, as their time limit allows.
_MOST_HELD_BACK = 512
# Ranking all layers may take this share of the search's time limit.
_RANKING = 1.0
_RANKED_ON = 32


def searched(artifact: Artifact, target: dict, sources: Sources, store: Store) -> Artifact:
    """Search from the fp32 ``artifact`` as ``target`` says, or apply the assignment that the user gave.

    Writes a folder with ``assignment.json`` (the recipe: save it, read it, apply it to the next version of the model),
    ``search.json`` (ranking and steps) and the file. Raises `RefusedError` for a model without layers to quantize.
    """
    options = target["search"]
    calibration = Samples.load(sources.samples("train", target["calibration"], store).path)
    facts = {"format": "search", "precision": target["recipe"], "model": artifact.model, "lineage": artifact.lineage}

    def write(folder: Path) -> Path:
        content = folder / "search"
        content.mkdir()
        if options.get("assignment"):
            given = Assignment.load(Path(options["assignment"]))
            found, ranking, steps = replace(given, facts=given.facts | _GIVEN), [], []
        else:
            held_back = apart(Samples.load(sources.samples("train", target["training"], store).path), calibration)
            found, ranking, steps = _found(artifact, target, sources, store, calibration, held_back, folder)
        _write(found, artifact, calibration, content, folder)
        record = {"model": artifact.model, "format": artifact.format, "digest": found.digest, "layers": found.layers}
        record |= {"facts": found.facts, "sensitivity": ranking, "steps": steps}
        (content / "search.json").write_text(json.dumps(plain(record)), encoding="utf-8")
        return content

    return store.make(target["key"], facts, write)


_GIVEN = {"budget_words": "none: the assignment was given", "within_budget": True, "why": "given by the user", "stopped_by": "given"}


def _found(artifact: Artifact, target: dict, sources: Sources, store: Store, calibration: Samples, held_back: Samples, scratch: Path):
    """(assignment, ranking, steps) of a search."""
    model, options = sources.model, target["search"]
    reference = answer(sources.source(store), held_back, model.trust)
    random = model.weights == "random"
    # Answers of random weights mean nothing: only fidelity to them does.
    budget = Budget(None, options["min_sqnr_db"]) if random else Budget(options["max_accuracy_loss"], None)
    seconds, unfinished = options["seconds"], store.unfinished(target["key"])
    unfinished.mkdir(parents=True, exist_ok=True)
    say("ranking layers by sensitivity")
    ranking = _ranked(artifact, calibration, held_back, reference, model.task, scratch, _RANKING * seconds)
    found = search(
        artifact.path, artifact.format, calibration, held_back, reference, model.task, budget, seconds, options["threads"],
        unfinished / "steps.jsonl", target["seed"], scratch, lambda step: say(f"{step['what']}"),
    )  # fmt: skip
    return found.assignment, ranking, found.steps


def _ranked(
    artifact: Artifact, calibration: Samples, held_back: Samples, reference: dict, task: str, scratch: Path, seconds: float
) -> list:
    """The sensitivity of every layer; none where that would take longer than ``seconds``."""
    few = min(_RANKED_ON, len(held_back))
    begun = time.monotonic()

    def on_step(row: dict) -> None:
        say(f"layer {row['done']} of {row['layers']}")
        if (time.monotonic() - begun) / row["done"] * row["layers"] > max(seconds, 10):
            raise _TooLong

    try:
        first = {name: values[:few] for name, values in reference.items()}
        return sensitivity(artifact.path, artifact.format, calibration, taken(held_back, range(few)), first, task, scratch, on_step)
    except _TooLong:
        return []


class _TooLong(Exception):
    """Ranking every layer would take too long."""


def _write(found: Assignment, artifact: Artifact, calibration: Samples, folder: Path, scratch: Path) -> None:
    surgeon = FORMATS[artifact.format]
    work = scratch / "calibration"
    work.mkdir()
    try:
        model = surgeon.calibrated(artifact.path, calibration, work)
        found.check(artifact.format, model.layers)
        surgeon.apply(model, found.layers, folder / f"model.{artifact.format}")
    finally:
        for file in work.iterdir():
            file.unlink()
        work.rmdir()
    found.save(folder / "assignment.json")


def apart(samples: Samples, calibration: Samples) -> Samples:
    """The samples that calibration has not seen. Raises `RefusedError` when none is left."""
    seen = {_bytes(calibration, index) for index in range(len(calibration))}
    fresh = [index for index in range(len(samples)) if _bytes(samples, index) not in seen][:_MOST_HELD_BACK]
    if not fresh:
        raise RefusedError(
            f"all {len(samples)} training samples calibrate, so none is held back to judge a search by; "
            "give more data, or leave out adaptive recipes"
        )
    return taken(samples, fresh)


def taken(samples: Samples, indices) -> Samples:
    """Some of the samples, by their positions."""
    chosen = np.fromiter(indices, int)
    labels = None if samples.labels is None else samples.labels[chosen]
    return Samples({name: values[chosen] for name, values in samples.inputs.items()}, labels, samples.batch_axes)


def _bytes(samples: Samples, index: int) -> bytes:
    return b"".join(np.ascontiguousarray(samples.inputs[name][index]).tobytes() for name in sorted(samples.inputs))


def plain(value):
    """JSON without infinities, which it does not have."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
