"""The exceptions of the study. Each message says what was wrong, what is allowed and what to do."""

import difflib
from collections.abc import Iterable


class StudyError(Exception):
    """Base of every error that the study raises on purpose. The command line ends with ``exit_status``."""

    exit_status = 1


class InputError(StudyError):
    """What the user gave cannot be used: a parameter, a name, a file, a folder."""

    exit_status = 2


class ParameterError(InputError):
    """A hardware set or a command line option holds a key or value that is not allowed."""


class UnknownNameError(InputError):
    """A name that is in no table."""

    def __init__(self, kind: str, name: str, known: Iterable[str]):
        self.kind, self.name, self.known = kind, name, sorted(known)
        message = f"Unknown {kind} '{str(name)[:80]}'. Known: {', '.join(self.known)}."
        super().__init__(message + suggestion(name, self.known))


class NotOnThisHostError(InputError):
    """``STRICT=1`` was given and this machine is not the one the hardware set describes."""


class OutputError(InputError):
    """The results cannot be written: the folder is read-only, is a file, or the disk is full."""


class ArtifactError(StudyError):
    """An artifact cannot be made or read."""


class RefusedError(ArtifactError):
    """A recipe or runtime declines an artifact; the message is the reason its row shows."""


class TrialError(StudyError):
    """A trial's process crashed, hung or ran out of memory."""


def suggestion(name: str, known: Iterable[str]) -> str:
    """`` Did you mean 'x'?`` for the nearest known name, or nothing when none is near."""
    near = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.5)
    return f" Did you mean '{near[0]}'?" if near else ""


def lookup(table: dict, kind: str, name: str):
    """``table[name]``, or an `UnknownNameError` that names what is known and the nearest name."""
    try:
        return table[name]
    except (KeyError, TypeError):
        raise UnknownNameError(kind, name, table) from None
