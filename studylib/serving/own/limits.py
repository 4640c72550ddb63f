"""What the server takes at most, and how it batches."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """``body_bytes`` of a request, ``samples`` in one, requests ``waiting`` in the queue, and ``at_once`` in hand, waiting included.

    ``answer_s``: how long a request may take. ``drain_s``: how long requests in hand are waited for when the server ends.
    """

    body_bytes: int = 64 * 2**20
    samples: int = 256
    waiting: int = 256
    at_once: int = 512
    answer_s: float = 30.0
    drain_s: float = 20.0


@dataclass(frozen=True)
class Batching:
    """Requests that wait are put together up to ``max_samples``, for which the first waits up to ``wait_s``; 1: never."""

    max_samples: int = 1
    wait_s: float = 0.0

    @property
    def is_on(self) -> bool:
        return self.max_samples > 1
