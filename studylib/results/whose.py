"""Whose results a folder holds: the hardware set that they were measured for is stored with them, and a folder can be copied."""

import json
from pathlib import Path

# The folder of an optimisation path, inside the folder of its study.
_PATH = "path"


def named(folder: Path, hardware: str) -> str:
    """The hardware set that results belong to, and where they lie if that is the folder of another."""
    place = folder.parent if folder.name == _PATH else folder
    return hardware if place.name == hardware else f"{hardware}, stored as {place.name}"


def remark(folder: Path, hardware: str) -> str:
    """A sentence where results lie in the folder of another hardware set; otherwise empty."""
    told = named(folder, hardware)
    return "" if told == hardware else f"These are results of HW={told}."


def first(folder: Path) -> str:
    """What to do to have results in ``folder`` at all."""
    return f"Run `make path HW={folder.parent.name}` first." if folder.name == _PATH else f"Run `make study HW={folder.name}` first."


def again(folder: Path) -> str:
    """What to do to have the results in ``folder`` written again."""
    place, verb = (folder.parent, "path") if folder.name == _PATH else (folder, "study")
    hardware = _stored(folder)
    if hardware in (None, place.name):
        return f"Run `make {verb} HW={place.name}` again."
    return f"It holds results of HW={hardware}: copy them again from where `make {verb} HW={hardware}` wrote them."


def _stored(folder: Path) -> str | None:
    """The name of the hardware set in ``run.json``, as far as that can be read."""
    try:
        found = json.loads((folder / "run.json").read_text(encoding="utf-8"))["hardware"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return found if isinstance(found, str) else None
