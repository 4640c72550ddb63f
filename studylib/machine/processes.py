"""Processes that must not outlive the one that waits for them."""

import ctypes
import signal
import sys

DECIDES_NOTHING = "how processes end"


def die_with_parent() -> None:
    """Ask Linux to kill this process when the one that started it dies; elsewhere it ends by itself."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)
