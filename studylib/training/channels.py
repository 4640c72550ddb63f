"""Which channels of a model belong together: those that one cannot remove without the others.

A *unit* is such a set. The last axis of every tensor carries one identifier per channel; a convolution issues new ones,
normalisation and activation pass theirs on, addition ties those of its inputs, flattening repeats them. Source: the
dependency graph of "DepGraph: Towards Any Structural Pruning" (Fang et al., 2023).
"""

import math
from dataclasses import dataclass, field

import numpy as np

from studylib.training import kinds
from studylib.training.graph import Call, Graph


@dataclass(frozen=True)
class Channels:
    """``inputs`` and ``outputs``: by operation, the unit of each of its channels, in order. ``untouchable``: unit to reason."""

    graph: Graph
    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]
    untouchable: dict[int, str]
    count: int

    @property
    def free(self) -> np.ndarray:
        """Whether each unit may be removed, shape (units,)."""
        free = np.ones(self.count, bool)
        free[list(self.untouchable)] = False
        return free

    @property
    def reasons(self) -> list[str]:
        """Why channels stay as they are, each reason once."""
        return list(dict.fromkeys(self.untouchable.values()))


def find_channels(graph: Graph) -> Channels:
    """The channels of a graph, those that must stay marked with the reason."""
    walk = _Walk()
    for tensor, shape in graph.begins.items():
        walk.carried[tensor] = walk.issue(shape, "it is an input of the model")
    for call in graph.calls:
        walk.follow(call)
    for tensor in graph.ends:
        walk.pins.append((walk.carried[tensor], "it is an output of the model"))
    return walk.settle(graph)


@dataclass
class _Walk:
    """Identifiers on their way through the graph, and what was learned about them: ``ties`` (pairs that are one) and ``pins``."""

    carried: dict[int, np.ndarray] = field(default_factory=dict)
    inputs: dict[str, np.ndarray] = field(default_factory=dict)
    outputs: dict[str, np.ndarray] = field(default_factory=dict)
    ties: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    pins: list[tuple[np.ndarray, str]] = field(default_factory=list)
    issued: int = 0

    def issue(self, shape: tuple, pinned: str | None = None) -> np.ndarray:
        """New identifiers for the last axis of ``shape``; none where it is open."""
        ids = np.arange(self.issued, self.issued + ((shape[-1] if len(shape) > 1 else 1) or 0))
        self.issued += len(ids)
        self.pins.extend([(ids, pinned)] if pinned else [])
        return ids

    def follow(self, call: Call) -> None:
        given = [self.carried[tensor] for tensor in call.sources]
        made = self._made(call, given) if len(call.results) == 1 else None
        if made is None:
            reason = kinds.why_untouchable(call) or "what it does to channels is not known"
            reason = f"{_named(call)}: {reason}"
            self.pins.extend((ids, reason) for ids in given)
            made = self.issue(call.output_shape, reason)
        elif reason := kinds.why_outputs_stay(call.operation):
            self.pins.append((made, f"{_named(call)}: {reason}"))
        if given and call.name in self.outputs:  # a layer that is used again has one set of weights
            self._tie(self.inputs[call.name], given[0])
            self._tie(self.outputs[call.name], made)
        elif given:
            self.inputs[call.name], self.outputs[call.name] = given[0], made
        self.carried.update(dict.fromkeys(call.results, made))

    def _made(self, call: Call, given: list[np.ndarray]) -> np.ndarray | None:
        """The identifiers of a call's output, or None when they cannot be told."""
        kind, alone = kinds.kind_of(call.operation), len(given) == 1
        if not call.plain or kinds.why_untouchable(call):
            return None
        if kind in kinds.MIXING and alone:
            return self.issue(call.output_shape)
        if kind in kinds.DEPTHWISE and alone:
            return given[0].repeat(call.operation.depth_multiplier)
        if kind in (*kinds.PLAIN, *kinds.NORMALISING) and alone:
            return given[0]
        if kind in ("Flatten", "Reshape") and alone:
            return _reshaped(given[0], call)
        if kind in kinds.MERGING:
            return self._merged(given, call)
        if kind == "Concatenate":
            return self._concatenated(given, call)
        return None

    def _merged(self, given: list[np.ndarray], call: Call) -> np.ndarray | None:
        if len({len(ids) for ids in given}) > 1 or len({len(shape) for shape in call.input_shapes}) > 1:
            return None  # broadcast over channels
        for ids in given[1:]:
            self._tie(given[0], ids)
        return given[0]

    def _concatenated(self, given: list[np.ndarray], call: Call) -> np.ndarray | None:
        if call.operation.axis in (-1, len(call.output_shape) - 1):
            return np.concatenate(given)
        return self._merged(given, call)

    def _tie(self, one: np.ndarray, other: np.ndarray) -> None:
        if len(one) != len(other):
            self.pins += [(one, "layers of another width use the same weights"), (other, "layers of another width use the same weights")]
        else:
            self.ties.append((one, other))

    def settle(self, graph: Graph) -> Channels:
        """Identifiers that are tied become one unit."""
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components

        pairs = np.concatenate([np.zeros((2, 0), int), *(np.stack(tie) for tie in self.ties)], axis=1)
        links = coo_matrix((np.ones(pairs.shape[1]), tuple(pairs)), shape=(self.issued, self.issued))
        count, unit = connected_components(links, directed=False)
        untouchable: dict[int, str] = {}
        for ids, reason in self.pins:
            for index in unit[ids]:
                untouchable.setdefault(int(index), reason)
        named = [{name: unit[ids] for name, ids in side.items()} for side in (self.inputs, self.outputs)]
        return Channels(graph, *named, untouchable, int(count))


def _named(call: Call) -> str:
    return f"{call.name} ({type(call.operation).__name__})"


def _reshaped(ids: np.ndarray, call: Call) -> np.ndarray | None:
    """Channels after a reshape that keeps them apart: as the last axis, or repeated along one long axis."""
    before, after = call.input_shapes[0][1:], call.output_shape[1:]
    if None in (*before, *after):
        return None
    if before[-1] == after[-1]:
        return ids
    return np.tile(ids, math.prod(before[:-1])) if len(after) == 1 else None
