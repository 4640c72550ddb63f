"""Where the project lies, and where results go."""

import os
from pathlib import Path


def root() -> Path:
    """The project's folder: where ``params/`` and ``notebooks/`` lie, whatever the current folder is."""
    return Path(os.environ.get("STUDYLIB_ROOT") or Path(__file__).parents[2]).resolve()


def outputs_root() -> Path:
    """Where results go: ``$STUDYLIB_OUTPUTS``, otherwise ``outputs/`` in the project's folder."""
    return Path(os.environ.get("STUDYLIB_OUTPUTS") or root() / "outputs").resolve()
