"""What onnx, ONNX Runtime and OpenVINO's ONNX frontend say of a file, in one line that begins with the cause."""

import re
from pathlib import Path

# Places in the libraries' own sources, and their names of error classes: nobody who brings a file can use these.
_NOISE = (
    r"\[ONNXRuntimeError\] : \d+ : \w+ : ", r"Load model from \S* failed:", r"Failed to load model with error: ",
    r"\S*onnxruntime\S*\.(?:cc|h):\d+ .*?\) (?=[A-Z])", r"\S*/onnx/\S*\.(?:cc|h):\d+: \S+ ", r"This is an invalid model\. ",
    r"Exception during \w+: ",
    r"\[ShapeInferenceError\] ", r"==> Context: .*", r"Fatal error: ",
)  # fmt: skip
_PATH = re.compile(r"(?:[A-Za-z]:)?[/\\](?:[^\s/\\:'\"]+[/\\])+([^\s/\\:'\"]+)")

# What a message means, where that is known; the groups are what it names.
_KNOWN = (
    (
        r"No Op registered for (\S+) with domain_version of (\d+)",
        "the operator {0} is not part of opset {1}: it is newer, was removed, or is no ONNX operator at all",
    ),
    (r"(?:Fatal error: )?(\S+?):(\w+)\(-?\d+\) is not a registered function/op",
     "the operator {1} of the domain {0} is known to no package here"),
    (r"Unsupported model IR version: (\d+), max supported IR version: (\d+)", "IR version {0}; at most {1} is opened here"),
    (r"Opset (\d+) is under development.*?till opset (\d+)", "opset {0}; at most {1} is opened here"),
    (r"Could not find an implementation for (\w+)\((\d+)\) node with name '([^']*)'",
     "{0} (opset {1}, node '{2}') has no kernel for its types"),
    (r"Type parameter \((\w+)\) of Optype \((\w+)\) bound to different types \((.+?) and (.+?)\)(?: in node \((.*?)\))?",
     "{1} (node '{4}') is given {2} and {3}, which must be one type"),
    (r"Non-zero status code returned while running (\w+) node\. Name:'([^']*)' Status Message: (.*)", "{0} '{1}' fails while running: {2}"),
    (r"Unrecognized attribute: (\w+) for operator (\w+)", "{1} has no attribute {0} in the opset that the file declares"),
)  # fmt: skip


def said(error: BaseException | str, stage: str = "") -> str:
    """``error`` in one line without paths and without places in a library's sources; ``stage`` ("opening the written file") before it."""
    text = " ".join(str(error).split())
    for pattern, words in _KNOWN:
        found = re.search(pattern, text)
        if found:
            text = words.format(*(group or "" for group in found.groups()))
            break
    for noise in _NOISE:
        text = re.sub(noise, "", text)
    text = _PATH.sub(r"\1", text).strip()
    text = text or (error if isinstance(error, str) else type(error).__name__)
    return (f"{stage}: " if stage else "") + str(text)[:300].rstrip(" .")


def unpathed(text: str, *paths: Path) -> str:
    """``text`` on one line, with a file's name where its place on this machine stood."""
    for path in paths:
        text = text.replace(str(path), path.name)
    return _PATH.sub(r"\1", " ".join(text.split()))
