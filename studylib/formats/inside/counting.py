"""Arithmetic of counting: multiply-accumulates of the operators that have them. Shapes are tuples of ints, or None if unknown.

A count is an int, or a sentence that says why it cannot be told. One multiply-accumulate (MAC) is two FLOPs.
"""

import math
from collections.abc import Iterable
from typing import TypeAlias

Shape: TypeAlias = tuple[int | None, ...] | None
Count: TypeAlias = int | str


def add_up(counts: Iterable[Count]) -> tuple[int | None, str | None]:
    """``(macs, None)``, or ``(None, why)`` with the first reason when any count is a sentence."""
    counts = list(counts)
    reasons = list(dict.fromkeys(count for count in counts if isinstance(count, str)))
    if not reasons:
        return sum(counts), None
    more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    return None, reasons[0] + more


def product(what: str, *shapes: Shape) -> Count:
    """The product of all axes of ``shapes``, or a sentence naming the operator ``what`` whose shape is not known."""
    if any(shape is None or None in shape for shape in shapes):
        return f"a shape of {what} is not known; give shapes= for the dynamic inputs"
    return math.prod(math.prod(shape) for shape in shapes)


def convolution(what: str, elements: Shape, weights: Shape, channels: int | None) -> Count:
    """MACs of a convolution: every element of ``elements`` meets the weights of its own channel.

    ``elements`` is the output and ``channels`` the number of output channels; of a transposed convolution, the input and its channels.
    """
    both = product(what, elements, weights, (channels,))
    return both if isinstance(both, str) else both // channels**2


def matrix_product(what: str, output: Shape, inner: int | None) -> Count:
    """MACs of a matrix product: every output element is a sum of ``inner`` products."""
    return product(what, output, (inner,))


def einsum(what: str, equation: str, shapes: list[Shape]) -> Count:
    """MACs of an Einsum of two operands: the product of the sizes of all its different axes."""
    terms = equation.replace(" ", "").split("->")[0].split(",")
    if len(terms) != 2:
        return f"{what} has {len(terms)} operands; only two are counted"
    if any(shape is None for shape in shapes):
        return product(what, None)
    sizes: dict[str, int | None] = {}
    for term, shape in zip(terms, shapes, strict=True):
        for axis, size in zip(_axes(term, len(shape)), shape, strict=True):
            sizes[axis] = size if sizes.get(axis, 1) == 1 else sizes[axis]
    return product(what, tuple(sizes.values()))


def recurrent(what: str, steps: int | None, batch: int | None, weights: Iterable[Shape]) -> Count:
    """MACs of a recurrent layer: at every step each matrix of ``weights`` multiplies one vector per sample."""
    each, _ = add_up(product(what, shape) for shape in weights)
    return product(what, (steps, batch, each))


def loop(what: str, body: list[Count], times: int | None) -> Count:
    """MACs of a loop over a body: known when the body has none, or when the number of passes is."""
    each, why = add_up(body)
    if why:
        return why
    if each and times is None:
        return f"{what} holds multiply-accumulates inside a loop of unknown length"
    return each * (times or 0)


def branches(what: str, counts: list[list[Count]]) -> Count:
    """MACs of a choice: told when every branch costs the same."""
    totals = [add_up(branch) for branch in counts]
    if any(why for _, why in totals):
        return next(why for _, why in totals if why)
    different = sorted({total for total, _ in totals})
    return different[0] if len(different) == 1 else f"the branches of {what} cost {' or '.join(map(str, different))}"


def concrete(name: str, shape: Shape, shapes: dict[str, tuple] | None) -> Shape:
    """The shape to count with: the caller's, else the file's with a dynamic first axis (the batch) set to 1."""
    if shapes and name in shapes:
        return tuple(int(size) for size in shapes[name])
    if shape is None:
        return None
    return tuple(1 if axis == 0 and size is None else size for axis, size in enumerate(shape))


def _axes(term: str, rank: int) -> list[str]:
    """``"b...d"`` with rank 4 to ``["b", "...1", "...0", "d"]``; axes under the dots are aligned from the right."""
    if "..." not in term:
        return list(term)
    before, after = term.split("...")
    return [*before, *(f"...{axis}" for axis in reversed(range(rank - len(before) - len(after)))), *after]
