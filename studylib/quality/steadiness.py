"""Whether a model answers the same question twice alike: what draws random numbers, or keeps a state, is no reference for anything."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from studylib import stats
from studylib.artifacts.store import Artifact
from studylib.errors import ArtifactError, StudyError
from studylib.formats import inside
from studylib.models.zoo import Samples

# How many samples are asked a second time.
_ASKED = 4
# Threads that add in another order change the last bits: 120 dB and more in float32, 60 in half precision. What is random on purpose
# lies below 40.
_LEAST_DB = {2: 45.0, 4: 80.0, 8: 80.0}
# Of whole numbers this share may differ: a rounding may turn a comparison of two almost equal values.
_MOST_TURNED = 0.25
_RANDOM = re.compile(
    r"Random|Multinomial|Bernoulli|TruncatedNormal|RANDOM|MULTINOMIAL|StatefulUniform|StatefulStandardNormal|RngReadAndSkip"
)
_DRAWING_LAYERS = re.compile(r"^(Random\w+|Gaussian\w+|\w*Dropout\w*|AugMix|CutMix|MixUp)$")
_KEEPING = re.compile(r"^(Assign\w*VariableOp|ASSIGN_VARIABLE|Assign\w*)$")


def require_steady(run: Callable, samples: Samples, outputs: dict[str, np.ndarray], source: Artifact) -> None:
    """Ask ``run`` the first samples once more. Raises `ArtifactError` when the answers are not ``outputs`` but for rounding.

    ``outputs``: arrays with the sample as first axis. ``source``: whose file is looked into for what draws or keeps.
    """
    for index in range(min(_ASKED, len(samples))):
        again = run(samples.batch(index, 1))
        for name, values in outputs.items():
            reason = why_apart(values[index], np.asarray(again[name]))
            if reason:
                raise ArtifactError(_words(name, reason, source))


def why_apart(first: np.ndarray, second: np.ndarray) -> str | None:
    """How two answers to one question differ, in words, or None when they do by rounding at most."""
    if first.shape != second.shape:
        return f"once of shape {first.shape}, then of {second.shape}"
    if np.array_equal(first, second, equal_nan=first.dtype.kind == "f"):
        return None
    if first.dtype.kind in "iub":
        share = float(np.mean(first != second))
        return f"{share:.0%} of its whole numbers change" if share > _MOST_TURNED else None
    found = stats.sqnr_db(first.astype(float), second.astype(float))
    return f"{found:.1f} dB apart" if not found >= _LEAST_DB.get(first.dtype.itemsize, 80.0) else None


def _words(output: str, reason: str, source: Artifact) -> str:
    drawing, keeping = _suspects(source.path, source.format)
    what = f"the source model answers differently each time (output '{output}', the same sample asked twice: {reason})"
    if drawing:
        return (
            f"{what}: it draws random numbers in {', '.join(drawing)}; nothing can be held against it. "
            "Export the model with its sampling made deterministic (its mean, or the noise as an input of its own)"
        )
    if keeping:
        return (
            f"{what}: it keeps a state from one query to the next in {', '.join(keeping)}; nothing can be held against it. "
            "Export the model with its state as an input and an output"
        )
    return f"{what}, and nothing in the file says why; export the model so that an answer depends on its inputs alone"


def _suspects(path: Path, format: str) -> tuple[list[str], list[str]]:
    """What in the file draws random numbers and what keeps a state, by the names it has there."""
    if format.startswith("keras"):
        layers = list(_layers(path))
        return [text for text, _ in layers if text], [text for _, text in layers if text]
    try:
        operators = list(inside.look(path, format)["operators"])
    except StudyError:  # a file that runs and cannot be looked into: the words do without
        return [], []
    return [name for name in operators if _RANDOM.search(name)], [name for name in operators if _KEEPING.match(name)]


def _layers(path: Path) -> Iterator[tuple[str, str]]:
    """Of every layer in a Keras file: how it draws while it predicts, how it keeps a state; empty where it does not."""
    from studylib.formats.keras_safety import objects, read_configuration

    for described in objects(read_configuration(path)):
        kind, inner = described.get("class_name"), described.get("config")
        if not isinstance(kind, str) or not isinstance(inner, dict):
            continue
        name = f"layer '{described.get('name') or inner.get('name') or kind}' ({kind})"
        called = re.search(r'"training": true', json.dumps(described.get("inbound_nodes", [])))
        draws = f"{name}, called with training=True" if called and _DRAWING_LAYERS.match(kind) else ""
        if not draws and str(described.get("module", "")).startswith("keras.random"):
            draws = name if kind != "SeedGenerator" else ""
        if not draws and str(described.get("module", "")).startswith(("keras.src.ops", "keras.src.random")) and _RANDOM.search(kind):
            draws = name
        yield draws, f"{name}, stateful=True" if inner.get("stateful") is True else ""
