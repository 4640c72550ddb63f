"""Ways of doing the same work take turns in one process, in another order each round; a way that ends the process costs itself alone."""

import importlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from studylib.build.executor import OnLine
from studylib.cases.base import Case
from studylib.errors import StudyError, TrialError, said
from studylib.executors.child import end, environment, failure, follow, too_long
from studylib.machine import memory_limit
from studylib.results.case_results import Way

# A way that says nothing for so long in one round hangs.
_SILENT_S, _LONGEST_S = 300.0, 3600.0
_MARK = "case: "


def take(case: Case, ways: list[Way], told: dict, rounds: int, write: Callable[[str], None]) -> list[Way]:
    """``ways`` with their numbers, measured in turn over ``rounds``; a way that fails says why. ``told``: as in `Case.opened`.

    ``told`` holds ``threads``, ``seed`` and ``memory_bytes`` too (None for no limit).
    """
    reasons: dict[str, str] = {}
    while True:
        left = [way for way in ways if way.name not in reasons]
        taken, doing, reason = _in_one_process(case, left, told, rounds, write) if left else ({}, "", "")
        reasons |= {name: one["reason"] for name, one in taken.items() if "reason" in one}
        if not reason:
            return [_measured(way, taken.get(way.name, {}), reasons.get(way.name, "")) for way in ways]
        if not doing:
            return [replace(way, reason=reasons.get(way.name, reason)) for way in ways]
        write(f"case {case.name}: {doing}: {reason}; the others are measured again without it")
        reasons[doing] = reason


def _measured(way: Way, took: dict, reason: str) -> Way:
    if reason:
        return replace(way, reason=reason)
    stages = {name: tuple(values) for name, values in took["stages_ns"].items()}
    rounds = tuple(tuple(values) for values in took["rounds"])
    return replace(way, rounds=rounds, wall_ns=tuple(took["wall_ns"]), stages_ns=stages, answers=took["answers"])


def _in_one_process(case: Case, ways: list[Way], told: dict, rounds: int, write) -> tuple[dict[str, dict], str, str]:
    """What each way took, by name; and where the process ended before its time, which way it was at, and why."""
    taken: dict[str, dict] = {}
    doing = ""

    def heard(line: str) -> float:
        nonlocal doing
        if line.startswith(_MARK):
            facts = json.loads(line.removeprefix(_MARK))
            if "took" in facts:
                taken[facts["took"]] = facts["of"]
            else:
                doing = facts["doing"]
                write(f"case {case.name}: {facts['words']}")
        return _SILENT_S

    with tempfile.TemporaryDirectory(prefix="studylib-") as folder, _group(told.get("memory_bytes")) as group:
        kind = type(case)
        given = {
            "case": f"{kind.__module__}:{kind.__qualname__}",
            "ways": [asdict(way) for way in ways],
            "told": told,
            "rounds": rounds,
            "group": str(group or ""),
        }
        (Path(folder) / "given.json").write_text(json.dumps(given), encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, "-m", "studylib.cases", str(Path(folder) / "given.json")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(told["threads"]),
            cwd=folder,
            start_new_session=True,
        )
        try:
            tail = _followed(process, heard)
        except TrialError as error:
            return taken, doing, str(error)
        finally:
            end(process)
        return taken, doing, "" if process.returncode == 0 else str(failure(process.returncode, tail))


def _followed(process: subprocess.Popen, heard: OnLine):
    try:
        return follow(process, _LONGEST_S, heard)
    except subprocess.TimeoutExpired as error:
        raise too_long(error.timeout) from None


def _group(limit_bytes: int | None):
    return memory_limit.group(limit_bytes) if limit_bytes else nullcontext()


def answer(path: Path) -> None:
    """In the process that measures: open every way, and let them take turns. A way that refuses says why, and the others go on."""
    given = json.loads(path.read_text(encoding="utf-8"))
    module, _, name = given["case"].partition(":")
    case, told, names = getattr(importlib.import_module(module), name)(), given["told"], [way["name"] for way in given["ways"]]
    if given["group"]:
        memory_limit.enter(given["group"])
    opened, taken = {}, {name: {"rounds": [], "wall_ns": [], "stages_ns": {}, "answers": []} for name in names}

    def said_of(name: str, words: str) -> None:
        print(_MARK + json.dumps({"doing": name, "words": words}), flush=True)

    def attempt(name: str, work: Callable):
        try:
            return work()
        except StudyError as error:
            taken[name] = {"reason": str(error)}
        except (MemoryError, OSError, ValueError, RuntimeError) as error:
            taken[name] = {"reason": said(error, "it failed")}
        opened.pop(name, None)
        return None

    for way in given["ways"]:
        said_of(way["name"], f"opening {way['name']}")
        found = attempt(way["name"], lambda way=way: case.opened(way["setup"], told))
        if found:
            opened[way["name"]] = found
            attempt(way["name"], lambda found=found: found(-1))  # warms up
    order = np.random.default_rng(told["seed"])
    for number in range(given["rounds"]):
        for name in order.permutation(list(opened)):
            said_of(name, f"round {number + 1} of {given['rounds']}, {name}")
            took = attempt(name, lambda name=name, number=number: opened[name](number))
            if took:
                one = taken[name]
                one["rounds"].append(took.values_ns)
                one["wall_ns"].append(took.wall_ns)
                for stage, values in took.stages_ns.items():
                    one["stages_ns"].setdefault(stage, []).append(int(np.median(values)))
                one["answers"] += took.answers
    for name, one in taken.items():
        print(_MARK + json.dumps({"took": name, "of": one}), flush=True)
