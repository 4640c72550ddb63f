"""When the run under way began, and which failures of earlier runs it tries again.

A failure whose cause is in the hash that names it stays as long as that hash: the same file fails the same way. A process that was
killed, ran out of memory or of time may do better when the machine is less busy, so a new run asks once more.
"""

import os
import re
from datetime import UTC, datetime

# Inherited by the kernels of a study's notebooks, so that they are one run with it.
_BEGAN = "STUDYLIB_RUN_BEGAN"
# How reasons begin whose cause is not in any hash (`studylib.executors`), alone or after what failed ("batch 8: crash: …").
_PASSING = re.compile(r"(^|: )(crash|timeout|out of memory|MemoryError|the phone refused|\S+ did not arrive on the phone)\b")


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


def is_tried_again(reason: str, failed_at: str) -> bool:
    """Whether a failure of an earlier run may have passed: its cause was the moment, not what it is kept under."""
    return bool(reason and _PASSING.search(reason)) and failed_at < began_at()
