"""What compression left in the kernels: zeros, distinct values, groups that hold a pattern. Arrays only, no framework."""

from collections.abc import Mapping

import numpy as np


def sparsity(kernels: Mapping[str, np.ndarray]) -> float:
    """The share of zeros over all kernels."""
    return _zeros(kernels.values()) / max(1, sum(values.size for values in kernels.values()))


def of_each(kernels: Mapping[str, np.ndarray]) -> dict[str, dict]:
    """For each kernel its share of zeros and its number of distinct values."""
    return {
        name: {"sparsity": round(_zeros([values]) / max(1, values.size), 4), "distinct_values": len(np.unique(values))}
        for name, values in kernels.items()
    }


def most_values_of_a_channel(values: np.ndarray) -> int:
    """The largest number of distinct values in one output channel (last axis): what is quantized per channel has others in each."""
    return max(len(np.unique(channel)) for channel in values.reshape(-1, values.shape[-1]).T)


def groups_that_hold(kernels: Mapping[str, np.ndarray], zeros: int, of: int) -> float:
    """The share of groups of ``of`` consecutive input channels with at least ``zeros`` zeros; kernels end in (…, in, out).

    A last group that is cut short by the end of the channels counts as if it were filled up with zeros.
    """
    held = total = 0
    for values in kernels.values():
        rows = np.moveaxis(values, -1, 0).reshape(-1, values.shape[-2])
        rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % of))).reshape(-1, of)
        held, total = held + int(((rows == 0).sum(1) >= zeros).sum()), total + len(rows)
    return held / max(1, total)


def _zeros(arrays) -> int:
    return sum(int((values == 0).sum()) for values in arrays)
