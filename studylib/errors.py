"""The exceptions of the study. Each message says what was wrong, what is allowed and what to do."""

import difflib
import re
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


# What the libraries say, and what is meant: the first that fits is told. Groups of the pattern stand for {1}, {2} …
_KNOWN = (
    (
        r"Unsupported model IR version: (\d+), max supported IR version: (\d+)",
        "the file is of ONNX IR version {1}, and this runtime reads up to {2}; save it with an older onnx, or with a lower ir_version",
    ),
    (
        r"Opset (\d+) is under development.*?ai\.onnx is till opset (\d+)",
        "the file is of ONNX opset {1}, and this runtime reads up to {2}; export it with opset {2} or an older one",
    ),
    (
        r"Could not find an implementation for (\w+)\((\d+)\) node with name '([^']*)'",
        "ONNX Runtime has no kernel for the operator {1} (opset {2}) with the types of node '{3}'; another runtime may have one",
    ),
    (
        r"No Op registered for (\w+)",
        "the file holds the operator {1}, which ONNX Runtime does not know at the file's opset; a library that registers it is missing, "
        "or the opset is wrong",
    ),
    (
        r"Fatal error: (\S+?)\(-?\d+\) is not a registered function/op",
        "the file holds the custom operator {1}, and no library that registers it is loaded; export the model with standard operators",
    ),
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
    (r"Node number (\d+) \((\w+)\) failed to (prepare|invoke)", "LiteRT stopped at its node {1} ({2}): {0}"),
    (r"bad_alloc|OOM when allocating|[Ff]ailed to allocate memory|Cannot allocate memory|Unable to allocate", "out of memory: {0}"),
    (r"No module named '([\w.]+)'", "the package {1} is not installed; install it, or leave out what needs it"),
)
# What says where in a library's sources it happened, and which temporary file it was.
_NOISE = (
    (r"\[ONNXRuntimeError\] : \d+ : \w+ : ", ""),
    (r"Exception from \S+:\d+:", ""),
    (r"Check '.*?' failed at \S+:\d+:", ""),
    (r"\S+\.(?:cc|cpp|h|py):\d+:?\d*:?", ""),
    (r"(?:/[^\s/:'\"]+)+/([^\s/:'\"]+)", r"\1"),
)
_MOST_WORDS = 300


def told(error: BaseException, stage: str = "") -> str:
    """One line about an exception: our own words as they are; a library's translated where its cause is known.

    Otherwise its own first words after the ``stage`` that it came from, with the exception's type at the end; no path of a
    temporary file, no place in a library's sources.
    """
    if isinstance(error, StudyError):
        return str(error)
    text = str(error)
    for pattern, instead in _NOISE:
        text = re.sub(pattern, instead, text)
    line = " ".join(text.split())[:_MOST_WORDS] or "no message"
    for pattern, words in _KNOWN:
        match = re.search(pattern, " ".join(text.split()))
        if match:
            told_by_it = [line, *(group or "" for group in match.groups())]
            return words.format(*told_by_it)[: 2 * _MOST_WORDS]
    if isinstance(error, MemoryError):
        return f"out of memory: {line}"
    return f"{stage + ': ' if stage else ''}{line} ({type(error).__name__})"
