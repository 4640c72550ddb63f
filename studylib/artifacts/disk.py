"""Whether a folder can be written to, told before any work; artifacts copied and removed, which may be files or folders."""

import contextlib
import os
import shutil
from pathlib import Path

from studylib.artifacts.store import output_error

DECIDES_NOTHING = "where files lie"


def require_writable(folder: Path) -> None:
    """Raise `OutputError` when ``folder`` cannot be made, or takes no file."""
    probe = folder / f".probe-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"\0" * 65536)
    except OSError as error:
        raise output_error(folder, error) from None
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()


def copied(path: Path, target: Path) -> Path:
    """``target``, a copy of a file or folder."""
    return Path((shutil.copytree if path.is_dir() else shutil.copy)(path, target))


def remove(path: Path) -> None:
    """Remove a file or folder."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
