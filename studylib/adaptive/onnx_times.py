"""How long each layer of an ONNX file takes. Source: ONNX Runtime's own profile of a session."""

import json
import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np

_ROUNDS = 3
# What the optimizer appends to a name: of a fused node, of one in a blocked layout.
_APPENDED = re.compile(r"(_kernel_time|_token_\d+|_nchwc|_quant)+$")
_ENOUGH = 0.8


def layer_times(session, queries: list[dict], traces: dict[str, set[str]]) -> dict[str, float] | None:
    """Seconds of each layer of one query, conversions named after its values included; the median over all queries.

    ``session``: opened with profiling. ``traces``: layer name to what it may be called. None when most are not found.
    """
    for _ in range(_ROUNDS):
        for query in queries:
            session.run(None, query)
    path = Path(session.end_profiling())
    events = json.loads(path.read_text(encoding="utf-8"))
    path.unlink()
    durations: dict[str, list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            durations[_APPENDED.sub("", event["name"])].append(event["dur"] / 1e6)
    owner = _owner(traces)
    found: dict[str, float] = defaultdict(float)
    for name, values in durations.items():
        if (layer := owner(name)) is not None:
            # The runs before this one's median warmed up; a node that runs twice a query counts twice.
            found[layer] += float(np.median(values)) * len(values) / (_ROUNDS * len(queries))
    return dict(found) if len(found) >= _ENOUGH * len(traces) else None


def _owner(traces: dict[str, set[str]]) -> Callable[[str], str | None]:
    """A function from an event's name to the layer with the longest name that it begins with."""
    known = {trace: layer for layer, names in traces.items() for trace in names}

    def owner(name: str) -> str | None:
        ends = sorted((place for place in range(1, len(name) + 1) if name[:place] in known), reverse=True)
        return known[name[: ends[0]]] if ends and (ends[0] == len(name) or not name[ends[0]].isalnum()) else None

    return owner
