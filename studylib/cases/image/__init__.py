"""A shop tags product photographs: which set-up answers in time, and what does a million photographs cost?"""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

from studylib.artifacts.software import digest, sources_hash
from studylib.cases.base import Case, Took, Wishes
from studylib.cases.image import album, pipeline
from studylib.cases.turns import take
from studylib.errors import RefusedError
from studylib.models.zoo import MODELS
from studylib.results import case_results
from studylib.results.case_results import CaseResult, Way
from studylib.results.records import Trial
from studylib.study.opening import fetch_downloads, open_study
from studylib.study.study import Study
from studylib.verdicts.cases import image as image_case

_MODEL = "efficientnet_lite0"
# What measures, beside the artifacts.
_DECIDE = ("cases", "runtimes", "models/own/pictures.py", "models/zoo/efficientnet_lite0.py")
_RUNTIMES = ("tensorflow", "litert", "onnxruntime", "openvino")
_RECIPES = ("fp32", "static_wi8_ai8")
_BATCH = 8
# Of so many photographs the page shows a small copy with what was answered.
_SHOWN = 12
# Rounds over all pictures; of 104 the second is enough for a p99 (662 values).
_ROUNDS = {"smoke": 7, "quick": 15, "full": 30}
# Each of the candidates sees each picture once, in so many parts, in turn; few pictures more than once.
_PARTS = 8


class Image(Case):
    """Source: the articles' image classifier (F1) and image recognition service (F2)."""

    name: ClassVar[str] = "image"
    question: ClassVar[str] = (
        "A shop must tag its product photographs. Which set-up answers within 50 ms at the 99th percentile here, "
        "and what does a million photographs cost?"
    )

    def opened(self, setup: dict, told: dict) -> Callable[[int], Took]:
        return pipeline.opened(setup, told)

    def run(self, wishes: Wishes, write: Callable[[str], None]) -> CaseResult:
        study = open_study(wishes.hardware, wishes.effort, write=write, **_CHOICE)
        folder = study.folder
        study = replace(study, folder=folder / "cases" / self.name / "study")
        fetch_downloads(study, write)
        names = MODELS[_MODEL].class_names()
        pictures = album.of_folder(wishes.data, names) if wishes.data else album.of_study()
        study.compress(matrix=False)
        candidates = _candidates(study)
        if not candidates:
            raise RefusedError(f"no runtime could be given {_MODEL}: {'; '.join(study.stock.failures().values())[:400]}")
        key = digest((sources_hash(_DECIDE), wishes.effort, study.host.id, album.digest_of(pictures), [way.setup for way in candidates]))
        before = case_results.read(folder, self.name)
        if before and before.facts.get("key") == key and not wishes.force:
            write(f"Nothing to measure: every number was taken by {before.measured_at}. FORCE=1 measures again.")
            return before
        result = _measured(self, study, pictures, candidates, write)
        result = replace(result, facts=result.facts | {"key": key, "names": _named(result.tried, names)})
        case_results.write(folder, result)
        return result


def _measured(case: Image, study: Study, pictures: album.Album, candidates: list[Way], write) -> CaseResult:
    """Let all candidates take turns, and then the steps that lead to the fastest which keeps the budget."""
    shown = range(0, len(pictures.files), max(1, len(pictures.files) // _SHOWN))[:_SHOWN]
    facts = {
        "files": [name for name, _ in pictures.files],
        "labels": pictures.labels,
        "source": pictures.source,
        "unusable": [list(one) for one in pictures.unusable],
        "shown": {str(place): album.thumbnail(pictures.files[place][1]) for place in shown},
        "threads": study.threads,
        "most_lost": study.params.choice.max_accuracy_loss,
    }
    with tempfile.TemporaryDirectory(prefix="studylib-") as folder:
        kept = Path(folder) / "pictures.npz"
        album.save(pictures, kept)
        told = {
            "pictures": str(kept),
            "paths": {way.setup["artifact"]: str(study.artifact(way.setup["artifact"]).path) for way in candidates},
            "model": _MODEL,
            "input": next(iter(MODELS[_MODEL].inputs)),
            "threads": study.threads,
            "seed": study.params.choice.seed,
            "memory_bytes": study.params.hardware.memory_bytes,
        }
        tried = take(case, candidates, told | {"parts": min(_PARTS, len(pictures.files))}, _PARTS, write)
        result = CaseResult(
            case=case.name,
            question=case.question,
            hardware=study.params.hardware.name,
            host=study.host.describe(),
            mismatches=tuple(study.mismatches),
            effort=study.params.effort,
            measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
            facts=facts,
            tried=tuple(tried),
        )
        steps = _story(tried, image_case.chosen(result))
        story = take(case, steps, told | {"parts": 1}, _ROUNDS[study.params.effort], write)
    return replace(result, story=tuple(story))


_CHOICE = {"models": (_MODEL,), "recipes": _RECIPES, "runtimes": _RUNTIMES, "batch_sizes": (1,), "sweeps": ()}


def _candidates(study: Study) -> list[Way]:
    """Every runtime with every precision that could be made, each as it is usually set, picture by picture."""
    usual = [trial for trial in study.made if trial.usual and not trial.control and not trial.sweep]
    return [Way(f"{trial.runtime} {trial.recipe}", "", _setup(trial)) for trial in usual]


def _setup(trial: Trial) -> dict:
    settings = dict(part.split("=", 1) for part in trial.options.split(",")) if trial.options else {}
    # All sessions are alive at once: idle threads that wait busily would take the processors from the others.
    settings |= {"spinning": "off"} if trial.runtime == "onnxruntime" else {}
    return {
        "artifact": trial.artifact_key,
        "runtime": trial.runtime,
        "recipe": trial.recipe,
        "settings": settings,
        "threads": trial.threads,
        "small": False,
        "batch": 1,
        "ahead": False,
    }


def _story(tried: list[Way], chosen: Way | None) -> list[Way]:
    """From the plainest way step by step, each with one thing more than the one before."""
    by_name = {way.name: way for way in tried}
    first = by_name.get("tensorflow fp32") or tried[0]
    steps = [replace(first, what="the plain way: the framework that trained it, whole pictures, one after another")]
    if chosen is None:
        return [_fresh(way) for way in steps]
    floats = by_name.get(f"{chosen.setup['runtime']} fp32")
    if floats and floats.name != first.name:
        steps.append(replace(floats, what=f"{floats.setup['runtime']} in place of {first.setup['runtime']}"))
    if chosen.name != steps[-1].name:
        steps.append(replace(chosen, what=f"{chosen.setup['recipe']} in place of fp32"))
    more = (
        ("small", {"small": True}, "JPEG files decoded at the smallest scale that is large enough"),
        ("ahead", {"ahead": True}, "the next pictures decoded while one is computed"),
        (f"batch {_BATCH}", {"batch": _BATCH}, f"{_BATCH} pictures computed together"),
    )
    for name, change, what in more:
        steps.append(Way(f"{steps[-1].name}, {name}", what, steps[-1].setup | change))
    return [_fresh(way) for way in steps]


def _fresh(way: Way) -> Way:
    """The same without numbers."""
    return Way(way.name, way.what, way.setup)


def _named(ways: tuple[Way, ...], names: list[str]) -> dict[str, str]:
    """The names of the classes that were answered or asked for, by number."""
    seen = {number for way in ways for _, answered in way.answers for number, _ in answered}
    return {str(number): names[number] for number in sorted(seen)}
