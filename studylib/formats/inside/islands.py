"""Float islands: the operators of a quantized graph that still compute in float."""

from dataclasses import dataclass
from itertools import groupby

_LISTED = 200


@dataclass(frozen=True)
class Operation:
    """One operator as the search sees it. ``kind``: integer, float, quantize, dequantize or neutral (shapes, constants)."""

    type: str
    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def find(steps: list[Operation]) -> dict | None:
    """``operators`` (type, name, where), ``quantize`` and ``dequantize`` counts, ``course``; None when nothing runs in integers.

    ``where`` is ``between`` quantized parts, ``before`` the first of them, ``after`` the last, or ``apart``. ``course``: the
    whole graph as (kind, how many of it in a row), a float operator ``between`` quantized parts being an ``island``.
    ``steps`` are in topological order; conversions of constants are not among them.
    """
    if not any(step.kind == "integer" for step in steps):
        return None
    after, before = _downstream(steps), _upstream(steps)
    places = [_where(*reached) for reached in zip(after, before, strict=True)]
    found = [
        {"type": step.type, "name": step.name, "where": where} for step, where in zip(steps, places, strict=True) if step.kind == "float"
    ]
    kinds = ["island" if (step.kind, where) == ("float", "between") else step.kind for step, where in zip(steps, places, strict=True)]
    course = [(kind, len(list(same))) for kind, same in groupby(kinds)]
    counts = {kind: sum(step.kind == kind for step in steps) for kind in ("quantize", "dequantize")}
    return {"operators": found[:_LISTED], "count": len(found), "course": course, **counts}


def _downstream(steps: list[Operation]) -> list[bool]:
    """For each step, whether an integer operator lies before it."""
    touched, flags = set(), []
    for step in steps:
        flags.append(any(name in touched for name in step.inputs))
        if flags[-1] or step.kind == "integer":
            touched.update(step.outputs)
    return flags


def _upstream(steps: list[Operation]) -> list[bool]:
    """For each step, whether an integer operator lies after it."""
    needed, flags = set(), []
    for step in reversed(steps):
        flags.append(any(name in needed for name in step.outputs))
        if flags[-1] or step.kind == "integer":
            needed.update(step.inputs)
    return flags[::-1]


def _where(after_integers: bool, before_integers: bool) -> str:
    if after_integers and before_integers:
        return "between"
    return "after" if after_integers else "before" if before_integers else "apart"
