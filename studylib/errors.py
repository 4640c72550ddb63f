"""The exceptions of the study. Each message says what was wrong, what is allowed and what to do."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

DECIDES_NOTHING = "words"


class Kind(StrEnum):
    """The kinds of reasons why something carries no number. Code asks for the kind; the words are for people."""

    REFUSED = "refused"  # the plan, a recipe or a runtime declines
    ERROR = "error"  # a library or program failed
    CRASH = "crash"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out of memory"
    DEVICE = "device"  # the phone refused, or lost what was sent
    INTERRUPTED = "interrupted"  # a training that was killed goes on from its last epoch
    PARITY = "parity"
    BATCH = "batch"  # queries of several samples are answered otherwise than single ones
    FELL_BACK = "fell back"
    DISTURBED = "disturbed"
    PENDING = "pending"
    REHEARSAL = "rehearsal"
    UNFIT = "unfit"  # the machine was not fit to measure
    NOT_TIMED = "not timed"
    OVER_LIMIT = "over limit"


# Causes that are in no hash: what failed so may do better when the machine is less busy.
_PASSING = {Kind.CRASH, Kind.TIMEOUT, Kind.OUT_OF_MEMORY, Kind.DEVICE}


@dataclass(frozen=True)
class Reason:
    """Why something carries no number: its kind, the cause in words, and what to do, where anything can be done."""

    kind: Kind
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.text}; {self.remedy}" if self.remedy else self.text

    @property
    def may_pass(self) -> bool:
        """Whether the same may succeed when it is tried again."""
        return self.kind in _PASSING


class StudyError(Exception):
    """Base of every error that the study raises on purpose. The command line ends with ``exit_status``."""

    exit_status = 1
    kind = Kind.REFUSED


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
    """A trial's process failed, crashed, hung or ran out of memory, as its ``kind`` says."""

    def __init__(self, message: str, kind: Kind = Kind.ERROR):
        super().__init__(message)
        self.kind = kind


class CancelledError(StudyError):
    """Somebody ended a job. No `TrialError`: those are findings, and what fails so is tried again in another way."""

    kind = Kind.INTERRUPTED

    def __init__(self):
        super().__init__("cancelled: the job was ended before it was done")


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


_MEMORY = r"bad_alloc|OOM when allocating|[Ff]ailed to allocate memory|Cannot allocate memory|Unable to allocate"
# What the libraries say, and what is meant: the first that fits is told. Groups of the pattern stand for {1}, {2} …, {0} for the line.
_KNOWN = (
    (_MEMORY, "out of memory: {0}"),
    (
        r"Unsupported model IR version: (\d+), max supported IR version: (\d+)",
        "the file is of ONNX IR version {1}, and this runtime reads up to {2}; save it with an older onnx, or with a lower ir_version",
    ),
    (
        r"Opset (\d+) is under development.*?till opset (\d+)",
        "the file is of ONNX opset {1}, and this runtime reads up to {2}; export it with opset {2} or an older one",
    ),
    (
        r"Could not find an implementation for (\w+)\((\d+)\) node with name '([^']*)'",
        "ONNX Runtime has no kernel for the operator {1} (opset {2}) with the types of node '{3}'; another runtime may have one",
    ),
    (
        r"No Op registered for (\S+) with domain_version of (\d+)",
        "the operator {1} is not part of opset {2}: it is newer, was removed, or is no ONNX operator at all",
    ),
    (
        r"(?:Fatal error: )?(\S+?):(\w+)\(-?\d+\) is not a registered function/op",
        "the file holds the custom operator {2} of the domain {1}, and no library that registers it is loaded; "
        "export the model with standard operators",
    ),
    (
        r"Type parameter \((\w+)\) of Optype \((\w+)\) bound to different types \((.+?) and (.+?)\)(?: in node \((.*?)\))?",
        "the operator {2} (node '{5}') is given {3} and {4}, which must be one type",
    ),
    (r"Unrecognized attribute: (\w+) for operator (\w+)", "the operator {2} has no attribute {1} in the opset that the file declares"),
    (
        r"Got invalid dimensions for input: (\S+) for the following indices\s+index: (\d+) Got: (\d+) Expected: (\d+)",
        "the file takes '{1}' with {4} on axis {2}, and {3} was given; export it with that axis dynamic",
    ),
    (
        r"while running (\w+) node\. Name:'([^']*)' Status Message: (.*)",
        "ONNX Runtime stopped at the node '{2}' ({1}): {3}",
    ),
    (
        r"Select TensorFlow op\(s\), included in the given model, is\(are\) not supported by this interpreter",
        "the file holds Select TF operators, which no Python interpreter of LiteRT runs; convert the model with built-in operators only",
    ),
    (
        r"Encountered unresolved custom op: (\w+)",
        "the file holds the custom operator {1}, and LiteRT's interpreter runs it only where a library registers it; "
        "use the runtime of its maker, or convert the model with built-in operators only",
    ),
    (r"Node number (\d+) \((\w+)\) failed to (?:prepare|invoke)", "LiteRT stopped at its node {1} ({2}): {0}"),
    (r"No module named '([\w.]+)'", "the package {1} is not installed; install it, or leave out what needs it"),
)
# Places in the libraries' own sources, and their names of error classes: nobody who brings a model can use these.
_NOISE = (
    r"\[ONNXRuntimeError\] : \d+ : \w+ : ",
    r"Load model from \S* failed:",
    r"Failed to load model with error: ",
    r"This is an invalid model\. ",
    r"\[ShapeInferenceError\] ",
    r"==> Context: .*",
    r"Fatal error: ",
    r"Exception during \w+: ",
    r"Exception from \S+:\d+:",
    r"Check '.*?' failed at \S+:\d+:",
    r"\S*onnxruntime\S*\.(?:cc|h):\d+ .*?\) ",
    r"\S*/onnx/\S*\.(?:cc|h):\d+: \S+ ",
    r"\S+\.(?:cc|cpp|h|py):\d+:?\d*:?",
)
_PATH = re.compile(r"(?:[A-Za-z]:)?[/\\](?:[^\s/\\:'\"]+[/\\])+([^\s/\\:'\"]+)")
_MOST_CHARACTERS = 300


def said(error: BaseException | str, stage: str = "") -> str:
    """What a library says, on one line: translated where its cause is known, otherwise after ``stage`` ("opening the written file").

    Paths, and places in a library's own sources, are left out.
    """
    text = _without_noise(str(error))
    line = _shortened(text) or (error if isinstance(error, str) else f"no message ({type(error).__name__})")
    return _meaning(text, line) or (f"{stage}: {line}" if stage else line)


def told(error: BaseException, stage: str = "") -> str:
    """One line about an exception for a row: our own words as they are, a library's as `said` has them, with the exception's type."""
    if isinstance(error, StudyError):
        return str(error)
    line, name = said(error), f"({type(error).__name__})"
    if _meaning(_without_noise(str(error)), ""):
        return line
    if isinstance(error, MemoryError):
        return f"out of memory: {line}"
    return f"{stage + ': ' if stage else ''}{line if line.endswith(name) else f'{line} {name}'}"


def kind_of(error: BaseException) -> Kind:
    """The kind of what failed: our own errors say it, of a library's only that memory ran out is known."""
    if isinstance(error, StudyError):
        return error.kind
    return Kind.OUT_OF_MEMORY if isinstance(error, MemoryError) or re.search(_MEMORY, str(error)) else Kind.ERROR


def _without_noise(text: str) -> str:
    text = " ".join(text.split())
    for noise in _NOISE:
        text = re.sub(noise, "", text)
    return _PATH.sub(r"\1", " ".join(text.split()))


def _shortened(text: str) -> str:
    return text[:_MOST_CHARACTERS].rstrip(" .")


def _meaning(text: str, line: str) -> str | None:
    """What is known of ``text``, a library's words; ``line`` is what is shown of them."""
    for pattern, words in _KNOWN:
        match = re.search(pattern, text)
        if match:
            return words.format(line, *(_shortened(group or "") for group in match.groups()))
    return None


def unpathed(text: str, *paths: Path) -> str:
    """``text`` on one line, with a file's name where its place on this machine stood."""
    for path in paths:
        text = text.replace(str(path), path.name)
    return _PATH.sub(r"\1", " ".join(text.split()))
