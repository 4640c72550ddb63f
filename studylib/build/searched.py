"""The search for an adaptive recipe as an artifact: the ranking of layers, every step, the assignment, the file it makes."""

import json
import math
import time
from dataclasses import replace
from pathlib import Path

from studylib.adaptive import FORMATS, Assignment, Budget, Calibrated, SearchTask, search, sensitivity
from studylib.artifacts.disk import copied
from studylib.artifacts.store import Artifact, Store
from studylib.build.jobs import Target
from studylib.build.sources import Sources, answer
from studylib.errors import RefusedError
from studylib.formats import quantized
from studylib.models.zoo import Samples
from studylib.progress import duration
from studylib.training.job import say

# Held-back samples beyond this change no decision; large models look at fewer, as their time limit allows.
_MOST_HELD_BACK = 512
_FEWEST_HELD_BACK = 16
# Ranking looks at so many of them.
_RANKED_ON = 32


def searched(artifact: Artifact, target: Target, sources: Sources, store: Store, given: dict) -> Artifact:
    """Search from the fp32 ``artifact`` as ``target`` says, or apply the assignment that the user gave, which lies where ``given`` says.

    Writes a folder with ``assignment.json`` (the recipe: save it, read it, apply it to the next version of the model),
    ``search.json`` (ranking and steps) and the file. Raises `RefusedError` for a model without layers to quantize.
    """
    options = target.search
    facts = {"format": "search", "precision": target.recipe, "model": artifact.model, "lineage": artifact.lineage}

    def write(folder: Path) -> Path:
        _require_float(artifact)
        content = folder / "search"
        content.mkdir()
        calibration = Samples.load(sources.samples("train", target.calibration, store).path)
        if options.get("assignment"):
            assignment = Assignment.load(Path(given[options["assignment"]]))
            found, record = replace(assignment, facts=_GIVEN), {"sensitivity": [], "steps": []}
            found.check(artifact.format, FORMATS[artifact.format].layers(artifact.path))
            model = _calibrated(artifact, calibration, folder) if found.is_quantized else None
        else:
            training = Samples.load(sources.samples("train", target.training, store).path)
            calibration, held_back = apart(training, calibration)
            model, reference = _calibrated(artifact, calibration, folder), answer(sources.source(store), held_back, sources.model.trust)
            kind = sources.model.task
            task = SearchTask(artifact.path, artifact.format, calibration, held_back, reference, kind, folder, model=model)
            # Answers of random weights mean nothing: only fidelity to them does.
            random = sources.model.weights == "random"
            budget = Budget(None, options["min_sqnr_db"]) if random else Budget(options["max_accuracy_loss"], None)
            found, record = _found(task, budget, target, store.unfinished(target.key))
        _write(found, artifact, model, content)
        record |= {"model": artifact.model, "format": artifact.format, "digest": found.digest, "layers": found.layers, "facts": found.facts}
        (content / "search.json").write_text(json.dumps(plain(record)), encoding="utf-8")
        return content

    return store.make(target.key, facts, write)


_GIVEN = {"budget_words": "none", "within_budget": None, "why": "given by the user, not searched", "stopped_by": "given"}


def _require_float(artifact: Artifact) -> None:
    """Raise `RefusedError` for a file that somebody quantized before."""
    if artifact.format == "onnx":
        quantized.require_float_onnx(artifact.path)
    elif artifact.format == "tflite":
        quantized.require_float_litert(artifact.path.read_bytes(), artifact.path.name)


def _calibrated(artifact: Artifact, calibration: Samples, scratch: Path) -> Calibrated:
    """The ranges of all activations, found once for the ranking, the search and the file."""
    say(f"calibrating with {len(calibration)} samples")
    folder = scratch / "calibrated"
    folder.mkdir()
    return FORMATS[artifact.format].calibrated(artifact.path, calibration, folder)


def _found(task: SearchTask, budget: Budget, target: Target, unfinished: Path):
    """The assignment that a search found, and what is kept of it: the ranking of layers, on how many samples, and every step."""
    unfinished.mkdir(parents=True, exist_ok=True)
    say("ranking layers by sensitivity")
    seconds = target.search["seconds"]
    record = _ranked(task, seconds)
    told = replace(task, on_step=lambda step: say(f"{step['what']}"))
    found = search(told, budget, seconds, target.search["threads"], unfinished / "steps.jsonl", target.seed)
    return found.assignment, record | {"steps": found.steps}


def _ranked(task: SearchTask, seconds: float) -> dict:
    """The sensitivity of every layer, most sensitive first; of the first layers only, and said so, where all would take too long."""
    few, rows, times, begun = min(_RANKED_ON, len(task.held_back)), [], [], time.monotonic()

    def on_step(row: dict) -> None:
        rows.append({name: value for name, value in row.items() if name not in ("done", "layers")})
        times.append(time.monotonic())
        say(f"layer {row['done']} of {row['layers']}")
        if times[-1] - begun > seconds and row["done"] < row["layers"]:
            raise _TooLongError(row["layers"], (times[-1] - begun) / len(times))

    first = {name: values[:few] for name, values in task.reference.items()}
    found = {"ranked_on": few, "ranking": ""}
    try:
        ranked = sensitivity(replace(task, held_back=task.held_back.taken(range(few)), reference=first, on_step=on_step))
    except _TooLongError as error:
        layers, each = error.args
        found["ranking"] = f"the first {len(rows)} of {layers} layers, for lack of time: {duration(each)} each; EFFORT=full ranks more"
        ranked = sorted(rows, key=lambda row: row["alone_quantized"]["sqnr_db"])
    return found | {"sensitivity": ranked}


class _TooLongError(Exception):
    """Ranking every layer would take too long: how many there are, and the seconds that each takes."""


def _write(found: Assignment, artifact: Artifact, model: Calibrated | None, folder: Path) -> None:
    path = folder / f"model.{artifact.format}"
    if found.is_quantized:
        FORMATS[artifact.format].apply(model, found.layers, path)
    else:
        # Nothing is quantized, and what quantizers do to a graph beforehand would pass for a gain.
        copied(artifact.path, path)
    found.save(folder / "assignment.json")


def apart(samples: Samples, calibration: Samples) -> tuple[Samples, Samples]:
    """Samples that calibrate, and others that judge: those that calibration has not seen, or where they are too few, half of all.

    Raises `RefusedError` where that leaves none to judge by.
    """
    seen = {calibration.content(index) for index in range(len(calibration))}
    fresh = [index for index in range(len(samples)) if samples.content(index) not in seen][:_MOST_HELD_BACK]
    if len(fresh) >= _FEWEST_HELD_BACK:
        return calibration, samples.taken(fresh)
    different = list({samples.content(index): index for index in range(len(samples))}.values())
    half = len(different) // 2
    if not half:
        raise RefusedError(
            f"the training samples hold {len(different)} that differ, and a search needs some to calibrate and others to judge by; "
            "give more data, or leave out adaptive recipes"
        )
    return samples.taken(different[:half]), samples.taken(different[half:][:_MOST_HELD_BACK])


def plain(value):
    """JSON without infinities, which it does not have: they become text that `float` reads."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
