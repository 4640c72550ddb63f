"""Residual blocks: branches that are added to what they were computed from, and can be left out whole."""

from dataclasses import dataclass

from studylib.training import kinds
from studylib.training.graph import Call, Graph


@dataclass(frozen=True)
class Block:
    """``name``: of the addition. ``shortcut``: which of its inputs stays. ``inside``: names of what is computed for the branch alone."""

    name: str
    shortcut: int
    inside: frozenset[str]


def find_blocks(graph: Graph) -> list[Block]:
    """Every ``x + f(x)`` of equal shapes, ``f(x)`` computed from ``x`` alone and read by nobody else."""
    names = [call.name for call in graph.calls]
    found = []
    for call in graph.calls:
        if kinds.kind_of(call.operation) != "Add" or len(call.sources) != 2 or len(set(call.input_shapes)) > 1:
            continue
        if call.results[0] in graph.ends:
            continue  # its name is the output's
        for shortcut in (0, 1):
            branch = _branch(graph, call, call.sources[shortcut], call.sources[1 - shortcut])
            inside = frozenset(member.name for member in branch or ())
            # A layer that is used twice would be missed elsewhere.
            if inside and all(names.count(name) == 1 for name in (*inside, call.name)):
                found.append(Block(call.name, shortcut, inside))
                break
    return found


def _branch(graph: Graph, addition: Call, shortcut: int, end: int) -> list[Call] | None:
    """The calls that lead from ``shortcut`` to ``end``, or None when something else leads in or out."""
    makers = {tensor: call for call in graph.calls for tensor in call.results}
    branch: dict[int, Call] = {}
    wanted = [end]
    while wanted:
        tensor = wanted.pop()
        if tensor == shortcut or tensor in branch:
            continue
        if tensor not in makers or tensor in graph.ends:
            return None
        branch[tensor] = makers[tensor]
        wanted += makers[tensor].sources
    calls = list(branch.values())
    readers = [reader for tensor in branch for reader in graph.users(tensor)]
    return calls if all(reader is addition or reader in calls for reader in readers) else None
