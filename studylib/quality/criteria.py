"""What outputs are held to."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Criteria:
    """What decides whether outputs are those of the same model, and what they mean.

    ``precision`` decides the tolerance, ``task`` the metrics. ``independent``: whether the samples are, so that a test may count them.
    ``data``: ``real`` or ``synthetic``.
    """

    precision: str
    task: str
    independent: bool
    data: str
