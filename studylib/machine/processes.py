"""Processes that must not outlive the one that waits for them, and that end as soon as their work is done."""

import atexit
import ctypes
import os
import signal
import sys
from typing import NoReturn

DECIDES_NOTHING = "how processes end"


def die_with_parent() -> None:
    """Ask Linux to kill this process when the one that started it dies; elsewhere it ends by itself."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)


def leave() -> NoReturn:
    """End this process, whose result is written, without taking its modules and their objects apart.

    That takes TensorFlow a second, and a library that crashes while it does so would be told as the failure of a job that was done. What
    was registered with `atexit` is run, and what was said is written.
    """
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    if sys.platform != "win32":
        ctypes.CDLL(None).fflush(None)
    os._exit(0)
