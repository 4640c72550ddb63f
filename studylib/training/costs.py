"""Multiply-accumulates of a model as a function of how many channels of each group stay."""

from dataclasses import dataclass

import numpy as np

from studylib.training import kinds
from studylib.training.channels import Channels


@dataclass(frozen=True)
class Costs:
    """``groups``: units that are alike, each an array of them: the same layers, and as many channels in each.

    Term ``t``, of operation ``names[t]``, costs ``factors[t]`` times its inputs times its outputs, each
    ``fixed[t] + (slots @ sizes)[t]`` channels; a side that does not count is a fixed 1.
    """

    groups: tuple[np.ndarray, ...]
    names: np.ndarray
    factors: np.ndarray
    slots: tuple[np.ndarray, np.ndarray]
    fixed: tuple[np.ndarray, np.ndarray]

    @property
    def full(self) -> np.ndarray:
        """The size of every group when nothing is removed, shape (groups,)."""
        return np.array([len(group) for group in self.groups], float)

    def macs(self, sizes: np.ndarray, without: frozenset[str] = frozenset()) -> np.ndarray:
        """Multiply-accumulates of one sample for ``sizes`` of shape (groups,) or (groups, variants), without some operations."""
        stays = ~np.isin(self.names, list(without))
        product = self.factors[stays] if sizes.ndim == 1 else self.factors[stays, None]
        for slots, fixed in zip(self.slots, self.fixed, strict=True):
            product = product * ((fixed[stays] if sizes.ndim == 1 else fixed[stays, None]) + slots[stays] @ sizes)
        return product.sum(0)


def find_costs(channels: Channels) -> Costs:
    """The groups of a model's units, and what its known layers cost."""
    rows = [(call, *term) for call in channels.graph.calls for term in kinds.terms(call)]
    sides = [_by_unit([(channels.inputs[c.name], i) for c, _, i, _ in rows], channels.count),
             _by_unit([(channels.outputs[c.name], o) for c, _, _, o in rows], channels.count)]  # fmt: skip
    free = np.flatnonzero(channels.free)
    _, first, group = np.unique(np.concatenate(sides)[:, free], axis=1, return_index=True, return_inverse=True)
    return Costs(
        tuple(free[group.ravel() == index] for index in range(len(first))),
        np.array([call.name for call, *_ in rows], object),
        np.array([factor for _, factor, *_ in rows], float),
        tuple(side[:, free[first]].astype(float) for side in sides),
        tuple(np.where([row[2 + index] for row in rows], side.sum(1) - side[:, free].sum(1), 1.0) for index, side in enumerate(sides)),
    )


def _by_unit(rows: list[tuple[np.ndarray, bool]], count: int) -> np.ndarray:
    """How many channels of each unit each row holds, shape (rows, units); none where the side does not count."""
    return np.array([np.bincount(units, minlength=count) * counts for units, counts in rows]).reshape(len(rows), count)
