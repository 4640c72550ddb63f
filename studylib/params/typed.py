"""How the options of a study are typed: after ``make study`` as ``VARIABLE=…``, after ``python -m studylib study`` as ``--variable …``.

A field of `studylib.params.study_options.Choice` is an option when it is annotated with `Typed`. Command line, `make help`, notebooks,
``run.json`` and the command that runs a study again all derive from that.
"""

import os
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from studylib.errors import InputError

STUDY = ("study", "plan")
PATH = ("study", "plan", "path")
_YES, _NO = ("1", "yes", "true", "on"), ("0", "no", "false", "off")
NONE = "none"


def words(text: str, variable: str) -> str:
    """A word as it was typed."""
    return text


def names(text: str, variable: str) -> tuple[str, ...] | None:
    """Names with commas between them; ``none`` is an empty list."""
    return () if text.strip() == NONE else tuple(name.strip() for name in text.split(",") if name.strip()) or None


def whole_numbers(text: str, variable: str) -> tuple[int, ...]:
    """Whole numbers with commas between them."""
    return tuple(whole_number(part, variable) for part in text.split(","))


def whole_number(text: str, variable: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InputError(f"{variable} is '{text[:80]}'; it must be a whole number, or several separated by commas.") from None


def number(text: str, variable: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{variable} is '{text[:80]}'; it must be a number, 100 or 0.5 for example.") from None


def share(text: str, variable: str) -> float:
    """A number between 0 and 1."""
    what = "a share between 0 and 1, 0.01 for one point"
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise InputError(f"{variable} is '{text[:80]}'; it must be {what}.")
    return value


def yes_or_no(text: str, variable: str) -> bool:
    """Whether a word means yes; one that means neither yes nor no is refused with an `InputError`."""
    word = text.strip().lower()
    if word not in (*_YES, *_NO):
        raise InputError(f"{variable} is '{text[:80]}'; it must be yes ({', '.join(_YES)}) or no ({', '.join(_NO)}).")
    return word in _YES


def place(text: str, variable: str = "") -> str:
    """The path of a file or folder, from the root; ``~`` is the user's own folder. A link stays a link."""
    return str(Path(text if os.path.lexists(text) else Path(text).expanduser()).absolute())


def locations(text: str, variable: str) -> tuple[str, ...] | None:
    """Names, files and folders with commas between them; of a path that exists the commas may be its own."""
    return tuple(_separate(text)) or None


def _separate(text: str) -> Iterator[str]:
    """The names in a list with commas, where a path that exists may hold commas itself: of several readings the longest counts."""
    parts = text.split(",")
    while parts:
        for count in range(len(parts), 0, -1):
            whole = ",".join(parts[:count])
            name = whole if exists(whole) else whole.strip()
            if count == 1 or (name and exists(name)):
                break
        parts = parts[count:]
        if name:
            yield name


def exists(name: str) -> bool:
    """Whether there is a file or folder, or a link, of this name."""
    try:
        return os.path.lexists(place(name))
    except (ValueError, RuntimeError):  # a character that no path may hold; a user who has no folder
        return False


@dataclass(frozen=True)
class Typed:
    """How one option is typed. ``reads(text, variable)`` gives its value or raises `InputError`; ``shown`` stands for it in the help.

    ``verbs`` that take it. ``adds``: what is typed comes on top of what the hardware set has, instead of in its place.
    ``default``: what stands for it where nothing is typed and no hardware set says it.
    """

    variable: str
    help: str
    reads: Callable[[str, str], object] = words
    shown: str = ""
    verbs: tuple[str, ...] = PATH
    adds: bool = False
    default: str | None = None

    @property
    def flag(self) -> str:
        """``LATENCY_MS`` is ``--latency-ms``."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def name(self) -> str:
        """What argparse keeps it under: ``LATENCY_MS`` is ``latency_ms``."""
        return self.variable.lower()

    @property
    def is_switch(self) -> bool:
        return self.reads is yes_or_no

    def text(self, value: object) -> str:
        """``value`` as it is typed in a shell, ``RECIPE=fp32,fp16``."""
        plain = ",".join(map(str, value)) or NONE if isinstance(value, tuple) else str(int(value) if isinstance(value, bool) else value)
        return f"{self.variable}={shlex.quote(plain)}"
