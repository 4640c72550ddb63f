"""When the run under way began, and which failures of earlier runs it tries again.

A failure whose cause is in the hash that names it stays as long as that hash: the same file fails the same way. A process that was
killed, ran out of memory or of time may do better when the machine is less busy, so a new run asks once more.
"""

import os
from datetime import UTC, datetime

from studylib.errors import Reason

# Inherited by the kernels of a study's notebooks, so that they are one run with it.
_BEGAN = "STUDYLIB_RUN_BEGAN"


def now() -> str:
    """The current time, UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


_STARTED = now()


def begin() -> None:
    """A new run begins with this process."""
    os.environ[_BEGAN] = now()


def began_at() -> str:
    """When the run under way began; without one, this process."""
    return os.environ.get(_BEGAN) or _STARTED


def is_tried_again(reason: Reason | None, failed_at: str) -> bool:
    """Whether a failure of an earlier run may have passed: its cause was the moment, not what it is kept under."""
    return reason is not None and reason.may_pass and failed_at < began_at()
